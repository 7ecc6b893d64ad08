# SPDX-License-Identifier: MIT
"""kernels/cuda_rows.py: elements, rows and columns on a card are those of ops.py."""

import numpy as np
import pytest
from cards import TOLERANCE, assert_same, both_dtypes, numbers

from minidistill import ops
from minidistill.kernels import cuda

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu"])
@both_dtypes
def test_activations(name, dtype):
    z, da = numbers(0, 3, 11, dtype=dtype), numbers(1, 3, 11, dtype=dtype)
    a, kept = getattr(cuda, f"{name}_forward")(z)
    reference, reference_kept = getattr(ops, f"{name}_forward")(z)
    assert_same(a, reference)
    assert_same(getattr(cuda, f"{name}_backward")(da, kept), getattr(ops, f"{name}_backward")(da, reference_kept))


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu"])
def test_no_activation_makes_a_number_of_nan(name):
    assert np.isnan(getattr(cuda, f"{name}_forward")(np.full((1, 3), np.nan, np.float32))[0]).all()


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.95])
@both_dtypes
def test_dropout_masks_are_the_same_bit_for_bit(rate, dtype):
    arguments = (5, 13), rate, 2**40 + 7, 11, 3, dtype
    np.testing.assert_array_equal(cuda.dropout_mask(*arguments), ops.dropout_mask(*arguments))
    a = numbers(0, 5, 13, dtype=dtype)
    masked, mask = cuda.dropout_forward(a, rate, 5, 1, 2)
    reference, reference_mask = ops.dropout_forward(a, rate, 5, 1, 2)
    np.testing.assert_array_equal(masked, reference)
    np.testing.assert_array_equal(cuda.dropout_backward(a, mask), ops.dropout_backward(a, reference_mask))


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.02])
@both_dtypes
def test_updates(nesterov, decay, dtype):
    w, dw, m, v = (numbers(k, 37, dtype=dtype) for k in range(4))
    v = abs(v)
    for change in (
        lambda ops, w, dw, m, v: ops.sgd_update(w, dw, m, 0.1, 0.8, nesterov, decay),
        lambda ops, w, dw, m, v: ops.adam_update(w, dw, m, v, 0.1, 7, weight_decay=decay),
        lambda ops, w, dw, m, v: ops.clip_norm(dw, 0.5),
        lambda ops, w, dw, m, v: ops.clip_norm(dw, 50.0),
        lambda ops, w, dw, m, v: ops.max_norm(w[:36].reshape(4, 9), 1.0),
    ):
        mine, reference = [w.copy() for w in (w, dw, m, v)], [w.copy() for w in (w, dw, m, v)]
        change(cuda, *mine)
        change(ops, *reference)
        for one, other in zip(mine, reference, strict=True):
            assert_same(one, other)


@pytest.mark.filterwarnings("ignore:.*overflow encountered:RuntimeWarning")
def test_a_gradient_that_explodes_is_clipped_all_the_same():
    mine, reference = np.full(50, 1e25, np.float32), np.full(50, 1e25, np.float32)
    cuda.clip_norm(mine, 1.0)
    ops.clip_norm(reference, 1.0)
    assert_same(mine, reference)


SHAPES = pytest.mark.parametrize("shape", [(1, 2), (5, 10), (3, 70)], ids=["one row", "few classes", "many classes"])


@SHAPES
@pytest.mark.parametrize("scale", [1, 30])
@both_dtypes
def test_softmax(shape, scale, dtype):
    s, dq = numbers(0, *shape, dtype=dtype) * dtype(scale), numbers(1, *shape, dtype=dtype)
    for name in ("softmax", "log_softmax"):
        q, cache = getattr(cuda, f"{name}_forward")(s, 3.0)
        reference, reference_cache = getattr(ops, f"{name}_forward")(s, 3.0)
        assert_same(q, reference)
        backward = f"{name}_backward"
        terms = abs(dq).max()  # where q is all but one-hot they cancel, and of the difference only rounding is left
        assert_same(getattr(cuda, backward)(dq, cache), getattr(ops, backward)(dq, reference_cache), terms)


@SHAPES
@pytest.mark.parametrize("scale", [1, 30])
@both_dtypes
def test_losses(shape, scale, dtype):
    s, t = (numbers(k, *shape, dtype=dtype) * dtype(scale) for k in range(2))
    y, tolerance, T = np.arange(shape[0]) % shape[1], 10 * TOLERANCE[dtype], 2.5
    for arguments in ((s, y), (s, ops.softmax_forward(t)[0])):
        value, cache = cuda.cross_entropy_forward(*arguments)
        reference, reference_cache = ops.cross_entropy_forward(*arguments)
        assert_same(value, reference)
        expected = ops.cross_entropy_backward(reference_cache)
        np.testing.assert_allclose(cuda.cross_entropy_backward(cache), expected, atol=tolerance)
    value, cache = cuda.soft_target_forward(s, t, T)
    reference, reference_cache = ops.soft_target_forward(s, t, T)
    np.testing.assert_allclose(value, reference, rtol=tolerance, atol=tolerance * T * T * scale)
    expected = ops.soft_target_backward(reference_cache)
    np.testing.assert_allclose(cuda.soft_target_backward(cache), expected, atol=T * tolerance)


@pytest.mark.parametrize("descending", [False, True])
def test_one_pass_finds_the_largest_logit_wherever_it_stands(descending):
    s = np.linspace(-400, 400, 41, dtype=np.float32)[None, :: -1 if descending else 1]
    t = np.roll(s, 7, axis=1)
    value, ds = cuda.distillation_loss(s, t, np.array([3]), temperature=4.0, alpha=0.5)
    kl, kl_cache = ops.soft_target_forward(s, t, 4.0)
    ce, ce_cache = ops.cross_entropy_forward(s, np.array([3]))
    assert_same(np.float32(value), np.float32((kl + ce) / 2))
    assert_same(ds, (ops.soft_target_backward(kl_cache) + ops.cross_entropy_backward(ce_cache)) / 2)


@pytest.mark.parametrize("place", [0, 1, 69])
def test_nan_among_the_logits_reaches_the_loss(place):
    s = numbers(0, 2, 70)
    s[1, place] = np.nan
    assert np.isnan(cuda.distillation_loss(s, s[::-1].copy(), np.array([0, 1]), 2.0, 0.5)[0])
