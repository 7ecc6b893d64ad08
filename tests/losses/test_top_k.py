# SPDX-License-Identifier: MIT
"""Soft targets of which the k likeliest classes are kept."""

import math

import numpy as np
import pytest
from methods import T_LOGITS, S, Y

from minidistill.diagnosis.gradcheck import check_gradient
from minidistill.losses import TopK, TopKTarget


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_the_gradient_of_top_k_targets_agrees_with_finite_differences(alpha):
    targets, loss = TopK.of(T_LOGITS, 3, 2.0), TopKTarget(2.0, alpha)
    check_gradient(lambda s: loss(s, targets, Y)[0], S, loss(S, targets, Y)[1])


def test_top_k_keeps_the_likeliest_classes():
    targets = TopK.of(T_LOGITS, 3, 2.0)
    likeliest = np.sort(np.argsort(-T_LOGITS, axis=1)[:, :3], axis=1)
    np.testing.assert_array_equal(np.sort(targets.indices, axis=1), likeliest)
    assert (np.exp(targets.log_p).sum(axis=1) < 1).all()
    assert len(targets[np.array([1, 1, 0])]) == 3


def test_top_k_targets_of_a_match_are_zero():
    value, ds = TopKTarget(2.0, 1.0)(S, TopK.of(S, 3, 2.0), None)
    assert abs(value) < 1e-12
    assert np.abs(ds).max() < 1e-12


HALF = np.log(np.full((2, 2), 0.5))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"indices": [[0, 1], [2, -1]]}, "got -1 at row 1, column 1: a row cannot be padded"),
        ({"indices": [[0, -100], [2, 1]]}, "indices must be classes from 0, got -100 at row 0, column 1"),
        ({"indices": [[0, 1], [2, 2]]}, "indices must name a class of a row once, got 2 twice in row 1"),
        ({"indices": np.ones((2, 2))}, "indices must be whole numbers, got an array of dtype float64"),
        ({"indices": np.eye(2) > 0}, "indices must be whole numbers, got an array of dtype bool"),
        ({"indices": [0, 1]}, r"indices must have shape \(N, k\), k classes for each row, got \(2,\)"),
        ({"indices": np.zeros((2, 0), int)}, r"indices must have shape \(N, k\)"),
        ({"log_p": HALF[:1]}, r"log_p must be \(2, 2\) floats, got \(1, 2\) float64"),
        ({"log_p": HALF.astype(int)}, "log_p must be .* floats, got .* int64"),
        ({"log_p": np.exp(HALF)}, "log_p must be logarithms of probabilities that sum to at most 1, got 0.5"),
        ({"log_p": HALF / 2}, "sum to at most 1, got probabilities that sum to 1.41421"),
        ({"log_p": [[-1, -np.inf], [-1, -1]]}, "log_p must be finite, got -inf at row 0, column 1"),
        ({"log_p": [[-1, np.nan], [-1, -1]]}, "log_p must be finite, got nan"),
        ({"temperature": 0}, "temperature must be in"),
        ({"temperature": 2000.0, "log_p": HALF.astype(np.float32)}, "log_p must be float64 above temperature 1000"),
    ],
)  # fmt: skip
def test_top_k_of_what_is_no_class_or_probability_is_refused(change, said):
    right = {"indices": np.array([[0, 1], [2, 1]]), "log_p": HALF, "temperature": 2.0}
    assert len(TopK(**right)) == 2
    with pytest.raises((ValueError, TypeError), match=said):
        TopK(**right | change)


@pytest.mark.parametrize("T", [1.0, 100.0, 1e4, 9e5])
def test_top_k_targets_in_float32_are_right_at_every_temperature(T):
    exact, slope = TopKTarget(T, 1.0)(S, TopK.of(T_LOGITS, 3, T), None)
    value, ds = TopKTarget(T, 1.0)(S.astype(np.float32), TopK.of(T_LOGITS.astype(np.float32), 3, T), None)
    assert ds.dtype == np.float32
    assert math.isclose(value, exact, rel_tol=1e-5)
    np.testing.assert_allclose(ds, slope, atol=1e-4 * np.abs(slope).max())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: TopKTarget(2.0)(S, TopK([[7]] * 5, [[-1.0]] * 5, 2.0), Y), "t must name fewer than all 7 classes"),
        (lambda: TopKTarget(2.0)(S[:, :3], TopK.of(T_LOGITS, 3, 2.0), Y % 3), "t must name fewer than all 3 classes"),
        (lambda: TopKTarget(2.0)(S[:, :3], TopK([[0, 1, 2]] * 5, np.log([[1 / 3] * 3] * 5), 2.0), Y % 3),
         "t must name fewer than all 3 classes"),
        (lambda: TopK.of(T_LOGITS, 7, 1.0), "k must be below the 7 classes, got 7"),
        (lambda: TopK.of(T_LOGITS, 0, 1.0), "k must be at least 1, got 0"),
        (lambda: TopKTarget(2.0)(S, TopK.of(T_LOGITS, 3, 1.0), Y), "t was softened at temperature 1, the loss has 2"),
        (lambda: TopKTarget(2.0)(S, T_LOGITS, Y), "t must be a TopK of 5 rows, got ndarray"),
        (lambda: TopKTarget(2.0)(S, TopK.of(T_LOGITS[:4], 3, 2.0), Y), "t must be a TopK of 5 rows"),
        (lambda: TopKTarget(2.0, 0.5)(S, TopK.of(T_LOGITS, 3, 2.0), None), r"y \(labels\) is missing"),
    ],
)  # fmt: skip
def test_top_k_targets_that_do_not_fit_are_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
