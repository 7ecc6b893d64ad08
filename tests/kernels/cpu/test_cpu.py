# SPDX-License-Identifier: MIT
"""kernels/cpu.py: the names of ops.py with the same results, and an epoch in one call, as in training/run.py."""

import inspect
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from exact import TEMPERATURES, assert_exact, pairs_of_logits
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistill import MLP, SGD, Adam, AdamW, CrossEntropy, SoftTarget, ops
from minidistill.kernels import cpu
from minidistill.support.checks import NotFiniteError

pytestmark = pytest.mark.compiles

TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}
dtypes = st.sampled_from(list(TOLERANCE))
rows_and_columns = st.tuples(st.integers(1, 40), st.integers(2, 90))
seeds = st.integers(0, 999)
drawn = settings(max_examples=25, deadline=None)


def numbers(seed, *shape, dtype):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def assert_same(mine, reference, size=None):
    """Equal within the dtype's tolerance, relative to the largest number (or to `size`); and of the same dtype."""
    mine, reference = np.asarray(mine), np.asarray(reference)
    assert mine.dtype == reference.dtype and mine.shape == reference.shape
    assert np.isfinite(mine).all()
    tolerance = TOLERANCE[reference.dtype.type]
    size = max(1e-30, abs(reference).max()) if size is None else size
    np.testing.assert_allclose(mine, reference, rtol=tolerance, atol=tolerance * size)


def test_every_name_of_ops_is_here_with_the_same_arguments():
    for name, function in vars(ops).items():
        if inspect.isfunction(function) and name != "hash32":
            mine = inspect.signature(getattr(cpu, name)).parameters
            assert list(mine) == list(inspect.signature(function).parameters), name


@given(B=st.integers(1, 40), sizes=rows_and_columns, dtype=dtypes, seed=seeds, turned=st.booleans())
@drawn
def test_linear(B, sizes, dtype, seed, turned):
    inputs, outputs = sizes
    x = numbers(seed, inputs, B, dtype=dtype).T if turned else numbers(seed, B, inputs, dtype=dtype)
    W, b, dz = (numbers(seed + k, *shape, dtype=dtype) for k, shape in enumerate([sizes, (outputs,), (B, outputs)]))
    z, cache = cpu.linear_forward(x, W, b)
    # a sum that happens to cancel is as exact as its terms are large, in either order of summation: so is the tolerance
    sizes_of = [(abs(dz) @ abs(W.T)).max(), (abs(x.T) @ abs(dz)).max(), abs(dz).sum(axis=0).max()]
    assert_same(z, ops.linear_forward(x, W, b)[0], size=(abs(x) @ abs(W) + abs(b)).max())
    dW, db = np.empty_like(W), np.empty_like(b)
    results = cpu.linear_backward(dz, cache, dW, db), ops.linear_backward(dz, (x, W))
    for mine, reference, size in zip(*results, sizes_of, strict=True):
        assert_same(mine, reference, size)
    assert_same(dW, x.T @ dz, sizes_of[1])


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu"])
@given(shape=rows_and_columns, dtype=dtypes, seed=seeds)
@drawn
def test_activations(name, shape, dtype, seed):
    z, da = numbers(seed, *shape, dtype=dtype), numbers(seed + 1, *shape, dtype=dtype)
    a, kept = getattr(cpu, f"{name}_forward")(z)
    reference, reference_kept = getattr(ops, f"{name}_forward")(z)
    assert_same(a, reference)
    assert_same(getattr(cpu, f"{name}_backward")(da, kept), getattr(ops, f"{name}_backward")(da, reference_kept))


@given(shape=rows_and_columns, rate=st.floats(0, 0.95), seed=st.integers(0, 2**40), step=seeds, dtype=dtypes)
@drawn
def test_dropout_masks_are_the_same_bit_for_bit(shape, rate, seed, step, dtype):
    arguments = shape, rate, seed, step, 3, dtype
    np.testing.assert_array_equal(cpu.dropout_mask(*arguments), ops.dropout_mask(*arguments))


@given(shape=rows_and_columns, T=st.floats(0.5, 20), dtype=dtypes, seed=seeds, scale=st.sampled_from([1, 30]))
@drawn
def test_rows_of_logits(shape, T, dtype, seed, scale):
    s, t = (numbers(seed + k, *shape, dtype=dtype) * dtype(scale) for k in range(2))
    y = np.random.default_rng(seed).integers(0, shape[1], shape[0])
    p = ops.softmax_forward(t)[0]
    for name in ("softmax", "log_softmax"):
        q, cache = getattr(cpu, f"{name}_forward")(s, T)
        reference, reference_cache = getattr(ops, f"{name}_forward")(s, T)
        assert_same(q, reference)
        dq, backward = numbers(seed + 2, *shape, dtype=dtype), f"{name}_backward"
        terms = abs(dq).max() / T  # where q is all but one-hot they cancel, and of the difference only rounding is left
        assert_same(getattr(cpu, backward)(dq, cache), getattr(ops, backward)(dq, reference_cache), terms)
    for arguments in ((s, y), (s, p)):
        value, cache = cpu.cross_entropy_forward(*arguments)
        reference, reference_cache = ops.cross_entropy_forward(*arguments)
        assert_same(value, reference)
        np.testing.assert_allclose(
            cpu.cross_entropy_backward(cache), ops.cross_entropy_backward(reference_cache), atol=10 * TOLERANCE[dtype]
        )
    value, cache = cpu.soft_target_forward(s, t, T)
    reference, reference_cache = ops.soft_target_forward(s, t, T)
    np.testing.assert_allclose(value, reference, rtol=10 * TOLERANCE[dtype], atol=10 * TOLERANCE[dtype] * T * T * scale)
    np.testing.assert_allclose(
        cpu.soft_target_backward(cache), ops.soft_target_backward(reference_cache), atol=10 * T * TOLERANCE[dtype]
    )


@given(P=st.integers(1, 200), dtype=dtypes, seed=seeds, decay=st.sampled_from([0.0, 0.02]), nesterov=st.booleans())
@drawn
def test_updates(P, dtype, seed, decay, nesterov):
    w, dw, m, v = (numbers(seed + k, P, dtype=dtype) for k in range(4))
    v = abs(v)
    for change in (
        lambda ops, w, dw, m, v: ops.sgd_update(w, dw, m, 0.1, 0.8, nesterov, decay),
        lambda ops, w, dw, m, v: ops.adam_update(w, dw, m, v, 0.1, 7, weight_decay=decay),
        lambda ops, w, dw, m, v: ops.clip_norm(dw, 0.5),
        lambda ops, w, dw, m, v: ops.max_norm(w.reshape(-1, 1), 0.5),
    ):
        mine, reference = [a.copy() for a in (w, dw, m, v)], [a.copy() for a in (w, dw, m, v)]
        change(cpu, *mine)
        change(ops, *reference)
        for a, b in zip(mine, reference, strict=True):
            assert_same(a, b)


def test_updates_refuse_what_they_could_not_change_in_place():
    w, dw, v = np.zeros((3, 8), np.float32)
    with pytest.raises(ValueError, match="w must be contiguous"):
        cpu.sgd_update(w[::2], dw[:4], v[:4], 0.1)
    w.flags.writeable = False
    with pytest.raises(ValueError, match="writeable"):
        cpu.sgd_update(w, dw, v, 0.1)


# ------------------------------------------------------------------------------------------------------ whole networks

NETS = [
    ((9, 5), "relu", 0.0),
    ((12, 33, 10), "relu", 0.3),
    ((12, 17, 9, 70), "tanh", (0.1, 0.5, 0.2)),
    ((7, 20, 3), "gelu", 0.2),
    ((40, 128, 10), "relu", 0.0),
]


@pytest.mark.parametrize(("sizes", "activation", "dropout"), NETS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_passes_are_those_of_the_network(sizes, activation, dropout, dtype):
    network = MLP(sizes, activation, dropout, seed=4, dtype=dtype)
    x, dlogits = numbers(0, 13, sizes[0], dtype=dtype), numbers(1, 13, sizes[-1], dtype=dtype)
    plan = cpu.plan(sizes, activation, network.dropout, 4, 13, dtype)
    logits, cache = network.forward(x, training=True, step=6)
    network.backward(dlogits, cache)
    gradients = np.full_like(network.gradients, np.nan)
    assert_same(cpu.forward(plan, network.parameters, x, True, 6), logits)
    cpu.backward(plan, network.parameters, gradients, x, dlogits, 6)
    assert_same(gradients, network.gradients)
    many = np.tile(x, (3, 1))  # more rows than the plan holds at once
    assert_same(cpu.forward(plan, network.parameters, many), network.forward(many)[0])


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
    (SGD(), cpu.Optimizer()),
    (SGD(momentum=0.8, nesterov=True, weight_decay=0.01), cpu.Optimizer(cpu.SGD, 0.8, True, 0.01)),
    (Adam(), cpu.Optimizer(cpu.ADAM)),
    (AdamW(clip_norm=0.3), cpu.Optimizer(cpu.ADAM, weight_decay=0.01, clip_norm=0.3)),
    (SGD(clip_norm=0.2, max_weight_norm=0.9), cpu.Optimizer(cpu.SGD, clip_norm=0.2, max_norm=0.9)),
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


def test_passes_refuse_what_they_would_read_or_write_beyond_its_end():
    network, x = MLP((6, 4, 3)), np.zeros((10, 6), np.float32)
    plan = cpu.plan(network.sizes, batch=5)
    with pytest.raises(ValueError, match=r"x must have shape \(10, 6\), got \(10, 5\)"):
        cpu.forward(plan, network.parameters, x[:, :5].copy())
    with pytest.raises(ValueError, match="x must have at most the 5 rows that the plan was made for, got 10"):
        cpu.forward(plan, network.parameters, x, training=True)
    with pytest.raises(TypeError, match="x must be contiguous float32"):
        cpu.forward(plan, network.parameters, x.astype(np.float64))
    with pytest.raises(TypeError, match="got not contiguous float32"):
        cpu.forward(plan, network.parameters, np.asfortranarray(x))
    read_only = network.gradients.view()
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="gradients must be contiguous and writeable"):
        cpu.backward(plan, network.parameters, read_only, x[:5], np.zeros((5, 3), np.float32))
    with pytest.raises(ValueError, match="dlogits must have shape"):
        cpu.backward(plan, network.parameters, network.gradients, x[:5], np.zeros((4, 3), np.float32))


@pytest.mark.parametrize("rows", [1, 20])
def test_logits_that_overflow_are_refused_in_prediction(rows):
    """The class would be 0, whatever the row is."""
    network, x = MLP((6, 4, 3)), np.ones((rows, 6), np.float32)
    plan = cpu.plan(network.sizes, batch=8)
    network.parameters *= 10
    x[-1] = 3e38
    with pytest.raises(NotFiniteError, match=r"x gives logits that are not finite in float32: x reaches 3e\+38"):
        cpu.forward(plan, network.parameters, x)
    x[-1] = 1e30
    assert np.isfinite(cpu.forward(plan, network.parameters, x)).all()
    x[-1] = np.nan
    if rows <= 8:
        assert np.isnan(cpu.forward(plan, network.parameters, x, training=True)).any(), "the loss tells of it"


def test_limits_above_the_largest_float32_are_none():
    w = numbers(0, 8, 4, dtype=np.float32)
    for change in (cpu.clip_norm, cpu.max_norm):
        same = w.copy()
        change(same, 1e39)
        np.testing.assert_array_equal(same, w)


# -------------------------------------------------------------------------------------------------- many classes, top k


@pytest.mark.parametrize("C", [2, 10, 64, 65, 3000])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_loss_in_one_pass(C, dtype):
    s, t = (numbers(k, 21, C, dtype=dtype) * 3 for k in range(2))
    y = np.arange(21) % C
    soft = (SoftTarget(T, alpha) for T in (1.0, 2.0, 3.0, 4.0) for alpha in (0.4, 1.0))
    for loss in (CrossEntropy(0.1), *soft):
        options = (
            {"label_smoothing": loss.label_smoothing}
            if isinstance(loss, CrossEntropy)
            else {"temperature": loss.temperature, "alpha": loss.alpha}
        )
        value, ds = loss(s, t, y)
        mine, slope = cpu.distillation_loss(s, t, y, **options)
        np.testing.assert_allclose(mine, value, rtol=10 * TOLERANCE[dtype])
        np.testing.assert_allclose(slope, ds, atol=10 * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("T", TEMPERATURES)
@pytest.mark.parametrize("C", [2, 10, 64, 65, 1000])
def test_soft_targets_are_right_at_every_temperature_and_never_negative(C, T, dtype):
    for s, t in pairs_of_logits(C, T):
        value, ds = cpu.distillation_loss(s.astype(dtype), t.astype(dtype), None, T, 1.0)
        assert value.dtype == ds.dtype == dtype
        assert_exact(value, ds, s, t, T, tolerance=5e-5)


def test_labels_weigh_as_before_where_student_and_teacher_nearly_match():
    for C in (10, 100):
        for T in (2.0, 3.0, 1e4):
            s = numbers(0, 21, C, dtype=np.float32)
            t, y = s + numbers(1, 21, C, dtype=np.float32) * np.float32(1e-3), np.arange(21) % C
            value, ds = SoftTarget(T, 0.4)(s, t, y)
            mine, slope = cpu.distillation_loss(s, t, y, T, 0.4)
            np.testing.assert_allclose(mine, value, rtol=1e-5)
            np.testing.assert_allclose(slope, ds, atol=1e-7)


@pytest.mark.parametrize("C", [3, 70])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("T", "alpha"), [(0.05, 0.5), (1.0, 0.0), (4.0, 0.5), (1e5, 1.0)])
def test_the_loss_of_rows_on_very_different_levels(C, dtype, T, alpha):
    """Each row has a largest logit of its own; a class that is never meant costs nothing and gets no gradient."""
    s, t = (numbers(k, 5, C, dtype=dtype) * 3 for k in range(2))
    s += np.array([[1e4], [0], [-1e4], [300], [-300]], dtype)
    s[:3, 2] = t[1:, 2] = -1e30
    y = np.arange(5) % 2
    value, ds = SoftTarget(T, alpha)(s.astype(np.float64), t.astype(np.float64), y)
    mine, slope = cpu.distillation_loss(s, t, y, T, alpha)
    size = max(abs(s[s > -1e30]).max() * T, T * T)
    np.testing.assert_allclose(mine, value, rtol=10 * TOLERANCE[dtype], atol=TOLERANCE[dtype] * size)
    np.testing.assert_allclose(slope, ds, atol=max(1, T) * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("above", [20, 60, 200, 3e4])  # 3e4: what the first logits promise would overflow float64 too
@pytest.mark.parametrize("T", [0.5, 1.0, 2.0, 3.0, 4.0])
def test_the_largest_logit_of_a_long_row_may_stand_anywhere(T, above, dtype):
    s, t = (numbers(k, 3, 1003, dtype=dtype) for k in range(2))
    s[0, 1002], s[1, 700], t[1, 1001], t[2, 600] = [above] * 4
    for alpha in (0.0, 0.5, 1.0):
        value, ds = SoftTarget(T, alpha)(s.astype(np.float64), t.astype(np.float64), np.array([5, 700, 0]))
        mine, slope = cpu.distillation_loss(s, t, np.array([5, 700, 0]), T, alpha)
        np.testing.assert_allclose(mine, value, rtol=10 * TOLERANCE[dtype])
        np.testing.assert_allclose(slope, ds, atol=max(1, T) * TOLERANCE[dtype])


def test_the_gradient_goes_where_it_is_wanted():
    s, t = (numbers(k, 4, 70, dtype=np.float32) for k in range(2))
    out = np.full((4, 70), np.nan, np.float32)
    _, ds = cpu.distillation_loss(s, t, None, 4.0, 1.0, out=out)
    assert ds is out
    np.testing.assert_array_equal(ds, cpu.distillation_loss(s, t, None, 4.0, 1.0)[1])
    for wrong, error in (
        (out[:3], "out must have shape \\(4, 70\\), got \\(3, 70\\)"),
        (out.astype(np.float64), "out must be contiguous float32"),
        (np.asfortranarray(out), "out must be contiguous float32"),
    ):
        with pytest.raises((ValueError, TypeError), match=error):
            cpu.distillation_loss(s, t, None, 4.0, 1.0, out=wrong)
    for read in (s, t):
        with pytest.raises(ValueError, match="out must have memory of its own"):
            cpu.distillation_loss(s, t, None, 4.0, 1.0, out=read)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out must be contiguous and writeable"):
        cpu.distillation_loss(s, t, None, 4.0, 1.0, out=out)


def test_the_loss_has_the_same_bits_on_any_number_of_threads():
    s, t = (numbers(k, 19, 3000, dtype=np.float32) for k in range(2))
    value, ds = cpu.distillation_loss(s, t, np.arange(19), 4.0, 0.5, threads=1)
    for threads in (2, 3):
        mine, slope = cpu.distillation_loss(s, t, np.arange(19), 4.0, 0.5, threads=threads)
        assert mine == value
        np.testing.assert_array_equal(slope, ds)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("C", [5, 40, 1001])
def test_top_k_targets(C, dtype):
    s, t, T = numbers(0, 3, C, dtype=dtype), numbers(1, 3, C, dtype=dtype), 2.0
    log_p, _ = ops.log_softmax_forward(t, T)
    indices = np.argsort(-log_p, axis=1)[:, :3]
    log_p = np.take_along_axis(log_p, indices, 1)
    value, cache = cpu.top_k_target_forward(s, indices, log_p, T)
    reference, reference_cache = ops.top_k_target_forward(s, indices, log_p, T)
    np.testing.assert_allclose(value, reference, rtol=10 * TOLERANCE[dtype])
    assert_same(cpu.top_k_target_backward(cache), ops.top_k_target_backward(reference_cache))


def test_a_gradient_that_explodes_is_clipped_and_not_erased():
    exploding = np.full(37, 1e20, np.float32)
    mine, reference = exploding.copy(), exploding.copy()
    cpu.clip_norm(mine, 1.0)
    ops.clip_norm(reference, 1.0)
    assert_same(mine, reference)
    assert np.isclose(np.linalg.norm(mine), 1)


def test_top_k_targets_of_extreme_logits():
    s = np.array([[1e4, 0, -1e4, 5], [0, 1e4, 0, 0]], np.float32)
    indices, log_p = np.array([[2], [0]]), np.log(np.array([[0.5], [0.9]], np.float32))
    value, ds = cpu.top_k_target_forward(s, indices, log_p, 1.0)
    reference, cache = ops.top_k_target_forward(s, indices, log_p, 1.0)
    np.testing.assert_allclose(value, reference, rtol=1e-5)
    np.testing.assert_allclose(ds, ops.top_k_target_backward(cache), atol=1e-6)


# ------------------------------------------------------------------------------------------------ machine code, on disk


EVERY_KERNEL = """
import numpy as np
from minidistill.kernels import cpu
from minidistill.kernels.cpu.cache import KernelCache

rows, z = np.arange(3), np.ones((3, 8), np.float32)
w, parameters = z[0].copy(), np.zeros(76, np.float32)
gradients, state = parameters.copy(), np.zeros((2, 76), np.float32)
plan = cpu.plan((8, 4, 8), "gelu", (0.1, 0.2), batch=3)
cpu.backward(plan, parameters, gradients, z, cpu.forward(plan, parameters, z, True))
cpu.train_steps(plan, parameters, gradients, state, z, rows, 3, [0.1], rows)
cpu.linear_forward(z, np.eye(8, dtype=np.float32), w)
cpu.relu_backward(z, cpu.relu_forward(z)[1])
cpu.dropout_mask((3, 8), 0.5, 0, 0, 0)
cpu.softmax_backward(z, cpu.softmax_forward(z, 4.0)[1])
cpu.distillation_loss(z, z, rows, 4.0, 0.5)
cpu.top_k_target_forward(z, rows[:, None], z[:, :1], 4.0)
cpu.sgd_update(w, w + 1, w.copy(), 0.1)
cpu.clip_norm(w, 1.0)
cpu.max_norm(z, 1.0)
kernels = {name: value for name, value in vars(cpu).items() if isinstance(getattr(value, "_cache", None), KernelCache)}
print("NOT COMPILED", [name for name, kernel in kernels.items() if not kernel.signatures])
"""
DOUBLE = re.compile(r" = f(add|sub|mul|div|rem)\b.*\bdouble\b|call .*@\"llvm\.\w+\.(v\d+)?f64|call double @")
ON_CONSTANTS = re.compile(r" = f\w+ double [0-9][^%]*$")  # -87.3, say: never computed when the kernel runs


@pytest.fixture(scope="module")
def functions_in_float32(tmp_path_factory):
    """LLVM's code of each function of every float32 kernel, by its name, before one is merged into another.

    It is there only where numba compiles: so that happens in a process that finds nothing on the disk.
    """
    apart = {"NUMBA_DUMP_LLVM": "1", "NUMBA_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))}
    done = subprocess.run(
        [sys.executable, "-c", EVERY_KERNEL], env=os.environ | apart, capture_output=True, text=True, check=True
    )
    assert "NOT COMPILED []" in done.stdout
    parts = re.split(r"-*LLVM DUMP <function descriptor '([^'$]*).*\n", done.stdout)
    functions = {}
    for name, code in zip(parts[1::2], parts[2::2], strict=True):
        functions.setdefault(name, []).extend(code.splitlines())
    return functions


ONCE_A_LAYER_OR_A_STEP = {
    "make_mask": "a rate becomes a threshold of 32 bits, and float32 holds 24",
    "make_update": "1 - beta**step: of the digits of 0.999 that float32 keeps, three are lost when it is taken from 1",
    "int_power_impl.<locals>.int_power": "beta**step, as numba compiles it",
    "np_arange.<locals>.impl": "np.arange finds its length so",
}


@pytest.mark.one_width
def test_float32_kernels_hold_no_double_arithmetic(functions_in_float32):
    """The settings of an optimizer come as doubles and are converted once a step; what is done to rows never is."""
    parts = {"exp", "adam", "make_loss.<locals>.loss_of", "make_product.<locals>.part", "top_k_row", "_train_steps"}
    assert parts <= set(functions_in_float32), "not every function is looked at"
    for name, code in functions_in_float32.items():
        found = [line for line in code if DOUBLE.search(line) and not ON_CONSTANTS.search(line)]
        assert not found or name in ONCE_A_LAYER_OR_A_STEP, f"{name} computes in double: {found[0]}"
    for name in ONCE_A_LAYER_OR_A_STEP:
        assert any(DOUBLE.search(line) for line in functions_in_float32[name]), f"{name} needs no exception"


PROGRAM = """
import numpy as np
from minidistill.kernels import cpu
z = np.array([[-1.0, 2.0]], np.float32)
assert cpu.relu_forward(z)[0].tolist() == [[0.0, 2.0]]
print(sum(cpu._activate.stats.cache_hits.values()))
"""


def run_with_cache(folder):
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder)}
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.one_width
def test_kernels_are_kept_on_disk_and_damage_is_survived(tmp_path):
    assert run_with_cache(tmp_path) == 0
    assert run_with_cache(tmp_path) == 1
    files = list(tmp_path.rglob("*.nbc"))
    assert files
    for damage in (b"", b"damaged", files[0].read_bytes()[:-1]):
        for file in files:
            file.write_bytes(damage)
        assert run_with_cache(tmp_path) == 0
        assert run_with_cache(tmp_path) == 1


@pytest.mark.one_width
def test_without_a_writable_folder_kernels_still_work(tmp_path):
    file = tmp_path / "file"
    file.write_text("no folder can be made below a file")
    assert run_with_cache(file) == 0


@pytest.mark.one_width
def test_an_edited_formula_gets_a_new_folder(tmp_path, monkeypatch):
    from minidistill.kernels.cpu import cache

    before = cache.fingerprint()
    shutil.copytree(cache.KERNELS, tmp_path / "kernels")
    monkeypatch.setattr(cache, "KERNELS", tmp_path / "kernels")
    assert cache.fingerprint() == before
    found = {before}
    for name in ("rows.py", "cpu/simd.py"):
        with open(tmp_path / "kernels" / name, "a") as source:
            source.write("# edited\n")
        found.add(cache.fingerprint())
    assert len(found) == 3


@pytest.mark.one_width
def test_functions_compiled_in_two_processes_never_have_the_same_name():
    """A kernel from the disk would call the function of its name that another kernel was compiled with just now."""
    program = (
        "import minidistill.kernels.cpu.cache, numba\n"
        "part = numba.njit(lambda x: x)\n"
        "part(1)\n"
        "print(part.overloads[part.signatures[0]].fndesc.mangled_name)"
    )
    command = [sys.executable, "-c", program]
    names = {subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert len(names) == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"sizes": 7}, "sizes must be"), ({"sizes": [4, [3]]}, "sizes must be"), ({"sizes": (4,)}, "sizes must be"),
     ({"activation": ["relu"]}, "activation must be"), ({"dropout": 0.5}, "dropout must be"),
     ({"dropout": [2.0]}, "dropout must be"), ({"dtype": "int8"}, "dtype must be"), ({"threads": 0}, "threads must be"),
     ({"threads": 1.5}, "threads must be"), ({"seed": 1.5}, "seed must be"), ({"batch": 0}, "batch must be")],
    ids=str,
)  # fmt: skip
def test_an_argument_of_a_plan_is_refused_by_its_name(wrong, said):
    with pytest.raises((TypeError, ValueError), match=said):
        cpu.plan(**{"sizes": (4, 3), **wrong})
