# SPDX-License-Identifier: MIT
"""Soft targets: the formula, its gradient, and both ends of alpha."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays
from methods import T_LOGITS, B, S, Y, logits, one_hot, softmax

from minidistill.diagnosis.gradcheck import check_gradient
from minidistill.losses import CrossEntropy, SoftTarget

pairs = st.tuples(st.integers(1, 5), st.integers(2, 8)).flatmap(
    lambda shape: st.tuples(*[arrays.arrays(np.float64, shape, elements=st.floats(-30, 30))] * 2)
)


@given(pair=pairs, T=st.floats(0.5, 50))
@settings(deadline=None, max_examples=50)
def test_the_divergence_is_never_negative(pair, T):
    value, _ = SoftTarget(T, 1.0)(*pair, None)
    assert value >= -1e-13 * T**2  # rounding, multiplied by T^2


@given(pair=pairs, T=st.floats(0.5, 50))
@settings(deadline=None, max_examples=50)
def test_the_gradient_rows_sum_to_zero(pair, T):
    _, ds = SoftTarget(T, 0.5)(*pair, np.zeros(len(pair[0]), int))
    np.testing.assert_allclose(ds.sum(axis=1), 0, atol=1e-14 * T)


@given(pair=pairs, T=st.floats(0.5, 50))
@settings(deadline=None, max_examples=50)
def test_no_entry_of_the_gradient_is_larger_than_t_over_b(pair, T):
    """Because q - p lies between -1 and 1."""
    _, ds = SoftTarget(T, 1.0)(*pair, None)
    assert np.abs(ds).max() <= T / len(ds)


@given(pair=pairs)
@settings(deadline=None, max_examples=50)
def test_a_student_equal_to_its_teacher_has_value_and_gradient_exactly_zero(pair):
    value, ds = SoftTarget(4.0, 1.0)(pair[0], pair[0].copy(), None)
    assert value == 0
    assert not ds.any()


def test_the_loss_is_the_weighted_sum_of_its_terms():
    """[KD-4]"""
    ce, _ = CrossEntropy()(S, None, Y)
    soft, _ = SoftTarget(4.0, 1.0)(S, T_LOGITS, None)
    value, _ = SoftTarget(4.0, 0.3)(S, T_LOGITS, Y)
    assert math.isclose(value, 0.7 * ce + 0.3 * soft, rel_tol=1e-14)


def test_the_gradient_is_the_formula():
    """[KD-5]"""
    T, alpha = 4.0, 0.3
    _, ds = SoftTarget(T, alpha)(S, T_LOGITS, Y)
    q, p = softmax(S, T), softmax(T_LOGITS, T)
    wanted = ((1 - alpha) * (softmax(S) - one_hot(Y)) + alpha * T * (q - p)) / B
    np.testing.assert_allclose(ds, wanted, rtol=1e-13, atol=1e-17)


@pytest.mark.parametrize(("rows", "classes"), [(1, 2), (1, 11), (3, 5)])
def test_the_gradient_agrees_with_finite_differences(rows, classes):
    s, t, y = logits(2, rows, classes), logits(3, rows, classes), np.arange(rows) * 3 % classes
    loss = SoftTarget(2.5, 0.6)
    check_gradient(lambda s: loss(s, t, y)[0], s, loss(s, t, y)[1])


def test_labels_may_be_rows_of_probabilities():
    rows = softmax(logits(4))
    loss = SoftTarget(2.5, 0.6)
    check_gradient(lambda s: loss(s, T_LOGITS, rows)[0], S, loss(S, T_LOGITS, rows)[1])
    assert loss(S, T_LOGITS, one_hot(Y))[0] == loss(S, T_LOGITS, Y)[0]


def test_alpha_0_needs_no_teacher():
    assert SoftTarget(4.0, 0.0)(S, None, Y)[0] == CrossEntropy()(S, None, Y)[0]


def test_both_ends_of_alpha_are_reached_continuously():
    at_0, at_1 = SoftTarget(4.0, 0.0)(S, T_LOGITS, Y), SoftTarget(4.0, 1.0)(S, T_LOGITS, Y)
    near_0, near_1 = SoftTarget(4.0, 1e-9)(S, T_LOGITS, Y), SoftTarget(4.0, 1 - 1e-9)(S, T_LOGITS, Y)
    for end, near in ((at_0, near_0), (at_1, near_1)):
        np.testing.assert_allclose(near[0], end[0], rtol=1e-7)
        np.testing.assert_allclose(near[1], end[1], atol=1e-8)
