# SPDX-License-Identifier: MIT
"""Sums of losses: what they are worth, how they print, and what is no sum."""

import math

import numpy as np
import pytest
from methods import METHODS, T_LOGITS, S, Y

import minidistill
from minidistill import MLP, CrossEntropy, Dataset, LogitMatching, SoftTarget, TopK, TopKTarget, WeightedSum, distill
from minidistill.checks import NotFiniteError
from minidistill.gradcheck import check_gradient

SOFT, LOGITS = SoftTarget(4.0, 1.0), LogitMatching(1.0)


def mean_square(s, t, y, ops=None):
    """A loss of one's own, a plain function."""
    return float((s * s).mean()), 2 * s / s.size


def test_a_sum_is_the_weighted_sum_of_values_and_gradients():
    """[SUM-1]"""
    value, ds = (0.5 * SOFT + 0.1 * LOGITS + CrossEntropy())(S, T_LOGITS, Y)
    parts = [(0.5, SOFT), (0.1, LOGITS), (1.0, CrossEntropy())]
    assert math.isclose(value, sum(w * loss(S, T_LOGITS, Y)[0] for w, loss in parts), rel_tol=1e-15)
    np.testing.assert_allclose(ds, sum(w * loss(S, T_LOGITS, Y)[1] for w, loss in parts), atol=1e-16)
    assert type(value) is float


def test_the_gradient_of_a_sum_of_all_methods_agrees_with_finite_differences():
    total = CrossEntropy() + mean_square
    for k, make in enumerate(METHODS.values()):
        total = total + (0.1 + 0.1 * k) * make()
    assert len(total.losses) == 2 + len(METHODS)
    check_gradient(lambda s: total(s, T_LOGITS, Y)[0], S, total(S, T_LOGITS, Y)[1])


@pytest.mark.parametrize(
    ("total", "text"),
    [
        (SOFT + LOGITS, "SoftTarget(temperature=4.0, alpha=1.0) + LogitMatching(alpha=1.0)"),
        (0.5 * SOFT + LOGITS * 2, "0.5 * SoftTarget(temperature=4.0, alpha=1.0) + 2.0 * LogitMatching(alpha=1.0)"),
        (0.5 * (2 * LOGITS), "LogitMatching(alpha=1.0)"),
        (0.5 * (LOGITS + 3 * LOGITS) + LOGITS,
         "0.5 * LogitMatching(alpha=1.0) + 1.5 * LogitMatching(alpha=1.0) + LogitMatching(alpha=1.0)"),
        (LOGITS + (LOGITS + LOGITS), "LogitMatching(alpha=1.0) + LogitMatching(alpha=1.0) + LogitMatching(alpha=1.0)"),
    ],
)  # fmt: skip
def test_sums_of_sums_are_flat_and_print_as_they_are_written(total, text):
    assert repr(total) == text
    assert not any(isinstance(loss, WeightedSum) for loss in total.losses)
    again = eval(text, {name: getattr(minidistill, name) for name in minidistill.__all__})
    assert again(S, T_LOGITS, Y)[0] == total(S, T_LOGITS, Y)[0]


def test_equal_sums_are_equal_and_can_be_looked_up():
    assert {0.5 * SOFT + LOGITS: 1}[0.5 * SOFT + LOGITS] == 1
    assert 0.5 * SOFT != 0.6 * SOFT


def test_a_numpy_number_is_a_weight():
    assert np.float64(0.5) * SOFT == 0.5 * SOFT == SOFT * np.float32(0.5)


def test_a_function_of_ones_own_is_added_on_either_side():
    for total in (mean_square + SOFT, SOFT + mean_square):
        assert math.isclose(
            total(S, T_LOGITS, Y)[0], mean_square(S, None, None)[0] + SOFT(S, T_LOGITS, Y)[0], rel_tol=1e-15
        )


def test_a_loss_of_weight_0_is_not_computed_and_needs_nothing():
    value, ds = (0 * SOFT + CrossEntropy())(S, None, Y)
    assert value == CrossEntropy()(S, None, Y)[0]
    assert np.array_equal(ds, CrossEntropy()(S, None, Y)[1])
    value, ds = (0 * SOFT)(S, None, None)
    assert value == 0 and not ds.any()


def test_float32_stays_float32():
    _, ds = (np.float64(0.5) * SOFT + 0.1 * LOGITS)(S.astype(np.float32), T_LOGITS, Y)
    assert ds.dtype == np.float32


def test_what_the_losses_refuse_the_sum_refuses():
    total = 0.5 * SOFT + CrossEntropy()
    with pytest.raises(ValueError, match=r"t \(teacher logits\) is missing"):
        total(S, None, Y)
    with pytest.raises(ValueError, match=r"y \(labels\) is missing"):
        total(S, T_LOGITS, None)
    with pytest.raises(NotFiniteError):
        total(np.where(S[2, 3] == S, np.nan, S), T_LOGITS, Y)


def test_a_sum_of_top_k_targets_takes_top_k_targets():
    targets = TopK.of(T_LOGITS, 3, 2.0)
    value, _ = (CrossEntropy() + 2 * TopKTarget(2.0, 1.0))(S, targets, Y)
    wanted = CrossEntropy()(S, None, Y)[0] + 2 * TopKTarget(2.0, 1.0)(S, targets, Y)[0]
    assert math.isclose(value, wanted, rel_tol=1e-15)


@pytest.mark.parametrize("backend", ["numpy", pytest.param("cpu", marks=pytest.mark.compiles)])
def test_a_sum_trains_as_the_loss_that_it_equals(backend):
    random = np.random.default_rng(5)
    data = Dataset(random.standard_normal((40, 6)), np.arange(40) % 4)
    teacher = 2 * random.standard_normal((40, 4)) + 3 * np.eye(4)[data.y]
    parameters = []
    for loss in (SoftTarget(4.0, 0.3), 0.7 * CrossEntropy() + 0.3 * SoftTarget(4.0, 1.0)):
        student = MLP((6, 5, 4), seed=1, dtype=np.float64, backend=backend)
        distill(teacher, student, data, loss, epochs=3, batch_size=8)
        parameters.append(student.parameters)
    np.testing.assert_allclose(*parameters, atol=1e-12)


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf])
def test_a_weight_that_is_negative_or_not_finite_is_refused(bad):
    for make in (lambda: bad * SOFT, lambda: SOFT * bad, lambda: WeightedSum((SOFT,), (bad,))):
        with pytest.raises(ValueError, match=r"the weight of a loss must be in \[0, inf\), got"):
            make()


@pytest.mark.parametrize("bad", ["2", None, True, [2.0], np.ones(2), SOFT])
def test_a_weight_that_is_no_number_is_refused(bad):
    for multiply in (lambda: SOFT * bad, lambda: bad * SOFT):
        with pytest.raises(TypeError, match=r"the weight of a loss must be a number in \[0, inf\), got"):
            multiply()


def test_a_weight_that_overflows_is_refused():
    with pytest.raises(ValueError, match="the weight of a loss must be in"):
        1e200 * (1e200 * SOFT)


@pytest.mark.parametrize("bad", [1, 0.5, "SoftTarget", None])
def test_what_is_no_loss_cannot_be_added(bad):
    for add in (lambda: SOFT + bad, lambda: bad + SOFT):
        with pytest.raises(TypeError, match="unsupported operand|can only concatenate"):
            add()


@pytest.mark.parametrize(
    ("losses", "weights", "error", "said"),
    [
        ((), (), ValueError, "losses must have a weight each, got 0 and 0 weights"),
        ((SOFT, LOGITS), (1.0,), ValueError, "losses must have a weight each, got 2 and 1 weights"),
        ((SOFT, 3), (1.0, 1.0), TypeError, r"losses must be losses, such as CrossEntropy\(\), got 3"),
        (SOFT, 1.0, TypeError, "losses and weights must be tuples, got"),
    ],
)
def test_a_sum_that_is_none_is_refused(losses, weights, error, said):
    with pytest.raises(error, match=said):
        WeightedSum(losses, weights)
