# SPDX-License-Identifier: MIT
"""Mistakes that real distillation code has shipped, each caught by an invariant of the soft-target loss.

An invariant below is a function that takes a loss (`loss(temperature, alpha)(s, t, y)` gives a value and ds, as
SoftTarget does) and says whether the loss has the property that it is named after.
"""

import numpy as np
import pytest
from methods import T_LOGITS, B, C, S, Y, log_softmax, one_hot, softmax

from minidistill.diagnosis.gradcheck import GradientError, check_gradient, numerical_gradient
from minidistill.losses import CrossEntropy, SoftTarget

TEMPERATURES = (1.0, 4.0, 20.0)

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
