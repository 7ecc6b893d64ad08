# SPDX-License-Identifier: MIT
"""Logit matching: its value, its gradient, and what it has in common with soft targets."""

import math

import numpy as np
from methods import T_LOGITS, B, C, S, Y

from minidistill import LogitMatching, SoftTarget


def centred(logits):
    return logits - logits.mean(axis=1, keepdims=True)


def test_the_value_is_half_the_mean_squared_difference():
    """[LM-1]"""
    total = sum((S[n, c] - T_LOGITS[n, c]) ** 2 / (2 * C) for n in range(B) for c in range(C))
    assert math.isclose(LogitMatching(1.0)(S, T_LOGITS, None)[0], total / B, rel_tol=1e-14)


def test_the_gradient_is_the_difference_over_rows_and_classes():
    """[LM-2]"""
    _, ds = LogitMatching(1.0)(S, T_LOGITS, None)
    np.testing.assert_allclose(ds, (S - T_LOGITS) / (B * C), rtol=1e-15)


def test_soft_targets_tend_to_it_as_the_temperature_grows_where_the_logits_are_centred():
    """The distance falls like 1/T: value and gradient."""
    s, t = centred(S), centred(T_LOGITS)
    wanted_value, wanted_ds = LogitMatching(1.0)(s, t, None)
    for T in (1e2, 1e3, 1e4):
        value, ds = SoftTarget(T, 1.0)(s, t, None)
        assert abs(value / wanted_value - 1) < 2 / T
        assert np.linalg.norm(ds - wanted_ds) < 2 / T * np.linalg.norm(wanted_ds)


def test_they_tend_to_something_smaller_where_the_logits_are_not():
    """The difference is half the mean square of what the row means differ by."""
    offset = np.array([[3.0], [-2.0], [0.0], [1.0], [5.0]])
    s, t = centred(S) + offset, centred(T_LOGITS)
    value, _ = SoftTarget(1e4, 1.0)(s, t, None)
    matched, _ = LogitMatching(1.0)(s, t, None)
    assert math.isclose(matched - value, (offset**2).mean() / 2, rel_tol=1e-3)


def test_a_class_that_is_never_likely_counts_as_much_as_the_others():
    s, t = T_LOGITS.copy(), T_LOGITS.copy()
    s[:, 2], t[:, 2] = -40, -50
    _, soft = SoftTarget(1.0, 1.0)(s, t, Y)
    _, matching = LogitMatching(1.0)(s, t, Y)
    assert np.abs(soft).max() < 1e-14
    np.testing.assert_allclose(matching[:, 2], 10 / (B * C))
