# SPDX-License-Identifier: MIT
"""kernels/cuda/losses.py: softmax, losses and gradients of rows on a card are those of ops.py."""

import numpy as np
import pytest
from gpu_arrays import TOLERANCE, assert_same, both_dtypes, numbers

from minidistill import ops
from minidistill.kernels import cuda

pytestmark = pytest.mark.cuda

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


@pytest.mark.parametrize("T", [1, 4, 20])
@pytest.mark.parametrize("target", ["labels", "probabilities", "teacher only"])
@both_dtypes
def test_the_distillation_loss_is_that_of_ops(target, T, dtype):
    s, t, tolerance = numbers(0, 5, 10, dtype=dtype), numbers(1, 5, 10, dtype=dtype), 10 * TOLERANCE[dtype]
    y = {"labels": np.arange(5), "probabilities": ops.softmax_forward(t[::-1])[0], "teacher only": None}[target]
    alpha, smoothing = (1.0, 0.0) if y is None else (0.3, 0.1)
    value, ds = cuda.distillation_loss(s, t, y, T, alpha, smoothing)
    reference, expected = ops.distillation_loss(s, t, y, T, alpha, smoothing)
    np.testing.assert_allclose(value, reference, rtol=tolerance)
    np.testing.assert_allclose(ds, expected, atol=T * tolerance)
    assert ds.dtype == dtype


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


@pytest.mark.parametrize("shape", [(2, 6), (3, 40)], ids=str)
@both_dtypes
def test_top_k(shape, dtype):
    s, t, k, T = numbers(0, *shape, dtype=dtype), numbers(1, *shape, dtype=dtype), 3, 2.0
    indices = np.argsort(-t, axis=1)[:, :k]
    log_p = np.take_along_axis(ops.log_softmax_forward(t, T)[0], indices, axis=1)
    value, cache = cuda.top_k_target_forward(s, indices, log_p, T)
    reference, reference_cache = ops.top_k_target_forward(s, indices, log_p, T)
    np.testing.assert_allclose(value, reference, rtol=10 * TOLERANCE[dtype])
    expected = ops.top_k_target_backward(reference_cache)
    np.testing.assert_allclose(cuda.top_k_target_backward(cache), expected, atol=10 * TOLERANCE[dtype])
