# SPDX-License-Identifier: MIT
"""The virtual teacher: what it says, and where it is label smoothing."""

import math

import numpy as np
import pytest
from methods import T_LOGITS, B, C, S, Y

from minidistill import CrossEntropy, SoftTarget, VirtualTeacher
from minidistill.ops import softmax_forward


def by_hand(correct, classes=C):
    p = np.full((B, classes), (1 - correct) / (classes - 1))
    p[np.arange(B), Y % classes] = correct
    return p


@pytest.mark.parametrize("correct", [0.6, 0.99])
def test_the_teacher_gives_the_label_its_share_and_all_others_the_same(correct):
    """[VT-1]"""
    p, _ = softmax_forward(VirtualTeacher(correct).logits(S, Y))
    np.testing.assert_allclose(p, by_hand(correct), rtol=1e-12)


@pytest.mark.parametrize("T", [1.0, 20.0])
def test_the_loss_is_that_of_soft_targets(T):
    """[VT-2], with p softened as p^(1/T), brought back to the sum 1."""
    p = by_hand(0.9) ** (1 / T)
    p /= p.sum(axis=1, keepdims=True)
    q, _ = softmax_forward(S, T)
    value, ds = VirtualTeacher(0.9, T, 1.0)(S, None, Y)
    assert math.isclose(value, T**2 * (p * np.log(p / q)).sum() / B, rel_tol=1e-12)
    np.testing.assert_allclose(ds, T * (q - p) / B, atol=1e-14)


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_at_temperature_1_it_is_label_smoothing(alpha):
    correct = 0.9
    e = alpha * (1 - correct) * C / (C - 1)
    value, ds = VirtualTeacher(correct, 1.0, alpha)(S, None, Y)
    smoothed_value, smoothed_ds = CrossEntropy(e)(S, None, Y)
    np.testing.assert_allclose(ds, smoothed_ds, atol=1e-15)
    p = by_hand(correct)
    assert math.isclose(smoothed_value - value, -alpha * (p * np.log(p)).sum() / B, rel_tol=1e-12)


def test_at_other_temperatures_it_is_not():
    """Label smoothing pulls all wrong classes by e / C at most; no share does what a softened pair does."""
    _, ds = VirtualTeacher(0.9, 20.0, 1.0)(S, None, Y)
    gaps = [np.abs(CrossEntropy(e)(S, None, Y)[1] - ds).max() for e in np.linspace(0, 0.99, 100)]
    assert min(gaps) > 0.01


def test_it_is_zero_for_the_student_that_says_what_it_says():
    teacher = VirtualTeacher(0.9, 3.0, 1.0)
    value, ds = teacher(np.log(by_hand(0.9)), None, Y)
    assert abs(value) < 1e-13
    np.testing.assert_allclose(ds, 0, atol=1e-14)


def test_a_real_teacher_is_not_looked_at():
    loss = VirtualTeacher()
    assert loss(S, np.full_like(S, np.nan), Y)[0] == loss(S, T_LOGITS, Y)[0] == loss(S, None, Y)[0]


def test_mixed_labels_get_the_mixed_share():
    rows = np.zeros((1, 4))
    rows[0, :2] = 0.3, 0.7
    p, _ = softmax_forward(VirtualTeacher(0.9).logits(S[:1, :4], rows))
    np.testing.assert_allclose(p, [[0.9 * 0.3 + 0.1 / 3 * 0.7, 0.9 * 0.7 + 0.1 / 3 * 0.3, 0.1 / 3, 0.1 / 3]])


def test_a_teacher_surer_than_float32_can_say_is_finite():
    loss = VirtualTeacher(1 - 1e-12, 1.0, 1.0)
    value, ds = loss(S.astype(np.float32), None, Y)
    assert math.isclose(value, loss(S, None, Y)[0], rel_tol=1e-6)
    assert np.isfinite(ds).all()


def test_missing_labels_are_named():
    with pytest.raises(ValueError, match=r"y \(labels\) is missing: the virtual teacher is made from them"):
        VirtualTeacher()(S, T_LOGITS, None)


@pytest.mark.parametrize("bad", [0, 1, 1.0])
def test_a_teacher_that_is_always_right_or_never_is_refused(bad):
    with pytest.raises(ValueError, match=r"correct must be in \(0, 1\), got"):
        VirtualTeacher(bad)


def test_it_is_the_soft_target_loss_of_its_own_logits():
    teacher = VirtualTeacher(0.9, 3.0, 0.4)
    assert teacher(S, None, Y)[0] == SoftTarget(3.0, 0.4)(S, teacher.logits(S, Y), Y)[0]
