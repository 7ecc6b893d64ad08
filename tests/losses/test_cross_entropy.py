# SPDX-License-Identifier: MIT
"""Cross-entropy with labels, plain and smoothed."""

import math

import numpy as np
import pytest
from methods import B, C, S, Y, log_softmax, logits, one_hot, softmax

from minidistill import ops
from minidistill.diagnosis.gradcheck import check_gradient
from minidistill.losses import CrossEntropy


def test_cross_entropy_does_not_look_at_the_teacher():
    value, ds = CrossEntropy()(S, None, Y)
    same_value, same_ds = CrossEntropy()(S, np.full_like(S, np.nan), Y)
    assert same_value == value
    assert np.array_equal(same_ds, ds)


def test_uniform_logits_cost_the_logarithm_of_the_number_of_classes():
    """[CE-1]"""
    assert math.isclose(CrossEntropy()(np.full((B, C), 3.3), None, Y)[0], math.log(C), rel_tol=1e-14)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.9])
def test_the_cross_entropy_gradient_agrees_with_finite_differences(label_smoothing):
    """[CE-2] [CE-3]"""
    loss = CrossEntropy(label_smoothing)
    for y in (Y, softmax(logits(4))):
        check_gradient(lambda s, y=y: loss(s, None, y)[0], S, loss(S, None, y)[1])


def test_label_smoothing_spreads_its_share_over_all_classes():
    """[CE-3]"""
    value, _ = CrossEntropy(0.2)(S, None, Y)
    log_q = log_softmax(S).tolist()
    total = sum((0.8 * (c == Y[n]) + 0.2 / C) * log_q[n][c] for n in range(B) for c in range(C))
    assert math.isclose(value, -total / B, rel_tol=1e-13)


def test_the_smoothed_loss_is_least_where_the_student_gives_the_smoothed_targets():
    """[CE-3]"""
    targets = 0.8 * one_hot(Y) + 0.2 / C
    _, ds = CrossEntropy(0.2)(np.log(targets), None, Y)
    np.testing.assert_allclose(ds, 0, atol=1e-15)


def test_smoothing_treats_labels_and_their_one_hot_rows_alike():
    assert CrossEntropy(0.2)(S, None, Y)[0] == CrossEntropy(0.2)(S, None, one_hot(Y))[0]


def test_label_smoothing_of_0_is_cross_entropy_to_the_last_bit():
    value, ds = CrossEntropy(0.0)(S, None, Y)
    wanted, cache = ops.cross_entropy_forward(S, Y)
    assert value == wanted
    assert np.array_equal(ds, ops.cross_entropy_backward(cache))
