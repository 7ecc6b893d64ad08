# SPDX-License-Identifier: MIT
"""The losses: their invariants, and the mistakes that real distillation code has shipped, each caught by an invariant.

An invariant below is a function that takes a loss (`loss(temperature, alpha)(s, t, y)` gives a value and ds, as
SoftTarget does) and says whether the loss has the property that it is named after.
"""

import dataclasses
import math
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from minidistill import ops
from minidistill.diagnosis.gradcheck import GradientError, check_gradient, numerical_gradient
from minidistill.losses import CrossEntropy, SoftTarget, TopK, TopKTarget
from minidistill.support.checks import NotFiniteError

B, C = 5, 7
TEMPERATURES = (1.0, 4.0, 20.0)


def logits(seed, rows=B, classes=C):
    """Logits as a trained network gives them: a few units apart."""
    return 1.5 * np.random.default_rng(seed).standard_normal((rows, classes))


def one_hot(y, classes=C):
    return np.eye(classes)[y]


S, T_LOGITS, Y = logits(0), logits(1), np.array([6, 0, 3, 3, 1])


# ---------------------------------------------------------------------------------------------- the invariants


def close(given, wanted):
    """Equal to 1e-8: the wrong losses below get their gradients from finite differences, which have ten digits."""
    return np.allclose(given, wanted, rtol=1e-8, atol=1e-8)


def is_zero_where_the_student_is_the_teacher(loss):
    return all(close(part, 0) for T in TEMPERATURES for part in loss(T, 1.0)(S, S.copy(), Y))


def ignores_a_constant_added_to_a_row(loss):
    shift = np.array([[3.7], [-20.1], [0.3], [100.0], [-5.5]])
    for T in TEMPERATURES:
        value, ds = loss(T, 1.0)(S, T_LOGITS, Y)
        for s, t in ((S + shift, T_LOGITS), (S, T_LOGITS + shift)):
            shifted_value, shifted_ds = loss(T, 1.0)(s, t, Y)
            if not (close(shifted_value, value) and close(shifted_ds, ds)):
                return False
    return True


def keeps_the_size_of_its_gradient_as_the_temperature_grows(loss):
    """Towards (s - t, centred) / (B C): within 6% at T = 20 and 1.3% at T = 100 for logits of this size."""
    difference = S - T_LOGITS
    limit = (difference - difference.mean(axis=1, keepdims=True)) / (B * C)
    for T, share in ((20.0, 0.06), (100.0, 0.013)):
        _, ds = loss(T, 1.0)(S, T_LOGITS, Y)
        if not np.linalg.norm(ds - limit) <= share * np.linalg.norm(limit):
            return False
    return True


def has_gradient_rows_that_sum_to_zero(loss):
    cases = [(T, alpha) for T in TEMPERATURES for alpha in (0.0, 0.3, 1.0)]
    return all(close(loss(T, alpha)(S, T_LOGITS, Y)[1].sum(axis=1), 0) for T, alpha in cases)


def is_a_mean_over_the_batch(loss):
    """A batch that holds every row twice has the same value, and spreads the same gradient over twice the rows."""
    value, ds = loss(4.0, 0.3)(S, T_LOGITS, Y)
    twice_value, twice_ds = loss(4.0, 0.3)(np.tile(S, (2, 1)), np.tile(T_LOGITS, (2, 1)), np.tile(Y, 2))
    return close(twice_value, value) and close(twice_ds, np.tile(ds / 2, (2, 1)))


def is_finite_for_logits_of_1e4_in_float32(loss):
    s = np.array([[1e4, -1e4, 0], [0, 60, -60], [-1e4, -1e4, -1e4]], np.float32)
    t = np.array([[-1e4, 1e4, 3], [60, -60, 0], [1e4, -1e4, 1e4]], np.float32)
    results = [part for T in TEMPERATURES for part in loss(T, 0.5)(s, t, np.array([2, 0, 1]))]
    return all(np.isfinite(part).all() for part in results)


def is_cross_entropy_to_the_last_bit_at_alpha_0(loss):
    value, ds = loss(4.0, 0.0)(S, T_LOGITS, Y)
    wanted_value, wanted_ds = CrossEntropy()(S, None, Y)
    return value == wanted_value and np.array_equal(ds, wanted_ds)


def ignores_the_labels_at_alpha_1(loss):
    results = [loss(4.0, 1.0)(S, T_LOGITS, y) for y in (None, Y, (Y + 1) % C)]
    return all(value == results[0][0] and np.array_equal(ds, results[0][1]) for value, ds in results)


def has_the_gradient_of_its_value(loss):
    s, t, y = S[:2], T_LOGITS[:2], Y[:2]
    try:
        for rule in (loss(4.0, alpha) for alpha in (0.0, 0.3, 1.0)):
            check_gradient(lambda s, rule=rule: rule(s, t, y)[0], s, rule(s, t, y)[1])
    except GradientError:
        return False
    return True


def takes_a_certain_teacher_for_a_label(loss):
    """KL(p || q) with p one-hot is -log q at its class: the other way round it is not."""
    value, ds = loss(1.0, 1.0)(S, 1000 * one_hot(Y), None)
    wanted_value, wanted_ds = CrossEntropy()(S, None, Y)
    return close(value, wanted_value) and close(ds, wanted_ds)


def pulls_back_a_student_that_is_certain_and_wrong(loss):
    """With p one-hot and the logits 20,000 apart, T^2 KL is 20,000 T, and T (q - p) is T for the wrong class."""
    s, t = np.array([[1e4, -1e4, 0]]), np.array([[-1e4, 1e4, 0]])
    for T in TEMPERATURES:
        value, ds = loss(T, 1.0)(s, t, None)
        if not (close(value / (20_000 * T), 1) and close(ds, [[T, -T, 0]])):
            return False
    return True


INVARIANTS = [
    is_zero_where_the_student_is_the_teacher,
    ignores_a_constant_added_to_a_row,
    keeps_the_size_of_its_gradient_as_the_temperature_grows,
    has_gradient_rows_that_sum_to_zero,
    is_a_mean_over_the_batch,
    is_finite_for_logits_of_1e4_in_float32,
    is_cross_entropy_to_the_last_bit_at_alpha_0,
    ignores_the_labels_at_alpha_1,
    has_the_gradient_of_its_value,
    takes_a_certain_teacher_for_a_label,
    pulls_back_a_student_that_is_certain_and_wrong,
]


def broken_invariants(loss):
    """The names of the invariants that a loss breaks."""
    with np.errstate(all="ignore"):  # a wrong loss may divide by zero; that is what is to be found out
        return {holds.__name__ for holds in INVARIANTS if not holds(loss)}


@pytest.mark.parametrize("holds", INVARIANTS, ids=lambda holds: holds.__name__)
def test_the_soft_target_loss(holds):
    assert holds(SoftTarget)


# ---------------------------------------------------------------------------------------------- mistakes, each caught


def softmax(s, T=1.0):
    return ops.softmax_forward(s, T)[0]


def log_softmax(s, T=1.0):
    return ops.log_softmax_forward(s, T)[0]


def kl(p, log_p, log_q):
    return (p * (log_p - log_q)).sum(axis=1).mean()


def in_place_of_the_teacher_term(wrong):
    """A loss that is right but for its teacher term wrong(s, t, T), whose gradient is that of its value."""

    def loss(temperature, alpha):
        def value_and_gradient(s, t, y):
            if alpha == 0:
                return CrossEntropy()(s, t, y)
            value = alpha * wrong(s, t, temperature)
            double = s.astype(np.float64)
            try:
                ds = alpha * numerical_gradient(lambda s: wrong(s, t.astype(np.float64), temperature), double)
            except ValueError:  # the wrong loss is not finite: no more is its gradient
                ds = np.full_like(double, np.nan)
            if alpha < 1:
                ce, dce = CrossEntropy()(s, t, y)
                value, ds = value + (1 - alpha) * ce, ds + (1 - alpha) * dce
            return value, ds

        return value_and_gradient

    return loss


def test_the_right_teacher_term_breaks_no_invariant_in_this_scaffold():
    """Or the tests below would catch the scaffold and not the mistake."""
    right = in_place_of_the_teacher_term(lambda s, t, T: T**2 * kl(softmax(t, T), log_softmax(t, T), log_softmax(s, T)))
    assert broken_invariants(right) == set()


def test_teacher_and_student_swapped_in_the_divergence_is_caught():
    swapped = in_place_of_the_teacher_term(
        lambda s, t, T: T**2 * kl(softmax(s, T), log_softmax(s, T), log_softmax(t, T))
    )
    assert "takes_a_certain_teacher_for_a_label" in broken_invariants(swapped)


def test_teacher_and_student_swapped_in_the_call_is_caught():
    def swapped(temperature, alpha):
        return lambda s, t, y: SoftTarget(temperature, alpha)(t, s, y)

    broken = broken_invariants(swapped)
    assert "has_the_gradient_of_its_value" in broken
    assert "keeps_the_size_of_its_gradient_as_the_temperature_grows" in broken, "the sign of the gradient is wrong"


def test_t_squared_dropped_is_caught():
    dropped = in_place_of_the_teacher_term(lambda s, t, T: kl(softmax(t, T), log_softmax(t, T), log_softmax(s, T)))
    assert "keeps_the_size_of_its_gradient_as_the_temperature_grows" in broken_invariants(dropped)


def test_mean_over_elements_is_caught():
    """reduction="mean": C times too small."""

    def element_mean(s, t, T):
        return T**2 * (softmax(t, T) * (log_softmax(t, T) - log_softmax(s, T))).mean()

    broken = broken_invariants(in_place_of_the_teacher_term(element_mean))
    assert "takes_a_certain_teacher_for_a_label" in broken
    assert "keeps_the_size_of_its_gradient_as_the_temperature_grows" in broken


def test_double_softmax_is_caught():
    def twice(s, t, T):
        return T**2 * kl(softmax(softmax(t), T), log_softmax(softmax(t), T), log_softmax(softmax(s), T))

    broken = broken_invariants(in_place_of_the_teacher_term(twice))
    assert "takes_a_certain_teacher_for_a_label" in broken
    assert "keeps_the_size_of_its_gradient_as_the_temperature_grows" in broken


def test_divergence_of_raw_logits_without_temperature_is_caught():
    """Logits clipped into the range of probabilities and never softened."""

    def raw(s, t, T):
        s, t = s.clip(1e-7, 1), t.clip(1e-7, 1)
        return (t * np.log(t / s)).sum(axis=1).mean()

    broken = broken_invariants(in_place_of_the_teacher_term(raw))
    assert "ignores_a_constant_added_to_a_row" in broken
    assert "has_gradient_rows_that_sum_to_zero" in broken


def test_temperature_forgotten_is_caught():
    forgotten = in_place_of_the_teacher_term(lambda s, t, T: kl(softmax(t), log_softmax(t), log_softmax(s)))
    assert "keeps_the_size_of_its_gradient_as_the_temperature_grows" in broken_invariants(forgotten)


def test_squared_error_between_softmaxes_is_caught():
    def squared_error(s, t, T):
        return T**2 * ((softmax(s, T) - softmax(t, T)) ** 2).mean()

    broken = broken_invariants(in_place_of_the_teacher_term(squared_error))
    assert "keeps_the_size_of_its_gradient_as_the_temperature_grows" in broken


def test_log_of_softmax_that_underflows_is_caught():
    def underflow(s, t, T):
        return T**2 * kl(softmax(t, T), log_softmax(t, T), np.log(softmax(s, T)))

    broken = broken_invariants(in_place_of_the_teacher_term(underflow))
    assert broken == {"is_finite_for_logits_of_1e4_in_float32", "pulls_back_a_student_that_is_certain_and_wrong"}


def test_probabilities_clipped_at_epsilon_are_caught():
    """It is finite, and its gradient is dead where it is needed most."""

    def clipped(s, t, T):
        q, p = softmax(s, T).clip(1e-7, 1), softmax(t, T).clip(1e-7, 1)
        return T**2 * kl(p, np.log(p), np.log(q))

    broken = broken_invariants(in_place_of_the_teacher_term(clipped))
    assert "is_finite_for_logits_of_1e4_in_float32" not in broken
    assert "pulls_back_a_student_that_is_certain_and_wrong" in broken


def test_probabilities_where_logarithms_are_expected_are_caught():
    not_logs = in_place_of_the_teacher_term(lambda s, t, T: T**2 * kl(softmax(t, T), log_softmax(t, T), softmax(s, T)))
    assert "is_zero_where_the_student_is_the_teacher" in broken_invariants(not_logs)


def test_the_same_logits_on_both_sides_are_caught():
    same = in_place_of_the_teacher_term(lambda s, t, T: T**2 * kl(softmax(t, T), log_softmax(t, T), log_softmax(t, T)))
    assert "keeps_the_size_of_its_gradient_as_the_temperature_grows" in broken_invariants(same)


def test_batch_divided_out_twice_is_caught():
    def twice(temperature, alpha):
        return lambda s, t, y: tuple(part / len(s) for part in SoftTarget(temperature, alpha)(s, t, y))

    assert "is_a_mean_over_the_batch" in broken_invariants(twice)


def test_a_gradient_off_by_the_temperature_is_caught():
    """T^2 in the value and not in the gradient, or the other way round."""

    def off(temperature, alpha):
        def value_and_gradient(s, t, y):
            value, ds = SoftTarget(temperature, alpha)(s, t, y)
            return value, ds / temperature

        return value_and_gradient

    assert "has_the_gradient_of_its_value" in broken_invariants(off)


def test_weights_of_labels_and_teacher_exchanged_are_caught():
    def exchanged(temperature, alpha):
        return lambda s, t, y: SoftTarget(temperature, 1 - alpha)(s, t, np.zeros(len(s), int) if y is None else y)

    broken = broken_invariants(exchanged)
    assert "is_cross_entropy_to_the_last_bit_at_alpha_0" in broken
    assert "ignores_the_labels_at_alpha_1" in broken


# ---------------------------------------------------------------------------------------------- soft targets

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


# ---------------------------------------------------------------------------------------------- cross-entropy


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


# ---------------------------------------------------------------------------------------------- what all losses share

LOSSES = [CrossEntropy(), CrossEntropy(0.1), SoftTarget(4.0, 0.0), SoftTarget(4.0, 0.5), SoftTarget(4.0, 1.0)]


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_the_value_is_a_float_and_the_gradient_has_the_dtype_of_the_logits(loss):
    for dtype in ("float32", "float64"):
        value, ds = loss(S.astype(dtype), T_LOGITS.astype(dtype), Y)
        assert type(value) is float
        assert ds.dtype == dtype
        assert ds.shape == S.shape


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_nothing_that_is_given_is_changed(loss):
    s, t, y = S.copy(), T_LOGITS.copy(), Y.copy()
    loss(s, t, y)
    assert np.array_equal(s, S)
    assert np.array_equal(t, T_LOGITS)
    assert np.array_equal(y, Y)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_the_arithmetic_is_done_by_the_given_backend(loss):
    used = []

    def watched(name):
        return lambda *given: (used.append(name), getattr(ops, name)(*given))[1]

    names = ("cross_entropy_forward", "cross_entropy_backward", "distillation_loss")
    loss(S, T_LOGITS, Y, types.SimpleNamespace(**{name: watched(name) for name in names}))
    alone = getattr(loss, "alpha", 0.0) == 0
    assert used == (["cross_entropy_forward", "cross_entropy_backward"] if alone else ["distillation_loss"])


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_a_loss_cannot_be_changed_once_it_is_made(loss):
    field = dataclasses.fields(loss)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(loss, field, 2.0)


# ---------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("bad", [0, 0.0, -1.0, math.nan, math.inf])
def test_a_temperature_that_is_not_above_0_is_refused(bad):
    with pytest.raises(ValueError, match=r"temperature must be in \[1e-6, 1e6\), got"):
        SoftTarget(temperature=bad)


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan, math.inf])
def test_an_alpha_outside_0_to_1_is_refused(bad):
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\], got"):
        SoftTarget(alpha=bad)


@pytest.mark.parametrize("bad", [-0.1, 1, 1.0, math.nan])
def test_a_label_smoothing_outside_0_to_1_is_refused(bad):
    with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 1\), got"):
        CrossEntropy(label_smoothing=bad)


@pytest.mark.parametrize("bad", ["4", None, True, [4.0], 4j])
def test_settings_that_are_no_numbers_are_refused(bad):
    with pytest.raises(TypeError, match="temperature must be a number in"):
        SoftTarget(temperature=bad)
    with pytest.raises(TypeError, match="alpha must be a number in"):
        SoftTarget(alpha=bad)
    with pytest.raises(TypeError, match="label_smoothing must be a number in"):
        CrossEntropy(label_smoothing=bad)


def test_missing_labels_are_named():
    with pytest.raises(ValueError, match=r"y \(labels\) is missing: cross-entropy needs labels"):
        CrossEntropy()(S, None, None)
    with pytest.raises(ValueError, match=r"y \(labels\) is missing: only alpha=1 learns without labels, alpha is 0\.3"):
        SoftTarget(4.0, 0.3)(S, T_LOGITS, None)


def test_a_missing_teacher_is_named():
    with pytest.raises(ValueError, match=r"t \(teacher logits\) is missing"):
        SoftTarget(4.0, 0.3)(S, None, Y)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_logits_without_rows_are_refused(loss):
    with pytest.raises(ValueError, match=r"s must be logits of shape \(B, C\) with at least one row, got shape \(7,\)"):
        loss(S[0], T_LOGITS[0], Y[:1])


@pytest.mark.parametrize("t", [T_LOGITS[:1], T_LOGITS[:, :1], T_LOGITS[0], T_LOGITS[:-1]])
def test_teacher_logits_of_another_shape_are_refused_where_broadcasting_would_take_some(t):
    with pytest.raises(ValueError, match=r"t must have the shape of s, \(5, 7\), got"):
        SoftTarget()(S, t, Y)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("y", [Y[:, None], one_hot(Y)[:, :-1]])
def test_labels_of_another_shape_are_refused(loss, y):
    with pytest.raises(ValueError, match=r"y must have shape \(5,\) \(labels\) or \(5, 7\) \(probabilities\), got"):
        loss(S, T_LOGITS, y)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize(
    ("y", "said"),
    [
        (Y[:-1], "y must have a label for each of the 5 rows"),
        ([0, 1, 2, 3, -1], r"y must be 0 to 6 \(7 classes\), got -1 at row 4"),  # not the last class
        ([0, 1, 2, 3, 7], r"y must be 0 to 6 \(7 classes\), got 7 at row 4"),
        ([0, 1, 2, 3, 0.5], "y must be whole numbers from 0, got 0.5"),
        (np.full((5, 7), 0.4), "y must have rows of probabilities that sum to 1"),
        (np.full((5, 7), np.nan), "y must have rows of probabilities that sum to 1"),
    ],
)
def test_labels_that_are_none_are_refused(loss, y, said):
    with pytest.raises((ValueError, TypeError), match=said):
        loss(S, T_LOGITS, y)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_an_empty_batch_is_refused(loss):
    with pytest.raises(ValueError, match="at least one row"):
        loss(np.ones((0, 7)), np.ones((0, 7)), np.zeros(0, int))


@pytest.mark.parametrize(
    "loss", [SoftTarget(np.float64(4), np.float64(0.5)), SoftTarget(4, 1), CrossEntropy(np.float64(0.1))], ids=repr
)
def test_float32_stays_float32_whatever_the_settings_teacher_and_rows_are(loss):
    _, ds = loss(S.astype(np.float32), T_LOGITS.astype(np.float64), one_hot(Y))
    assert ds.dtype == np.float32


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_student_logits_that_are_not_finite_are_refused_and_located(loss, bad):
    s = S.copy()
    s[3, 2] = bad
    with (
        np.errstate(invalid="ignore"),  # NumPy's own warning comes first
        pytest.raises(NotFiniteError, match=rf"s \(student logits\) must be finite, got {bad} at row 3, column 2"),
    ):
        loss(s, T_LOGITS, Y)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_teacher_logits_that_are_not_finite_are_refused_and_located(alpha, bad):
    t = T_LOGITS.copy()
    t[3, 2] = bad
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(NotFiniteError, match=rf"t \(teacher logits\) must be finite, got {bad} at row 3, column 2"),
    ):
        SoftTarget(4.0, alpha)(S, t, Y)


# ---------------------------------------------------------------------------------------------- the k likeliest classes


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
