# SPDX-License-Identifier: MIT
"""gradcheck.py: it finds what is wrong, says where and how, and accepts what is right."""

import re

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from minidistill.diagnosis.gradcheck import (
    GradientError,
    check_direction,
    check_gradient,
    directional_derivative,
    numerical_gradient,
)
from minidistill.losses import SoftTarget

CHECKS = [check_gradient, check_direction]
either_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)


def f(x):
    """sum of exp(x / 3) sin(weights x): a curve without symmetry."""
    return (np.exp(x / 3) * np.sin(weights(x) * x)).sum()


def slope(x):
    w = weights(x)
    return np.exp(x / 3) * (np.sin(w * x) / 3 + w * np.cos(w * x))


def weights(x):
    return 0.5 + np.arange(x.size).reshape(x.shape) % 7 / 10


def awkward(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


# ---------------------------------------------------------------------------------------------- what is right


@either_check
@given(shape=st.lists(st.integers(1, 5), max_size=3).map(tuple), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=40)
def test_a_right_gradient_of_any_shape_is_accepted(check, shape, seed):
    x = np.array(awkward(*shape, seed=seed))
    assert check(f, x, np.array(slope(x))) < 1e-6


@either_check
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_a_right_gradient_is_accepted_far_from_and_near_to_zero(check, size):
    x = size * awkward(3, 4)
    check(lambda x: (x**3 + x).sum(), x, 3 * x**2 + 1)


@either_check
@pytest.mark.parametrize("scale", [1e-3, 1e12])
def test_the_error_is_relative_to_the_size_of_the_gradient(check, scale):
    x = awkward(3, 4)
    check(lambda x: scale * f(x), x, scale * slope(x))
    with pytest.raises(GradientError):
        check(lambda x: scale * f(x), x, 1.001 * scale * slope(x))


@either_check
def test_zeros_are_accepted_for_a_constant(check):
    assert check(lambda x: 3.7, awkward(3, 4), np.zeros((3, 4))) == 0


@either_check
def test_the_zero_gradient_of_a_student_that_matches_its_teacher_is_accepted(check):
    x = awkward(3, 4)
    check(lambda s: SoftTarget(4.0, 1.0)(s, x, None)[0], x.copy(), np.zeros_like(x))


@pytest.mark.parametrize("direction", [np.ones((3, 2)), np.zeros((3, 4))])
def test_a_direction_that_is_none_is_refused(direction):
    with pytest.raises(ValueError, match="direction must have the shape of x"):
        directional_derivative(f, awkward(3, 4), direction)


def test_the_numerical_gradient_has_nine_digits():
    x = awkward(3, 4)
    np.testing.assert_allclose(numerical_gradient(f, x), slope(x), rtol=1e-8, atol=1e-9)


def test_the_directional_derivative_is_the_gradient_along_the_direction_whatever_its_length():
    x, direction = awkward(3, 4), awkward(3, 4, seed=1)
    for length in (1e-6, 1.0, 1e6):
        expected = length * (slope(x) * direction).sum()
        assert np.isclose(directional_derivative(f, x, length * direction), expected, rtol=1e-8)


def test_x_is_left_as_it_was():
    x = awkward(3, 4)
    check_gradient(f, x, slope(x))
    check_direction(f, x, slope(x))
    assert np.array_equal(x, awkward(3, 4))


def test_a_direction_takes_two_calls_where_the_full_check_takes_two_for_each_entry():
    calls = []
    x = awkward(3, 4)
    check_direction(lambda x: calls.append(0) or f(x), x, slope(x))
    assert len(calls) == 2
    check_gradient(lambda x: calls.append(0) or f(x), x, slope(x))
    assert len(calls) == 2 + 2 * 12


# ---------------------------------------------------------------------------------------------- what is wrong


@either_check
@pytest.mark.parametrize("factor", [0.5, 2.0, 1.00001, 0.99999, 1 / 64])
def test_a_wrong_factor_is_found(check, factor):
    x = awkward(3, 4)
    with pytest.raises(GradientError):
        check(f, x, factor * slope(x))


@either_check
def test_a_wrong_factor_is_named(check):
    x = awkward(3, 4)
    with pytest.raises(GradientError, match=r"; it is 4 times what it should be"):
        check(f, x, 4 * slope(x))


@either_check
def test_a_wrong_sign_is_found_and_named(check):
    x = awkward(3, 4)
    with pytest.raises(GradientError, match=r"; the sign is wrong$"):
        check(f, x, -slope(x))


@either_check
def test_zeros_are_not_accepted_for_a_function_that_has_a_slope(check):
    x = awkward(3, 4)
    with pytest.raises(GradientError, match=r"is 0, finite differences give .*relative error"):
        check(f, x, np.zeros_like(x))
    with pytest.raises(GradientError):
        check(lambda x: 1e-3 * f(x), x, np.zeros_like(x))


@either_check
def test_a_slope_is_not_accepted_for_a_constant(check):
    with pytest.raises(GradientError):
        check(lambda x: 3.7, awkward(3, 4), np.full((3, 4), 1e-8))


@either_check
@pytest.mark.parametrize("index", [(0, 0), (1, 2), (2, 3)])
def test_one_wrong_entry_is_found(check, index):
    x = awkward(3, 4)
    wrong = slope(x)
    wrong[index] += 1e-4
    with pytest.raises(GradientError):
        check(f, x, wrong)


def test_the_place_of_the_wrong_entry_and_both_numbers_are_named():
    x, wrong = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[2.0, 4.0], [7.0, 8.0]])
    with pytest.raises(GradientError, match=re.escape("the gradient at (1, 0) is 7, finite differences give 6: ")):
        check_gradient(lambda x: (x**2).sum(), x, wrong)


def test_the_seed_of_the_direction_is_named():
    x = awkward(3, 4)
    with pytest.raises(GradientError, match="the gradient along the direction of seed 5 is"):
        check_direction(f, x, 2 * slope(x), seed=5)


@either_check
def test_a_transposed_gradient_is_found(check):
    x = awkward(4, 4)
    with pytest.raises(GradientError):
        check(f, x, slope(x).T)


@either_check
def test_a_function_that_gives_nan_is_found(check):
    with pytest.raises(ValueError, match="must be finite, got nan"):
        check(lambda x: np.nan, awkward(3, 4), np.ones((3, 4)))


@either_check
def test_the_tolerance_decides(check):
    x = awkward(3, 4)
    error = check(f, x, 1.01 * slope(x), tolerance=0.1)
    assert 1e-4 < error < 0.1
    with pytest.raises(GradientError, match=r"tolerance 1\.0e-04"):
        check(f, x, 1.01 * slope(x), tolerance=1e-4)


def test_a_gradient_error_is_an_assertion_error():
    """So that a test that calls a check fails as an assert does."""
    assert issubclass(GradientError, AssertionError)


# ---------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("bad", [np.ones(3, np.float32), np.ones(3, int), [1.0, 2.0], 1.0])
def test_all_but_float64_arrays_are_refused(bad):
    for call in (
        lambda: check_gradient(f, bad, np.ones(3)),
        lambda: check_direction(f, bad, np.ones(3)),
        lambda: numerical_gradient(f, bad),
        lambda: directional_derivative(f, bad, np.ones(3)),
    ):
        with pytest.raises(TypeError, match=r"x must be a float64 array: finite differences need its digits, got"):
            call()


@either_check
def test_an_empty_x_is_refused(check):
    with pytest.raises(ValueError, match="x is empty"):
        check(f, np.zeros((0, 3)), np.zeros((0, 3)))


@either_check
@pytest.mark.parametrize("shape", [(4, 3), (12,), (1, 4), (3, 1), ()])
def test_a_gradient_of_another_shape_is_refused_where_broadcasting_would_take_some(check, shape):
    with pytest.raises(ValueError, match=r"gradient must have the shape of x, \(3, 4\), got"):
        check(f, awkward(3, 4), np.ones(shape))


@either_check
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_is_refused(check, bad):
    gradient = np.ones((3, 4))
    gradient[1, 2] = bad
    with pytest.raises(ValueError, match=f"gradient must be finite, got {bad} at row 1, column 2"):
        check(f, awkward(3, 4), gradient)


@either_check
@pytest.mark.parametrize("bad", [0, -1e-6, np.nan])
def test_a_tolerance_that_is_not_above_0_is_refused(check, bad):
    with pytest.raises(ValueError, match=r"tolerance must be in \(0, inf\), got"):
        check(f, awkward(3, 4), np.ones((3, 4)), tolerance=bad)


# ---------------------------------------------------------------------------------------------- float32

EPS_OF_FLOAT32 = np.finfo(np.float32).eps


def in_float32(x):
    """f as JAX computes it, on logits rounded to float32."""
    x = x.astype(np.float32)
    return (np.exp(x / 3) * np.sin(weights(x).astype(np.float32) * x)).sum(dtype=np.float32)


@either_check
def test_a_function_that_computes_in_float32_is_checked_to_three_digits(check):
    x = awkward(3, 4)
    assert check(in_float32, x, slope(x), eps=EPS_OF_FLOAT32) < 1e-3
    with pytest.raises(GradientError, match=r"tolerance 9\.7e-04"):
        check(in_float32, x, 1.005 * slope(x), eps=EPS_OF_FLOAT32)
    with pytest.raises(GradientError, match=r"tolerance 1\.0e-06"):
        check(in_float32, x, slope(x))


@either_check
def test_a_tolerance_that_is_given_holds_whatever_the_rounding_errors_are(check):
    x = awkward(3, 4)
    with pytest.raises(GradientError, match=r"tolerance 1\.0e-02"):
        check(f, x, 1.02 * slope(x), tolerance=0.01)
    check(f, x, 1.005 * slope(x), tolerance=0.01)


@either_check
@pytest.mark.parametrize("bad", [0, 1, np.nan])
def test_rounding_errors_out_of_bounds_are_refused(check, bad):
    with pytest.raises(ValueError, match=r"eps must be in \(0, 1\), got"):
        check(f, awkward(3, 4), np.ones((3, 4)), eps=bad)
