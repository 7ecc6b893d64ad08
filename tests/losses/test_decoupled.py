# SPDX-License-Identifier: MIT
"""Decoupled knowledge distillation: its two parts, what they add up to, and two classes."""

import math

import numpy as np
import pytest
from methods import T_LOGITS, B, C, S, Y, logits

from minidistill import DecoupledKD, SoftTarget
from minidistill.ops import softmax_forward


def shares(logits, T, y=Y):
    """Probability of the label (B,), and of the others among themselves (B,C), 0 at the label."""
    p, _ = softmax_forward(logits, T)
    of_label = p[np.arange(len(y)), y]
    others = np.where(np.arange(p.shape[1]) == y[:, None], 0, p)
    return of_label, others / others.sum(axis=1, keepdims=True)


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


@pytest.mark.parametrize("T", [1.0, 4.0])
def test_the_target_part_compares_how_sure_one_is_of_the_label(T):
    """[DKD-1] [DKD-4]"""
    (p, _), (q, _) = shares(T_LOGITS, T), shares(S, T)
    wanted = sum(kl((p[n], 1 - p[n]), (q[n], 1 - q[n])) for n in range(B)) / B
    assert math.isclose(DecoupledKD(1.0, 0.0, T, 1.0)(S, T_LOGITS, Y)[0], T**2 * wanted, rel_tol=1e-12)


@pytest.mark.parametrize("T", [1.0, 4.0])
def test_the_other_part_compares_the_other_classes_among_themselves(T):
    """[DKD-2] [DKD-4]"""
    (_, p), (_, q) = shares(T_LOGITS, T), shares(S, T)
    wanted = sum(kl(p[n], q[n]) for n in range(B)) / B
    assert math.isclose(DecoupledKD(0.0, 1.0, T, 1.0)(S, T_LOGITS, Y)[0], T**2 * wanted, rel_tol=1e-12)


def test_the_two_parts_make_the_soft_target_loss():
    """[DKD-3], row by row: value and gradient."""
    T = 3.0
    p, _ = shares(T_LOGITS, T)
    for n in range(B):
        row = slice(n, n + 1)
        value, ds = DecoupledKD(1.0, 1 - p[n], T, 1.0)(S[row], T_LOGITS[row], Y[row])
        wanted_value, wanted_ds = SoftTarget(T, 1.0)(S[row], T_LOGITS[row], None)
        assert math.isclose(value, wanted_value, rel_tol=1e-12)
        np.testing.assert_allclose(ds, wanted_ds, atol=1e-14)


def test_the_gradients_are_the_formulas():
    T = 3.0
    (p, p_others), (q, q_others) = shares(T_LOGITS, T), shares(S, T)
    is_label = np.arange(C) == Y[:, None]
    target = np.where(is_label, (q - p)[:, None], q_others * (p - q)[:, None])
    wanted = T * (0.7 * target + 2.0 * (q_others - p_others)) / B
    np.testing.assert_allclose(DecoupledKD(0.7, 2.0, T, 1.0)(S, T_LOGITS, Y)[1], wanted, atol=1e-15)


def test_a_sure_teacher_still_teaches_what_it_knows_of_the_other_classes():
    """Which is the point: soft targets teach nothing of it."""
    sure = T_LOGITS + 60 * (np.arange(C) == Y[:, None])
    others = np.arange(C) != Y[:, None]
    alike = np.where(others, 0.0, sure)  # as sure, and without an opinion on the others
    assert np.abs(SoftTarget(1.0, 1.0)(alike, sure, Y)[1]).max() < 1e-20
    _, ds = DecoupledKD(1.0, 1.0, 1.0, 1.0)(alike, sure, Y)
    assert np.abs(ds[others]).max() > 0.05


def test_the_other_part_of_two_classes_is_exactly_zero():
    s, t, y = logits(4, 6, 2), logits(5, 6, 2), np.array([0, 1, 1, 0, 0, 1])
    value, ds = DecoupledKD(0.0, 8.0, 4.0, 1.0)(s, t, y)
    assert value == 0
    assert not ds.any()


def test_all_of_two_classes_is_the_soft_target_loss():
    s, t, y = logits(4, 6, 2), logits(5, 6, 2), np.array([0, 1, 1, 0, 0, 1])
    value, ds = DecoupledKD(1.0, 8.0, 4.0, 1.0)(s, t, y)
    wanted_value, wanted_ds = SoftTarget(4.0, 1.0)(s, t, None)
    assert math.isclose(value, wanted_value, rel_tol=1e-12)
    np.testing.assert_allclose(ds, wanted_ds, atol=1e-15)


def test_a_gap_of_120_does_not_underflow_in_float32():
    """The logarithm of a float32 softmax is -inf there. The teacher finds label and other equal: 60 nats less log 2."""
    s, t = np.array([[0, 120, -3]], np.float32), np.array([[0, 0, -200]], np.float32)
    value, ds = DecoupledKD(1.0, 0.0, 1.0, 1.0)(s, t, np.array([0]))
    assert math.isclose(value, 60 - math.log(2), rel_tol=1e-6)
    np.testing.assert_allclose(ds, [[-0.5, 0.5, 0]], atol=1e-6)


@pytest.mark.parametrize(
    ("y", "got"), [(None, "none"), (np.full((B, C), 1 / C), r"shape \(5, 7\)")], ids=["none", "probabilities"]
)
def test_what_names_no_label_is_refused(y, got):
    said = rf"y must be labels of shape \(5,\): the label's class is told from the others, got {got}"
    with pytest.raises(ValueError, match=said):
        DecoupledKD(alpha=1.0)(S, T_LOGITS, y)


def test_one_class_is_refused():
    with pytest.raises(ValueError, match=r"s must have at least two classes, one besides the label's, got shape"):
        DecoupledKD()(S[:, :1], T_LOGITS[:, :1], np.zeros(B, int))
