# SPDX-License-Identifier: MIT
"""kernels/cuda/epochs.py: an epoch in one launch is the loop of training/run.py."""

import numpy as np
import pytest
from gpu_arrays import LABELS, ROWS, SIZES, TEACHER, AllAtOnce, close, pair

from minidistill import MLP, SGD, Adam, AdamW, CrossEntropy, Dataset, Mixup, SoftTarget, fit
from minidistill.kernels.cuda import epochs as cuda_epochs, passes as cuda_passes
from minidistill.kernels.cuda.device import to_gpu
from minidistill.training.history import TrainingDiverged

pytestmark = pytest.mark.cuda

RUNS = {
    "labels alone": ("relu", 0.0, CrossEntropy(0.1), SGD(0.1)),
    "Nesterov and a teacher alone": ("tanh", (0.0, 0.3, 0.1), SoftTarget(2.0, 1.0), SGD(0.1, nesterov=True)),
    "Adam within limits": ("gelu", (0.2, 0.3, 0.1), SoftTarget(3.0, 0.5),
                           Adam(0.01, clip_norm=0.1, max_weight_norm=1.0)),
    "AdamW": ("relu", 0.5, SoftTarget(2.0, 0.0), AdamW(0.01)),
}


def trained(network, name, **settings):
    _, _, loss, optimizer = RUNS[name]
    settings = {"epochs": 1, "batch_size": 3, "targets": TEACHER, **settings}
    return fit(network, Dataset(ROWS, LABELS), loss, optimizer=optimizer, **settings).column("loss")


@pytest.mark.parametrize("name", RUNS)
def test_epochs_in_one_launch_each_are_the_loop(name):
    mine, reference = pair(*RUNS[name][:2])
    close(trained(mine, name, epochs=2), trained(reference, name, epochs=2))
    close(mine.parameters, reference.parameters)


@pytest.mark.parametrize("slow", [0, 1])
@pytest.mark.parametrize("name", ["labels alone", "Adam within limits"])
def test_blocks_at_the_same_time_wait_for_each_other_where_they_must(name, slow, monkeypatch):
    make = cuda_epochs.epoch_kernel
    monkeypatch.setattr(cuda_epochs, "epoch_kernel", lambda *settings: AllAtOnce(make(*settings), slow))
    monkeypatch.setattr(cuda_passes, "SIMULATED", False)
    activation, dropout, *_ = RUNS[name]
    mine, reference = pair(activation, 0.0 if dropout == 0 else 0.3, sizes=(5, 6, 3))
    close(trained(mine, name, batch_size=4), trained(reference, name, batch_size=4))
    close(mine.parameters, reference.parameters)


def test_rows_of_probabilities_are_learned_as_well():
    mine, reference = pair(sizes=(5, 4, 3))
    for network in (mine, reference):
        fit(network, Dataset(ROWS, LABELS), epochs=1, batch_size=4, augment=Mixup(3))
    close(mine.parameters, reference.parameters)


def test_single_precision_is_as_close_as_it_can_be():
    mine, reference = pair(dtype=np.float32)
    close(trained(mine, "labels alone"), trained(reference, "labels alone"), 1e-5)
    close(mine.parameters, reference.parameters, 1e-5)


def test_large_tiles_train_the_same(monkeypatch):
    monkeypatch.setattr(cuda_passes, "LARGE_LAYER", 0)
    mine, reference = pair()
    close(trained(mine, "labels alone"), trained(reference, "labels alone"))
    close(mine.parameters, reference.parameters)


def test_many_classes_and_one_layer_train_the_same():
    mine, reference = pair(sizes=(5, 70))
    t = np.random.default_rng(2).standard_normal((7, 70))
    settings = {"batch_size": 4, "targets": t}
    close(trained(mine, "AdamW", **settings), trained(reference, "AdamW", **settings))
    close(mine.parameters, reference.parameters)


def test_an_epoch_of_several_launches_is_the_same(monkeypatch):
    mine, same = MLP(SIZES, backend="cuda"), MLP(SIZES, backend="cuda")
    in_one = trained(mine, "labels alone")
    monkeypatch.setattr(cuda_passes, "STEPS_A_CALL", 2)
    assert trained(same, "labels alone").tolist() == in_one.tolist()
    np.testing.assert_array_equal(same.parameters, mine.parameters)


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")  # the simulator's threads do not know errstate
def test_divergence_is_told_of_and_undone():
    network = MLP(SIZES, backend="cuda")
    before = network.parameters.copy()
    with pytest.warns(UserWarning, match="badly scaled"), pytest.raises(TrainingDiverged, match="epoch 1"):
        fit(network, Dataset(ROWS * 1e18, LABELS), epochs=3, batch_size=3, optimizer=SGD(1e30))
    np.testing.assert_array_equal(network.parameters, before)


def test_data_goes_to_the_card_once_a_run(monkeypatch):
    sent = []

    def watched(array, *dtype):
        sent.append(np.shape(array))
        return to_gpu(array, *dtype)

    monkeypatch.setattr(cuda_passes, "to_gpu", watched)
    trained(MLP((5, 3), backend="cuda"), "labels alone", batch_size=7)
    assert sent.count((7 * 5,)) == 1


def test_dz_has_a_place_more_than_are_in_use():
    """Blocks that are a piece behind read dz of the layer above while others write the one below the next."""
    reads = [(k % cuda_epochs.ERRORS, (k + 1) % cuda_epochs.ERRORS) for k in range(9)]
    assert all(reads[k][0] != reads[k + 1][1] for k in range(8))
