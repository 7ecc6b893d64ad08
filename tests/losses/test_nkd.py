# SPDX-License-Identifier: MIT
"""NKD: its two parts, its gradient, and what it has in common with DKD."""

import math

import numpy as np
import pytest
from methods import T_LOGITS, B, C, S, Y, logits

from minidistill import NKD, CrossEntropy, DecoupledKD
from minidistill.ops import softmax_forward

OTHERS = np.arange(C) != Y[:, None]


def among_others(logits, T):
    """Softmax (B,C) over the other classes, 0 at the label."""
    powers = np.where(OTHERS, np.exp(logits / T), 0)
    return powers / powers.sum(axis=1, keepdims=True)


def test_the_labels_part_trusts_a_label_as_far_as_the_teacher_does():
    """[NKD-1]"""
    p, q = softmax_forward(T_LOGITS)[0], softmax_forward(S)[0]
    wanted = -sum(p[n, Y[n]] * math.log(q[n, Y[n]]) for n in range(B)) / B
    assert math.isclose(NKD(0.0, 4.0, 1.0)(S, T_LOGITS, Y)[0], wanted, rel_tol=1e-13)


@pytest.mark.parametrize("T", [1.0, 3.0])
def test_the_other_part_is_a_cross_entropy_of_renormalised_shares(T):
    """[NKD-2]"""
    p, q = among_others(T_LOGITS, T), among_others(S, T)
    wanted = -sum(p[n, c] * math.log(q[n, c]) for n in range(B) for c in range(C) if c != Y[n]) / B
    value = NKD(1.5, T, 1.0)(S, T_LOGITS, Y)[0] - NKD(0.0, T, 1.0)(S, T_LOGITS, Y)[0]
    assert math.isclose(value, 1.5 * T**2 * wanted, rel_tol=1e-12)


def test_the_gradient_is_the_formula():
    """[NKD-3]"""
    gamma, T = 1.5, 3.0
    trust = softmax_forward(T_LOGITS)[0][~OTHERS][:, None]
    wanted = trust * (softmax_forward(S)[0] - ~OTHERS) + gamma * T * (among_others(S, T) - among_others(T_LOGITS, T))
    np.testing.assert_allclose(NKD(gamma, T, 1.0)(S, T_LOGITS, Y)[1], wanted / B, atol=1e-15)


def test_a_sure_teacher_makes_the_labels_part_the_cross_entropy():
    sure = np.where(OTHERS, 0.0, 1000.0)
    value, ds = NKD(0.0, 1.0, 1.0)(S, sure, Y)
    assert math.isclose(value, CrossEntropy()(S, None, Y)[0], rel_tol=1e-14)
    np.testing.assert_allclose(ds, CrossEntropy()(S, None, Y)[1], atol=1e-16)


def test_a_label_that_the_teacher_finds_wrong_hardly_counts():
    doubtful = np.where(OTHERS, 0.0, -30.0)
    assert np.abs(NKD(0.0, 1.0, 1.0)(S, doubtful, Y)[1]).max() < 1e-12


def test_the_other_part_has_the_gradient_of_dkds():
    T = 3.0
    nkd = NKD(2.0, T, 1.0)(S, T_LOGITS, Y)[1] - NKD(0.0, T, 1.0)(S, T_LOGITS, Y)[1]
    np.testing.assert_allclose(nkd, DecoupledKD(0.0, 2.0, T, 1.0)(S, T_LOGITS, Y)[1], atol=1e-15)


def test_two_classes_leave_the_labels_part():
    s, t, y = logits(4, 6, 2), logits(5, 6, 2), np.array([0, 1, 1, 0, 0, 1])
    value, ds = NKD(1.5, 3.0, 1.0)(s, t, y)
    wanted_value, wanted_ds = NKD(0.0, 3.0, 1.0)(s, t, y)
    assert value == wanted_value
    assert np.array_equal(ds, wanted_ds)


@pytest.mark.parametrize("y", [None, np.full((B, C), 1 / C)], ids=["none", "probabilities"])
def test_what_names_no_label_is_refused(y):
    with pytest.raises(ValueError, match=r"y must be labels of shape \(5,\)"):
        NKD(alpha=1.0)(S, T_LOGITS, y)
