# SPDX-License-Identifier: MIT
"""DIST: correlations between classes and within them, and what has no correlation."""

import math

import numpy as np
import pytest
from methods import T_LOGITS, B, C, S, logits

from minidistill import DIST
from minidistill.losses.dist import correlation_distance
from minidistill.ops import softmax_forward


def correlation(x, v):
    """Pearson's, as statistics has it."""
    return np.corrcoef(x, v)[0, 1]


@pytest.mark.parametrize("T", [1.0, 4.0])
def test_inter_is_the_distance_of_rows(T):
    """[DIST-1] [DIST-3]"""
    q, p = softmax_forward(S, T)[0], softmax_forward(T_LOGITS, T)[0]
    wanted = np.mean([1 - correlation(q[n], p[n]) for n in range(B)])
    assert math.isclose(DIST(2.0, 0.0, T, 1.0)(S, T_LOGITS, None)[0], 2 * wanted, rel_tol=1e-12)


@pytest.mark.parametrize("T", [1.0, 4.0])
def test_intra_is_the_distance_of_columns(T):
    """[DIST-2] [DIST-3]"""
    q, p = softmax_forward(S, T)[0], softmax_forward(T_LOGITS, T)[0]
    wanted = np.mean([1 - correlation(q[:, c], p[:, c]) for c in range(C)])
    assert math.isclose(DIST(0.0, 3.0, T, 1.0)(S, T_LOGITS, None)[0], 3 * wanted, rel_tol=1e-12)


def test_the_distance_is_half_the_squared_difference_of_standardised_rows():
    rows, teacher = logits(2), logits(3)
    z, z_teacher = ((x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True) for x in (rows, teacher))
    distance, _ = correlation_distance(rows, teacher)
    assert math.isclose(distance, ((z - z_teacher) ** 2).mean() / 2, rel_tol=1e-12)


def test_a_shift_and_a_positive_factor_of_probabilities_cost_nothing():
    rows = logits(2)
    distance, gradient = correlation_distance(0.2 * rows + 5, rows)
    assert abs(distance) < 1e-14
    np.testing.assert_allclose(gradient, 0, atol=1e-13)
    assert math.isclose(correlation_distance(-rows, rows)[0], 2, rel_tol=1e-14)


def test_at_a_high_temperature_it_is_the_correlation_of_the_logits_and_does_not_fade():
    """T^2 would make the gradient grow without end."""
    wanted = np.mean([1 - correlation(S[n], T_LOGITS[n]) for n in range(B)])
    gradients = []
    for T in (1e2, 1e3, 1e4):
        value, ds = DIST(1.0, 0.0, T, 1.0)(S, T_LOGITS, None)
        assert abs(value - wanted) < 5 / T
        gradients.append(np.linalg.norm(ds))
    np.testing.assert_allclose(gradients, gradients[-1], rtol=0.05)


def test_one_sample_costs_nothing_within_the_classes():
    """Its columns have one number each."""
    value, ds = DIST(0.0, 1.0, 1.0, 1.0)(S[:1], T_LOGITS[:1], None)
    assert value == 0
    assert not ds.any()


def test_where_the_teacher_has_no_spread_nothing_is_asked():
    value, ds = DIST(1.0, 0.0, 1.0, 1.0)(S, np.full_like(S, 0.1), None)
    assert value == 0
    assert not ds.any()


def test_where_the_student_alone_has_none_it_costs_1():
    value, ds = DIST(1.0, 0.0, 1.0, 1.0)(np.full_like(S, 0.1), T_LOGITS, None)
    assert math.isclose(value, 1, rel_tol=1e-12)
    assert not ds.any()


def test_rows_without_spread_leave_the_other_rows_alone():
    s, t = S.copy(), T_LOGITS.copy()
    s[1], t[3] = 0.7, -2.0
    value, ds = DIST(1.0, 0.0, 2.0, 1.0)(s, t, None)
    kept = [0, 2, 4]
    part, dpart = DIST(1.0, 0.0, 2.0, 1.0)(s[kept], t[kept], None)
    assert math.isclose(value, (3 * part + 1) / 5, rel_tol=1e-12)
    np.testing.assert_allclose(ds[kept], dpart * 3 / 5, atol=1e-15)
    assert not ds[[1, 3]].any()


def test_two_classes_and_two_samples_correlate_fully_and_have_no_gradient():
    s, t = np.array([[0.1, 0.3], [2.0, -1.0]]), np.array([[-4.0, 4.0], [-1.0, 2.0]])
    inter, dinter = DIST(1.0, 0.0, 1.0, 1.0)(s, t, None)
    intra, dintra = DIST(0.0, 1.0, 1.0, 1.0)(s[::-1].copy(), t, None)
    assert math.isclose(inter, (0 + 2) / 2, rel_tol=1e-14), "one row agrees, one is turned round"
    assert math.isclose(intra, 2, rel_tol=1e-14), "the two order the rows differently"
    np.testing.assert_allclose(np.concatenate((dinter, dintra)), 0, atol=1e-14)


@pytest.mark.parametrize("below", [55, 80, 300])
def test_a_class_of_tiny_probability_in_float32_is_still_correlated(below):
    """Its squares are below what float32 can hold, and then its probabilities themselves."""
    s, t = S.copy(), T_LOGITS.copy()
    s[:, 0] -= below
    t[:, 0] -= below
    wanted_value, wanted_ds = DIST(0.0, 1.0, 1.0, 1.0)(s, t, None)
    value, ds = DIST(0.0, 1.0, 1.0, 1.0)(s.astype(np.float32), t.astype(np.float32), None)
    assert math.isclose(value, wanted_value, rel_tol=1e-4)
    np.testing.assert_allclose(ds, wanted_ds, atol=1e-4 * np.abs(wanted_ds).max())
    assert np.abs(ds[:, 0]).max() > 0.001
