# SPDX-License-Identifier: MIT
"""Linear layers, activations, dropout, softmax and updates of the CPU backend agree with ops.py."""

import numpy as np
import pytest
from agreement import TOLERANCE, assert_same, numbers
from hypothesis import given, settings, strategies as st

from minidistill import ops
from minidistill.kernels import cpu

pytestmark = pytest.mark.compiles

dtypes = st.sampled_from(list(TOLERANCE))
rows_and_columns = st.tuples(st.integers(1, 40), st.integers(2, 90))
seeds = st.integers(0, 999)
drawn = settings(max_examples=25, deadline=None)


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


def test_limits_above_the_largest_float32_are_none():
    w = numbers(0, 8, 4, dtype=np.float32)
    for change in (cpu.clip_norm, cpu.max_norm):
        same = w.copy()
        change(same, 1e39)
        np.testing.assert_array_equal(same, w)


def test_a_gradient_that_explodes_is_clipped_and_not_erased():
    exploding = np.full(37, 1e20, np.float32)
    mine, reference = exploding.copy(), exploding.copy()
    cpu.clip_norm(mine, 1.0)
    ops.clip_norm(reference, 1.0)
    assert_same(mine, reference)
    assert np.isclose(np.linalg.norm(mine), 1)
