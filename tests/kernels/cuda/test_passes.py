# SPDX-License-Identifier: MIT
"""kernels/cuda/passes.py: passes and training on a card are those of network.py and training/run.py."""

import pickle

import numpy as np
import pytest
from concurrency import wrong_predictions
from gpu_arrays import LABELS, ROWS, SIZES, TEACHER, Elsewhere, close, pair

from minidistill import MLP, Dataset, distill, fit
from minidistill.kernels.cuda import passes as cuda_passes
from minidistill.kernels.cuda.device import to_gpu
from minidistill.losses import LogitMatching

pytestmark = pytest.mark.cuda

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
    close(mine.logits(Elsewhere(to_gpu(ROWS))), reference.logits(ROWS))
    with pytest.raises(ValueError, match=r"x must have shape \(N, 5\), got \(7, 3\)"):
        mine.logits(Elsewhere(to_gpu(TEACHER)))


def test_wrong_shapes_are_refused_before_a_kernel_reads_beyond_the_end():
    mine, _ = pair()
    with pytest.raises(ValueError, match=r"x must have shape \(B, 5\)"):
        mine.forward(ROWS[:, :4])
    _, cache = mine.forward(ROWS)
    with pytest.raises(ValueError, match=r"dlogits must have shape \(7, 3\)"):
        mine.backward(TEACHER[:5], cache)


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


def test_a_network_goes_to_another_process_with_its_backend():
    network = pickle.loads(pickle.dumps(MLP((3, 2), backend="cuda")))
    assert network.backend == "cuda"


def test_threads_that_share_a_network_get_the_logits_of_one_thread():
    assert wrong_predictions("cuda", 24, threads=4, sizes=((4, 3, 2), (5, 4, 4, 3)), rows=(1, 9)) == 0
