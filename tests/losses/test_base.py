# SPDX-License-Identifier: MIT
"""Sums of losses: what they are worth, how they print, and what is no sum."""

import math
import re

import numpy as np
import pytest
from methods import METHODS, T_LOGITS, S, Y

import minidistill
from minidistill import (
    MLP,
    CrossEntropy,
    Dataset,
    Hint,
    LogitMatching,
    SoftTarget,
    TopK,
    TopKTarget,
    WeightedSum,
    check_loss,
    distill,
    fit,
    mutual_learning,
)
from minidistill.diagnosis.gradcheck import check_gradient
from minidistill.network import Outputs
from minidistill.support.checks import NotFiniteError

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
        ((SOFT, 3), (1.0, 1.0), TypeError, r"each of losses must be a loss, such as CrossEntropy\(\), got 3"),
        (SOFT, 1.0, TypeError, "losses and weights must be tuples, got"),
    ],
)
def test_a_sum_that_is_none_is_refused(losses, weights, error, said):
    with pytest.raises(error, match=said):
        WeightedSum(losses, weights)


# ---------------------------------------------------------------------------------------------- what is no loss

DATA = Dataset(np.random.default_rng(3).standard_normal((40, 6)), np.arange(40) % 4)


def network():
    return MLP((6, 5, 4), seed=1)


@pytest.mark.parametrize(
    "use",
    [
        lambda: fit(network(), DATA, SoftTarget),
        lambda: distill(network(), network(), DATA, SoftTarget),
        lambda: mutual_learning([MLP((6, 5, 4), seed=seed) for seed in (0, 1)], DATA, SoftTarget),
        lambda: check_loss(SoftTarget),
        lambda: check_loss(SOFT, same_as=SoftTarget),
        lambda: 0.5 * SoftTarget,
        lambda: SoftTarget * 0.5,
        lambda: np.float64(0.5) * SoftTarget,
        lambda: SoftTarget + LOGITS,
        lambda: LOGITS + SoftTarget,
        lambda: WeightedSum((SoftTarget,), (1.0,)),
    ],
)
def test_the_class_of_a_loss_is_refused_and_the_error_names_the_instance(use):
    with pytest.raises(TypeError, match=r"must be a loss, got the class SoftTarget: write SoftTarget\(\)"):
        use()


def test_the_class_of_a_loss_of_hidden_activations_is_refused_too():
    with pytest.raises(TypeError, match=r"loss must be a loss, got the class Hint: write Hint\(\)"):
        distill(network(), network(), DATA, Hint)


WRONG_RETURNS = {
    "None": lambda s: None,
    "1.5": lambda s: 1.5,
    "an array of shape (8, 4)": lambda s: s,
    "a tuple of 3": lambda s: (1.5, s, s),
    "None and an array of shape (8, 4)": lambda s: (None, s),
    "1.5 and None": lambda s: (1.5, None),
    "'1.5' and an array of shape (8, 4)": lambda s: ("1.5", s),
    "1.5 and an array of shape (4,)": lambda s: (1.5, s[0]),
    "1.5 and an array of shape (8, 1)": lambda s: (1.5, s[:, :1]),
    "1.5 and a list of 8": lambda s: (1.5, s.tolist()),
    "an array of shape (8,) and an array of shape (8, 4)": lambda s: (s[:, 0], s),
    "an array of shape (8, 4) and 1.5": lambda s: (s, 1.5),
    "complex and an array of shape (8, 4)": lambda s: (1j, s),
    "1.5 and Outputs": lambda s: (1.5, Outputs(s, [])),
}


def with_a_peer(network, *rest, **settings):
    return mutual_learning([network, MLP((6, 4))], *rest, **settings)


@pytest.mark.parametrize("got", WRONG_RETURNS)
@pytest.mark.parametrize("train", [fit, with_a_peer])
@pytest.mark.parametrize("beside", [False, True])
def test_the_values_that_a_loss_returns_are_checked(got, train, beside):
    def wrong(s, t, y, ops):
        return WRONG_RETURNS[got](s)

    said = f"loss must return its value, a number, and ds, an array of shape (8, 4); wrong returned {got}"
    with pytest.raises(TypeError, match=re.escape(said) + "$"):
        train(network(), DATA, wrong + CrossEntropy() if beside else wrong, batch_size=8, epochs=1)


def test_a_loss_of_hidden_activations_must_return_outputs():
    class Wrong(Hint):
        def __call__(self, s, t, y=None, ops=None):
            return 1.5, s.logits

    with pytest.raises(TypeError, match=r"ds, Outputs with logits of shape \(8, 4\); .* returned 1.5 and an array"):
        distill(network(), network(), DATA, Wrong(), batch_size=8)


@pytest.mark.parametrize("value", [1.5, np.float32(1.5), np.array(1.5), 2])
def test_every_kind_of_number_is_a_value(value):
    history = fit(network(), DATA, lambda s, t, y, ops: (value, np.zeros_like(s)), epochs=1)
    assert history.column("loss")[0] == float(value)
    assert type(history.epochs[0].loss) is float


# ---------------------------------------------------------------------------------------------- what are no logits

OF_LOGITS = {
    "CrossEntropy": CrossEntropy(),
    "SoftTarget": SoftTarget(),
    "LogitMatching": LogitMatching(),
    "a sum": 0.5 * SoftTarget() + CrossEntropy(),
}
every_loss = pytest.mark.parametrize("loss", OF_LOGITS.values(), ids=OF_LOGITS)


@every_loss
@pytest.mark.parametrize("form", [np.ndarray.tolist, lambda x: tuple(map(tuple, x.tolist()))])
def test_nested_lists_are_logits(loss, form):
    value, ds = loss(form(S), form(T_LOGITS), Y.tolist())
    wanted_value, wanted_ds = loss(S, T_LOGITS, Y)
    assert value == wanted_value
    assert np.array_equal(ds, wanted_ds)


@every_loss
@pytest.mark.parametrize(
    ("bad", "error", "said"),
    [
        (np.array(1.0), ValueError, r"s must be logits of shape \(B, C\) with at least one row, got shape \(\)"),
        (1.0, ValueError, r"s must be logits of shape \(B, C\) with at least one row, got shape \(\)"),
        (None, TypeError, "s must be an array of logits, got NoneType"),
        ([[1.0, 2.0], [3.0]], ValueError, "s must be an array of logits, got rows of different lengths"),
        (S.astype(str), TypeError, "s must be an array of logits, got dtype <U"),
        (S.astype(object), TypeError, "s must be an array of logits, got dtype object"),
        (S + 0j, TypeError, "s must be an array of logits, got dtype complex128"),
    ],
)
def test_invalid_student_logits_are_refused(loss, bad, error, said):
    with pytest.raises(error, match=said):
        loss(bad, T_LOGITS, Y)


@pytest.mark.parametrize(
    ("bad", "error", "said"),
    [
        (np.array(1.0), ValueError, r"t must have the shape of s, \(5, 7\), got \(\)"),
        (1.0, TypeError, "t must be an array of logits, got float"),
        ([[1.0, 2.0], [3.0]], ValueError, "t must be an array of logits, got rows of different lengths"),
        (S.astype(str), TypeError, "t must be an array of logits, got dtype <U"),
        (S + 0j, TypeError, "t must be an array of logits, got dtype complex128"),
    ],
)
def test_invalid_teacher_logits_are_refused(bad, error, said):
    with pytest.raises(error, match=said):
        SoftTarget()(S, bad, Y)


@pytest.mark.parametrize(
    ("bad", "error", "said"),
    [
        (np.array(1), ValueError, r"y must have shape \(5,\) \(labels\) or \(5, 7\) \(probabilities\), got \(\)"),
        (1, ValueError, r"y must have shape \(5,\) \(labels\) or \(5, 7\) \(probabilities\), got \(\)"),
        (["a"] * 5, TypeError, "y must be labels, or rows of probabilities, got list"),
        (S.astype(str), TypeError, "y must be labels, or rows of probabilities, got dtype <U"),
        ([[1.0], [0.5, 0.5]], ValueError, "y must be labels, or rows of probabilities, got rows of different lengths"),
    ],
)
def test_invalid_labels_are_refused(bad, error, said):
    with pytest.raises(error, match=said):
        SoftTarget()(S, T_LOGITS, bad)


def test_booleans_are_logits_of_0_and_1():
    assert SoftTarget()(S > 0, T_LOGITS, Y)[0] == SoftTarget()((S > 0).astype(float), T_LOGITS, Y)[0]


# ---------------------------------------------------------------------------------------------- losses of one's own


@pytest.mark.parametrize("attribute", ["needs_hidden", "wants_hidden", "learners", "start", "at_progress", "compiled"])
def test_a_callable_with_an_attribute_of_losses_must_be_a_loss(attribute):
    """As a plain function it would be called with logits, not started and not annealed, without a word."""
    own = type("Own", (), {"__call__": lambda self, s, t, y, ops=None: (0.0, 0 * s), attribute: True})()
    with pytest.raises(TypeError, match=f"loss has {attribute}, which only a .*: make Own a subclass of it"):
        fit(MLP((2, 3)), minidistill.spirals(30), own, epochs=1)


def test_the_old_name_of_needs_hidden_is_read_with_a_warning_and_refused_in_a_subclass():
    with pytest.warns(DeprecationWarning, match="wants_hidden is renamed to needs_hidden"):
        assert Hint().wants_hidden
    with pytest.raises(TypeError, match="rename it in Own"):
        type("Own", (minidistill.losses.Loss,), {"wants_hidden": True})
