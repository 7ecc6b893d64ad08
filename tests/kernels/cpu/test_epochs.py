# SPDX-License-Identifier: MIT
"""kernels/cpu/epochs.py: an epoch in one call is the loop of training/loop.py."""

import numpy as np
import pytest
from agreement import NETS, TOLERANCE, numbers

from minidistill import MLP, SGD, Adam, AdamW, CrossEntropy, SoftTarget, ops
from minidistill.kernels import cpu

pytestmark = pytest.mark.compiles


def the_loop(network, state, x, y, t, order, batch, loss, optimizer, rates, step):
    """What training/run.py does, step by step."""
    losses = []
    for k, rate in enumerate(rates):
        rows = order[k * batch : (k + 1) * batch]
        logits, cache = network.forward(x[rows], training=True, step=step + k)
        value, dlogits = loss(logits, None if t is None else t[rows], None if y is None else y[rows])
        network.backward(dlogits, cache)
        optimizer.update(network, state, rate, step + k + 1)
        losses.append(value)
    return losses


OPTIMIZERS = [
    (SGD(), cpu.UpdateRule()),
    (SGD(momentum=0.8, nesterov=True, weight_decay=0.01), cpu.UpdateRule(cpu.SGD, 0.8, True, 0.01)),
    (Adam(), cpu.UpdateRule(cpu.ADAM)),
    (AdamW(clip_norm=0.3), cpu.UpdateRule(cpu.ADAM, weight_decay=0.01, clip_norm=0.3)),
    (SGD(clip_norm=0.2, max_weight_norm=0.9), cpu.UpdateRule(cpu.SGD, clip_norm=0.2, max_norm=0.9)),
]
LOSSES = [
    (CrossEntropy(), {}),
    (CrossEntropy(0.1), {"label_smoothing": 0.1}),
    (SoftTarget(4.0, 0.7), {"temperature": 4.0, "alpha": 0.7}),
    (SoftTarget(2.0, 1.0), {"temperature": 2.0, "alpha": 1.0}),
]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("optimizer", "compiled_optimizer"), OPTIMIZERS)
@pytest.mark.parametrize(("loss", "compiled_loss"), LOSSES)
@pytest.mark.parametrize("labels", ["whole", "probabilities"])
def test_an_epoch_in_one_call_is_the_loop(dtype, optimizer, compiled_optimizer, loss, compiled_loss, labels):
    random = np.random.default_rng(0)
    for sizes, activation, dropout in NETS:
        network = MLP(sizes, activation, dropout, seed=5, dtype=dtype)
        parameters = network.parameters.copy()
        rows, batch = 45, 12  # the last batch has 9 rows
        x, t = (random.standard_normal((rows, size)).astype(dtype) for size in (sizes[0], sizes[-1]))
        y = random.integers(0, sizes[-1], rows) if labels == "whole" else ops.softmax_forward(t[::-1])[0]
        y = None if compiled_loss.get("alpha") == 1 else y
        t = t if "alpha" in compiled_loss else None
        order, rates = random.permutation(rows), np.array([0.01, 0.02, 0.03, 0.01])
        state = optimizer.initial_state(parameters)
        reference_state = state.copy()
        losses = the_loop(network, reference_state, x, y, t, order, batch, loss, optimizer, rates, step=3)
        plan = cpu.plan(sizes, activation, network.dropout, 5, batch, dtype, threads=1)
        mine = cpu.train_steps(
            plan, parameters, np.empty_like(parameters), state, x, order, batch, rates, y, t,
            optimizer=compiled_optimizer, step=3, **compiled_loss,
        )  # fmt: skip
        close = {"rtol": 20 * TOLERANCE[dtype], "atol": 20 * TOLERANCE[dtype]}
        np.testing.assert_allclose(mine, losses, **close)
        np.testing.assert_allclose(parameters, network.parameters, **close)
        np.testing.assert_allclose(state, reference_state, **close)


def trained(threads, sizes=(300, 400, 200, 10), batch=128, steps=6):
    network = MLP(sizes, "relu", 0.3, seed=5)
    x, y = numbers(0, batch * steps, sizes[0], dtype=np.float32), np.arange(batch * steps) % sizes[-1]
    plan = cpu.plan(sizes, "relu", network.dropout, 5, batch, threads=threads)
    state = np.zeros((1, network.parameters.size), np.float32)
    order = np.random.default_rng(1).permutation(len(x))
    rates = np.full(steps, 0.01)
    losses = cpu.train_steps(plan, network.parameters, network.gradients, state, x, order, batch, rates, y)
    return np.concatenate([losses, network.parameters, state[0]])


def test_the_same_bits_from_run_to_run_and_on_any_number_of_threads():
    once = trained(threads=1)
    for _ in range(5):
        np.testing.assert_array_equal(trained(threads=1), once)
        np.testing.assert_array_equal(trained(threads=2), once)


def test_training_stops_at_a_loss_that_is_not_finite():
    network = MLP((6, 4, 3))
    x = numbers(0, 40, 6, dtype=np.float32)
    x[25] = np.nan
    state = np.zeros((1, network.parameters.size), np.float32)
    plan = cpu.plan(network.sizes, batch=10)
    losses = cpu.train_steps(
        plan, network.parameters, network.gradients, state, x, np.arange(40), 10, np.full(4, 0.1), np.arange(40) % 3
    )
    assert len(losses) == 3 and np.isfinite(losses[:2]).all() and np.isnan(losses[2])
    assert np.isfinite(network.parameters).all(), "the step of the bad loss was taken"


WRONG_ARGUMENTS = {
    "x": (np.zeros((40, 5), np.float32), "x must have shape"),
    "parameters": (np.zeros(5, np.float32), "parameters must have shape"),
    "gradients": (np.zeros(43), "gradients must be contiguous float32"),
    "state": (np.zeros((1, 86), np.float32)[:, ::2], "state must be contiguous float32"),
    "order": (np.arange(1, 41), "order must be in 0..39, got 1..40"),
    "batch": (11, "batch must be in 1..10"),
    "rates": (np.full(3, 0.1), r"rates must have shape \(4,\), got \(3,\)"),
    "labels": (np.arange(40) % 4, "labels must be in 0..2, got 0..3"),
    "targets": (np.zeros((39, 3), np.float32), "targets must have shape"),
}


@pytest.mark.parametrize("name", WRONG_ARGUMENTS)
def test_steps_refuse_what_they_would_read_beyond_its_end(name):
    network = MLP((6, 4, 3))
    assert network.num_parameters == 43
    right = {
        "parameters": network.parameters, "gradients": network.gradients, "state": np.zeros((1, 43), np.float32),
        "x": np.zeros((40, 6), np.float32), "order": np.arange(40), "batch": 10, "rates": np.full(4, 0.1),
        "labels": np.arange(40) % 3,
    }  # fmt: skip
    wrong, message = WRONG_ARGUMENTS[name]
    with pytest.raises((ValueError, TypeError), match=message):
        cpu.train_steps(cpu.plan(network.sizes, batch=10), **right | {name: wrong})
