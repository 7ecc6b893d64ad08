# SPDX-License-Identifier: MIT
"""kernels/cuda_passes.py and cuda_epochs.py: passes and epochs on a card are those of network.py and training.py.

On a card or in its simulator, as test_kernels_cuda.py.
"""

import pickle

import numpy as np
import pytest
from elsewhere import Elsewhere

from minidistill import MLP, SGD, Adam, AdamW, CrossEntropy, Dataset, SoftTarget, distill, fit, kernels
from minidistill.losses import LogitMatching

try:
    kernels.load_backend("cuda")
except ImportError as error:
    pytest.skip(f"neither a card nor its simulator: {error}", allow_module_level=True)
from minidistill.kernels import cuda_epochs, cuda_passes
from minidistill.kernels.cuda_device import to_card
from minidistill.training import TrainingDiverged

pytestmark = pytest.mark.cuda

SIZES = (5, 6, 4, 3)
ROWS = np.random.default_rng(0).standard_normal((7, 5))
LABELS = np.arange(7) % 3
TEACHER = np.random.default_rng(1).standard_normal((7, 3))


def pair(activation="relu", dropout=0.0, dtype=np.float64, sizes=SIZES):
    return (MLP(sizes, activation, dropout, 3, dtype, backend) for backend in ("cuda", "numpy"))


def close(mine, reference, tolerance=1e-12):
    np.testing.assert_allclose(mine, reference, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_the_passes_are_those_of_the_readable_network(activation):
    mine, reference = pair(activation, dropout=(0.2, 0.3, 0.5))
    for training in (False, True):
        logits, cache = mine.forward(ROWS, training, step=4)
        expected, expected_cache = reference.forward(ROWS, training, step=4)
        close(logits, expected)
        for h, expected_h in zip(cache.hidden, expected_cache.hidden, strict=True):
            close(h, expected_h)
        close(mine.backward(TEACHER, cache, True), reference.backward(TEACHER, expected_cache, True))
        close(mine.gradients, reference.gradients)
    assert mine.backward(TEACHER, cache) is None
    close(mine.logits(ROWS), reference.logits(ROWS))


def test_many_rows_are_predicted_in_portions(monkeypatch):
    monkeypatch.setattr(cuda_passes, "BATCH", 3)
    mine, reference = pair()
    close(mine.logits(ROWS), reference.logits(ROWS))


def test_rows_that_live_on_the_card_are_predicted_there():
    mine, reference = pair()
    close(mine.logits(Elsewhere(to_card(ROWS))), reference.logits(ROWS))
    with pytest.raises(ValueError, match=r"x must have shape \(N, 5\), got \(7, 3\)"):
        mine.logits(Elsewhere(to_card(TEACHER)))


def test_wrong_shapes_are_refused_before_a_kernel_reads_beyond_the_end():
    mine, _ = pair()
    with pytest.raises(ValueError, match=r"x must have shape \(B, 5\)"):
        mine.forward(ROWS[:, :4])
    _, cache = mine.forward(ROWS)
    with pytest.raises(ValueError, match=r"dlogits must have shape \(7, 3\)"):
        mine.backward(TEACHER[:5], cache)


RUNS = {
    "labels alone": ("relu", 0.0, CrossEntropy(0.1), SGD(0.1)),
    "Nesterov and a teacher alone": ("tanh", (0.0, 0.3, 0.1), SoftTarget(2.0, 1.0), SGD(0.1, nesterov=True)),
    "Adam within limits": ("gelu", (0.2, 0.3, 0.1), SoftTarget(3.0, 0.5), Adam(0.01, clip_norm=0.1, max_norm=1.0)),
    "AdamW": ("relu", 0.5, SoftTarget(2.0, 0.0), AdamW(0.01)),
}


def trained(network, name, **settings):
    _, _, loss, optimizer = RUNS[name]
    settings = {"epochs": 2, "batch_size": 3, "targets": TEACHER, **settings}
    return fit(network, Dataset(ROWS, LABELS), loss, optimizer=optimizer, **settings).column("loss")


@pytest.mark.parametrize("name", RUNS)
def test_epochs_in_one_launch_each_are_the_loop(name):
    mine, reference = pair(*RUNS[name][:2])
    close(trained(mine, name), trained(reference, name))
    close(mine.parameters, reference.parameters)


def test_single_precision_is_as_close_as_it_can_be():
    mine, reference = pair(dtype=np.float32)
    close(trained(mine, "labels alone"), trained(reference, "labels alone"), 1e-5)
    close(mine.parameters, reference.parameters, 1e-5)


def test_large_tiles_train_the_same(monkeypatch):
    monkeypatch.setattr(cuda_passes, "LARGE_LAYER", 0)
    mine, reference = pair()
    close(trained(mine, "labels alone", epochs=1), trained(reference, "labels alone", epochs=1))
    close(mine.parameters, reference.parameters)


def test_many_classes_and_one_layer_train_the_same():
    mine, reference = pair(sizes=(5, 70))
    t = np.random.default_rng(2).standard_normal((7, 70))
    settings = {"epochs": 1, "targets": t}
    close(trained(mine, "AdamW", **settings), trained(reference, "AdamW", **settings))
    close(mine.parameters, reference.parameters)


def test_an_epoch_of_several_launches_is_the_same(monkeypatch):
    mine, same = MLP(SIZES, backend="cuda"), MLP(SIZES, backend="cuda")
    in_one = trained(mine, "labels alone", epochs=1)
    monkeypatch.setattr(cuda_passes, "STEPS_A_CALL", 2)
    assert trained(same, "labels alone", epochs=1).tolist() == in_one.tolist()
    np.testing.assert_array_equal(same.parameters, mine.parameters)


def test_other_losses_go_step_by_step():
    mine, reference = pair()
    losses = [
        fit(network, Dataset(ROWS, LABELS), LogitMatching(0.5), epochs=1, batch_size=4, targets=TEACHER).column("loss")
        for network in (mine, reference)
    ]
    close(*losses)
    close(mine.parameters, reference.parameters)


def test_distill_teaches_on_the_card():
    students = [MLP((5, 4, 3), seed=1, dtype=np.float64, backend=backend) for backend in ("cuda", "numpy")]
    for student in students:
        distill(MLP(SIZES, dtype=np.float64, backend="numpy"), student, Dataset(ROWS, LABELS), epochs=1, batch_size=4)
    close(students[0].parameters, students[1].parameters)


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")  # the simulator's threads do not know errstate
def test_divergence_is_told_of_and_undone():
    network = MLP(SIZES, backend="cuda")
    before = network.parameters.copy()
    with pytest.raises(TrainingDiverged, match="epoch 1"):
        fit(network, Dataset(ROWS * 1e18, LABELS), epochs=3, batch_size=3, optimizer=SGD(1e30))
    np.testing.assert_array_equal(network.parameters, before)


def test_data_goes_to_the_card_once_a_run(monkeypatch):
    sent = []

    def watched(array, *dtype):
        sent.append(np.shape(array))
        return to_card(array, *dtype)

    monkeypatch.setattr(cuda_passes, "to_card", watched)
    trained(MLP((5, 3), backend="cuda"), "labels alone", batch_size=7)
    assert sent.count((7 * 5,)) == 1


def test_a_network_goes_to_another_process_with_its_backend():
    network = pickle.loads(pickle.dumps(MLP((3, 2), backend="cuda")))
    assert network.backend == "cuda"


def test_memory_that_runs_out_says_what_to_do(monkeypatch):
    from minidistill.kernels import cuda_device

    def full(*_):
        raise RuntimeError("Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY")

    monkeypatch.setattr(cuda_device.cuda, "device_array", full)
    with pytest.raises(MemoryError, match=r"1 more are wanted: take a smaller batch or network, or backend='cpu'"):
        cuda_device.empty(2**18, np.float32)


def test_dz_has_a_place_more_than_are_in_use():
    """Blocks that are a piece behind read dz of the layer above while others write the one below the next."""
    reads = [(k % cuda_epochs.ERRORS, (k + 1) % cuda_epochs.ERRORS) for k in range(9)]
    assert all(reads[k][0] != reads[k + 1][1] for k in range(8))
