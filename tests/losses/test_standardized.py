# SPDX-License-Identifier: MIT
"""Standardised logits: z-scores, their gradient, and rows that have none."""

import math

import numpy as np
import pytest
from methods import T_LOGITS, B, S, logits

from minidistill import SoftTarget, StandardizedTarget, check_gradient
from minidistill.losses.standardized import standardize_backward, standardize_forward


def test_each_row_gets_the_mean_0_and_the_standard_deviation_1():
    """[STD-1]"""
    z, _ = standardize_forward(S)
    np.testing.assert_allclose(z, (S - S.mean(axis=1, keepdims=True)) / S.std(axis=1, keepdims=True), rtol=1e-12)


@pytest.mark.parametrize("x", [S, S + 30, logits(2, 3, 2), logits(3, 1, 5)], ids=["", "far from 0", "pairs", "one row"])
def test_the_gradient_of_standardising_agrees_with_finite_differences(x):
    """[STD-2]"""
    dz = logits(5, *x.shape)
    _, cache = standardize_forward(x)
    check_gradient(lambda x: (dz * standardize_forward(x)[0]).sum(), x, standardize_backward(dz, cache))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1.0, 1e20])
def test_a_factor_changes_nothing_however_large_or_small(dtype, scale):
    z, cache = standardize_forward(S.astype(dtype))
    scaled, scaled_cache = standardize_forward(S.astype(dtype) * dtype(scale))
    np.testing.assert_allclose(scaled, z, atol=4e-6 if dtype is np.float32 else 1e-14)
    assert scaled.dtype == dtype
    np.testing.assert_allclose(
        standardize_backward(T_LOGITS.astype(dtype), scaled_cache) * dtype(scale),
        standardize_backward(T_LOGITS.astype(dtype), cache), atol=1e-5 if dtype is np.float32 else 1e-14,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("constant", [0.0, 0.1, -1e4, 1e30, 1e-38])
def test_a_row_without_spread_is_zero_and_has_no_gradient(dtype, constant):
    rows = np.full((2, 7), constant, dtype)
    rows[1] = S[1]
    z, cache = standardize_forward(rows)
    dx = standardize_backward(T_LOGITS[:2].astype(dtype), cache)
    assert not z[0].any() and not dx[0].any()
    assert z[1].any() and dx[1].any()


def test_numbers_that_only_rounding_tells_apart_have_no_spread():
    rows = np.full((1, 10), 1 / 3, np.float32)
    rows[0, ::2] = np.nextafter(np.float32(1 / 3), np.float32(1))
    z, _ = standardize_forward(rows)
    assert not z.any()


def test_not_finite_stays_not_finite():
    for bad in (np.nan, np.inf):
        rows = S.copy()
        rows[1, 2] = bad
        with np.errstate(invalid="ignore"):
            z, _ = standardize_forward(rows)
        assert np.isnan(z[1]).all()


def test_the_term_is_the_soft_target_loss_of_the_standardised_logits():
    """[STD-3]"""
    value, _ = StandardizedTarget(1.5, 1.0)(S, T_LOGITS, None)
    z, z_teacher = ((x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True) for x in (S, T_LOGITS))
    assert math.isclose(value, SoftTarget(1.5, 1.0)(z, z_teacher, None)[0], rel_tol=1e-12)


def test_the_term_is_zero_for_any_student_of_the_teachers_shape():
    """A shift and a positive factor a row, another one for each row."""
    factor = np.array([[0.01], [0.3], [1.0], [7.0], [200.0]])
    value, ds = StandardizedTarget(2.0, 1.0)(factor * T_LOGITS - 3 * factor, T_LOGITS, None)
    assert abs(value) < 1e-14
    np.testing.assert_allclose(ds, 0, atol=1e-13)
    assert SoftTarget(2.0, 1.0)(factor * T_LOGITS, T_LOGITS, None)[0] > 1, "soft targets insist on the size"


def test_the_gradient_asks_for_no_shift_and_no_stretch():
    _, ds = StandardizedTarget(2.0, 1.0)(S, T_LOGITS, None)
    np.testing.assert_allclose(ds.sum(axis=1), 0, atol=1e-16)
    np.testing.assert_allclose((ds * S).sum(axis=1), 0, atol=1e-15)
    assert np.abs(ds).max() > 0.01


@pytest.mark.parametrize("scale", [1e-20, 1e-30, 1e-36, 1e-40, 1e30])
def test_the_scale_of_float32_logits_does_not_matter_down_to_the_smallest(scale):
    loss, s, t = StandardizedTarget(2.0, 1.0), np.arange(14).reshape(2, 7) % 5 * scale, T_LOGITS[:2]
    exact, _ = loss(s / scale, t, None)
    tiny_teacher = (1e-36 * t).astype(np.float32)
    assert math.isclose(loss((s / scale).astype(np.float32), tiny_teacher, None)[0], exact, rel_tol=1e-5)
    if scale > 1e-38:
        value, ds = loss(s.astype(np.float32), t.astype(np.float32), None)
        assert math.isclose(value, exact, rel_tol=1e-5)
        np.testing.assert_allclose(ds * scale, loss(s / scale, t, None)[1], atol=1e-5)
    else:
        with pytest.raises(ValueError, match="those of row 0 are so close that their gradient overflows"):
            loss(s.astype(np.float32), t.astype(np.float32), None)


def test_two_classes_tell_nothing_but_their_order():
    s, t = np.array([[0.1, 0.3], [5.0, -5.0]]), np.array([[-4.0, 4.0], [-1.0, 2.0]])
    value, ds = StandardizedTarget(1.0, 1.0)(s, t, None)
    p = 1 / (1 + math.exp(-2))  # of the larger logit, z = 1 against -1
    wanted = (2 * p - 1) * 2  # of the second row, where the order differs: (p - q) log (p/q), twice
    assert math.isclose(value, wanted / 2, rel_tol=1e-12)
    np.testing.assert_allclose(ds, 0, atol=1e-14)


def test_a_teacher_without_spread_wants_a_uniform_student():
    value, ds = StandardizedTarget(1.0, 1.0)(S, np.full_like(S, 2.5), None)
    assert math.isclose(value, StandardizedTarget(1.0, 1.0)(S, np.zeros_like(S), None)[0], rel_tol=1e-15)
    assert value > 0.1 and ds.any()
    assert len(ds) == B
