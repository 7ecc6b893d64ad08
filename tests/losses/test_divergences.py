# SPDX-License-Identifier: MIT
"""The divergences: their definitions, their limits, their size, and how many digits they have."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from methods import T_LOGITS, B, C, S, Y

from minidistill import JensenShannon, ReverseKL, SkewKL, SkewReverseKL, SoftTarget, TotalVariation, check_gradient
from minidistill.losses.divergences import Divergence, log_mixture
from minidistill.ops import softmax_forward

T = 3.0
P, Q = softmax_forward(T_LOGITS, T)[0], softmax_forward(S, T)[0]
BETAS = (0.0, 1e-30, 1e-12, 1e-6, 0.01, 0.3, 0.5, 0.9, 1 - 1e-6, 1 - 1e-12, 1.0)


def kl(p, q):
    return (p * np.log(p / q)).sum(axis=1).mean()


def jensen_shannon(beta):
    m = beta * P + (1 - beta) * Q
    return beta * kl(P, m) + (1 - beta) * kl(Q, m)


DEFINITIONS = [
    (ReverseKL(T, 1.0), T**2 * kl(Q, P)),  # [DIV-1]
    (SkewKL(T, 1.0, skew=0.3), T**2 * kl(P, 0.3 * P + 0.7 * Q)),  # [DIV-2]
    (SkewReverseKL(T, 1.0, skew=0.3), T**2 * kl(Q, 0.7 * P + 0.3 * Q)),  # [DIV-3]
    (0.3 * 0.7 * JensenShannon(T, 1.0, beta=0.3), T**2 * jensen_shannon(0.3)),  # [DIV-4]
    (0.25 * JensenShannon(T, 1.0), T**2 * jensen_shannon(0.5)),  # [DIV-4]
    (TotalVariation(T, 1.0), T * np.abs(P - Q).sum() / 2 / B),  # [DIV-5]
]


@pytest.mark.parametrize(("loss", "wanted"), DEFINITIONS, ids=lambda part: repr(part) if callable(part) else "")
def test_the_value_is_the_definition(loss, wanted):
    assert math.isclose(loss(S, T_LOGITS, None)[0], wanted, rel_tol=1e-12)


@pytest.mark.parametrize(
    ("special", "loss"),
    [
        (SkewKL(T, 1.0, skew=0.0), SoftTarget(T, 1.0)),
        (JensenShannon(T, 1.0, beta=0.0), SoftTarget(T, 1.0)),
        (SkewReverseKL(T, 1.0, skew=0.0), ReverseKL(T, 1.0)),
        (JensenShannon(T, 1.0, beta=1.0), ReverseKL(T, 1.0)),
    ],
    ids=repr,
)
def test_the_ends_of_the_families_are_the_two_kls(special, loss):
    value, ds = special(S, T_LOGITS, None)
    wanted_value, wanted_ds = loss(S, T_LOGITS, None)
    assert math.isclose(value, wanted_value, rel_tol=1e-13)
    np.testing.assert_allclose(ds, wanted_ds, atol=1e-15)


@pytest.mark.parametrize("distance", [1e-3, 1e-6, 1e-9, 1e-12, 1e-16])
def test_jensen_shannon_reaches_its_ends_without_a_jump(distance):
    """As it is usually written it is 0 there, or jumps to a KL at 0 and 1 alone."""
    for end, near in ((0.0, distance), (1.0, 1 - distance)):
        value, ds = JensenShannon(T, 1.0, beta=near)(S, T_LOGITS, None)
        wanted_value, wanted_ds = JensenShannon(T, 1.0, beta=end)(S, T_LOGITS, None)
        assert abs(value - wanted_value) < 3 * distance + 1e-13
        assert np.abs(ds - wanted_ds).max() < 3 * distance + 1e-14
        assert wanted_value > 0.1


def test_jensen_shannon_exchanges_student_and_teacher_with_beta():
    for beta in (0.0, 0.2, 0.5, 1.0):
        one, _ = JensenShannon(T, 1.0, beta=beta)(S, T_LOGITS, None)
        other, _ = JensenShannon(T, 1.0, beta=1 - beta)(T_LOGITS, S, None)
        assert math.isclose(one, other, rel_tol=1e-12)


def test_jensen_shannon_at_a_half_is_bounded_by_four_times_log_2():
    s, t = np.array([[1e4, -1e4]]), np.array([[-1e4, 1e4]])
    assert math.isclose(JensenShannon(1.0, 1.0)(s, t, None)[0], 4 * math.log(2), rel_tol=1e-12)


@pytest.mark.parametrize(
    ("loss", "factor"),
    [
        *[(lambda T, beta=beta: JensenShannon(T, 1.0, beta=beta), 1.0) for beta in BETAS],
        (lambda T: ReverseKL(T, 1.0), 1.0),
        (lambda T: SkewKL(T, 1.0, skew=0.1), 0.81),
        (lambda T: SkewReverseKL(T, 1.0, skew=0.3), 0.49),
    ],
)
def test_the_gradient_keeps_its_size_as_the_temperature_grows(loss, factor):
    """Towards that of soft targets, (s - t centred) / (B C), times a factor that the skew explains."""
    difference = S - T_LOGITS
    limit = factor * (difference - difference.mean(axis=1, keepdims=True)) / (B * C)
    for temperature in (1e2, 1e3):
        _, ds = loss(temperature)(S, T_LOGITS, None)
        assert np.linalg.norm(ds - limit) < 3 / temperature * np.linalg.norm(limit)


def test_that_of_total_variation_does_so_with_t_and_not_with_t_squared():
    """Half of the sign of the difference, centred, over B C."""
    centred = [x - x.mean(axis=1, keepdims=True) for x in (S, T_LOGITS)]
    signs = np.sign(centred[0] - centred[1]) / 2
    limit = (signs - signs.mean(axis=1, keepdims=True)) / (B * C)
    for temperature in (1e3, 1e4):
        _, ds = TotalVariation(temperature, 1.0)(S, T_LOGITS, None)
        assert np.linalg.norm(ds - limit) < 5 / temperature * np.linalg.norm(limit)


def test_total_variation_takes_the_subgradient_0_at_a_tie():
    """q is (1/3, 0, 1/3, 1/3) and p (0, 1/3, 1/3, 1/3): they agree on the last two classes."""
    s, t = np.array([[0, -1e4, 0, 0]]), np.array([[-1e4, 0, 0, 0]])
    value, ds = TotalVariation(1.0, 1.0)(s, t, None)
    g = np.array([[1 / 6, 0, 0, 0]])
    assert math.isclose(value, 1 / 3, rel_tol=1e-15)
    np.testing.assert_allclose(ds, g - np.array([[1 / 3, 0, 1 / 3, 1 / 3]]) / 6, atol=1e-16)


def test_the_reverse_kl_keeps_to_one_mode_where_the_forward_kl_spreads():
    """Two modes, a student that has one of them: the reverse hardly minds, the forward does."""
    t = np.log([[0.495, 0.495, 0.01]])
    one_mode, spread = np.log([[0.985, 0.005, 0.01]]), np.log([[0.34, 0.33, 0.33]])
    reverse, forward = ReverseKL(1.0, 1.0), SoftTarget(1.0, 1.0)
    assert reverse(one_mode, t, None)[0] < reverse(spread, t, None)[0]
    assert forward(one_mode, t, None)[0] > forward(spread, t, None)[0]


def test_a_skew_bounds_what_a_kl_does_not():
    s, t = np.array([[1e4, -1e4]]), np.array([[-1e4, 1e4]])
    for skewed in (SkewKL(1.0, 1.0, skew=0.1), SkewReverseKL(1.0, 1.0, skew=0.1)):
        assert math.isclose(skewed(s, t, None)[0], math.log(10), rel_tol=1e-12)
    assert ReverseKL(1.0, 1.0)(s, t, None)[0] == SoftTarget(1.0, 1.0)(s, t, None)[0] == 2e4


@pytest.mark.parametrize("beta", BETAS)
def test_the_gradient_agrees_with_finite_differences_for_every_beta(beta):
    loss = JensenShannon(2.0, 1.0, beta=beta)
    check_gradient(lambda s: loss(s, T_LOGITS, None)[0], S, loss(S, T_LOGITS, None)[1])


@pytest.mark.parametrize("skew", [0.0, 1e-12, 0.1, 0.9, 0.999])
@pytest.mark.parametrize("family", [SkewKL, SkewReverseKL])
def test_the_gradient_agrees_with_finite_differences_for_every_skew(family, skew):
    loss = family(2.0, 1.0, skew=skew)
    check_gradient(lambda s: loss(s, T_LOGITS, None)[0], S, loss(S, T_LOGITS, None)[1])


@pytest.mark.parametrize("beta", BETAS)
def test_jensen_shannon_has_its_digits_in_float32(beta):
    loss = JensenShannon(2.0, 1.0, beta=beta)
    wanted_value, wanted_ds = loss(S, T_LOGITS, None)
    value, ds = loss(S.astype(np.float32), T_LOGITS.astype(np.float32), None)
    assert math.isclose(value, wanted_value, rel_tol=1e-5)
    np.testing.assert_allclose(ds, wanted_ds, atol=1e-6)


@given(r=st.floats(-30, 30), share=st.floats(1e-3, 0.999))
@settings(deadline=None, max_examples=200)
def test_the_logarithm_of_a_mixture(r, share):
    wanted = math.log1p(share * math.expm1(r))
    assert math.isclose(float(log_mixture(np.array(r), share)), wanted, rel_tol=1e-9, abs_tol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_logarithm_of_a_mixture_has_its_limits(dtype):
    r = np.array([-2e4, -1e-6, 0, 1e-6, 2e4], dtype)
    found = log_mixture(r, 0.25)
    np.testing.assert_allclose(found, [math.log(0.75), -2.5e-7, 0, 2.5e-7, 2e4 + math.log(0.25)], rtol=2e-6)
    assert found.dtype == dtype
    assert np.array_equal(log_mixture(r, 1), r)
    assert not log_mixture(r, 0).any()


def test_a_divergence_of_ones_own_is_a_few_lines():
    class SquaredError(Divergence):
        def of(self, log_p, log_q):
            q = np.exp(log_q)
            difference = q - np.exp(log_p)
            return difference**2, 2 * difference * q

    loss = SquaredError(2.0, 0.5)
    check_gradient(lambda s: loss(s, T_LOGITS, Y)[0], S, loss(S, T_LOGITS, Y)[1])
