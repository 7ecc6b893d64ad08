# SPDX-License-Identifier: MIT
"""known_formulas.py: a formula is known by its values, and a factor by how it changes with the shape."""

import itertools

import numpy as np
import pytest
from zoo import losses

from minidistill.diagnosis import mistakes
from minidistill.diagnosis.known_formulas import examples, factor_mistakes, recognize, same
from minidistill.ops import log_softmax_forward, softmax_forward

TEMPERATURES = [0.5, 1.0, 4.0, 20.0, 1000.0]
every_temperature = pytest.mark.parametrize("T", TEMPERATURES)


def right(s, t, T):
    return losses.right(s, t, T)[0]


def of(value, T):
    return recognize(lambda s, t: value(s, t, T), T)


@every_temperature
def test_the_right_formula_has_no_mistake(T):
    assert of(right, T) == ()


@every_temperature
@pytest.mark.parametrize("weight", [0.5, 100.0])
def test_a_weight_before_the_right_formula_is_no_mistake(T, weight):
    assert of(lambda s, t, T: weight * right(s, t, T), T) == ()


FACTORS = {
    mistakes.ELEMENT_MEAN: lambda B, C, T: 1 / C,
    mistakes.BATCH_TWICE: lambda B, C, T: 1 / B,
    mistakes.T_SQUARED_MISSING: lambda B, C, T: T**-2,
}


@pytest.mark.parametrize("T", [0.5, 4.0, 20.0])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_factors_are_named_alone_and_together(T, count):
    for some in itertools.combinations(FACTORS, count):

        def value(s, t, T, some=some):
            return right(s, t, T) * np.prod([FACTORS[mistake](*s.shape, T) for mistake in some])

        assert set(of(value, T)) == set(some)


def test_an_element_mean_is_seen_through_the_weight_that_hides_it():
    assert of(lambda s, t, T: 100 * right(s, t, T) / s.shape[1], 4.0) == (mistakes.ELEMENT_MEAN,)


def test_a_sum_over_the_batch_is_named():
    assert of(lambda s, t, T: len(s) * right(s, t, T), 4.0) == (mistakes.SUMMED,)


def test_a_factor_of_a_wrong_formula_is_named_beside_it():
    assert of(lambda s, t, T: right(t, s, T) / T**2, 4.0) == (mistakes.SWAPPED, mistakes.T_SQUARED_MISSING)


def test_one_t_too_few_is_named_too():
    assert of(lambda s, t, T: right(s, t, T) / T, 4.0) == (mistakes.T_SQUARED_MISSING,)


@pytest.mark.parametrize("T", [4.0, 20.0])
def test_a_forgotten_temperature_is_named(T):
    assert of(lambda s, t, T: right(s, t, 1.0), T) == (mistakes.NO_TEMPERATURE,)


@every_temperature
def test_a_cross_entropy_with_the_teacher_is_told_from_the_divergence(T):
    def value(s, t, T):
        return -(T**2) * (softmax_forward(t, T)[0] * log_softmax_forward(s, T)[0]).sum(axis=1).mean()

    assert of(value, T) == (mistakes.WITHOUT_ENTROPY,)


@pytest.mark.parametrize("T", [1.0, 4.0])
@pytest.mark.parametrize("sides", ["s", "t", "st"])
def test_a_second_softmax_is_named_on_either_side_or_both(T, sides):
    def value(s, t, T):
        s, t = (softmax_forward(x)[0] if name in sides else x for name, x in (("s", s), ("t", t)))
        return right(s, t, T)

    assert of(value, T) == (mistakes.SOFTMAX_TWICE,)


@pytest.mark.parametrize("scale", [1.0, 1 / 16])
@pytest.mark.parametrize("beta", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_jensen_shannon_divergence_is_known_whatever_its_beta_with_t_squared_or_without(beta, scale):
    found = of(lambda s, t, T: scale * losses.generalised_jensen_shannon(s, t, T, beta)[0], 4.0)
    assert found == (mistakes.ENDS_VANISH,)


@pytest.mark.parametrize(
    "value",
    [
        lambda s, t, T: 0.0,
        lambda s, t, T: np.nan,
        lambda s, t, T: np.inf,
        lambda s, t, T: np.abs(s - t).mean(),
        lambda s, t, T: right(s, t, T) + 0.001,
        lambda s, t, T: right(s, t, 1.1 * T),
        lambda s, t, T: right(s, t, T) * s.shape[1] ** 0.5,
    ],
)
def test_what_is_none_of_these_is_not_given_a_name(value):
    assert of(value, 4.0) is None


def test_a_factor_of_one_shape_is_named_by_its_size():
    assert factor_mistakes(1 / 7, 5, 7, 4.0) == (mistakes.ELEMENT_MEAN,)
    assert factor_mistakes(0.2, 5, 7, 4.0) == (mistakes.BATCH_TWICE,)
    assert factor_mistakes(5.0, 5, 7, 4.0) == (mistakes.SUMMED,)
    assert factor_mistakes(1 / 16, 5, 7, 4.0) == (mistakes.T_SQUARED_MISSING,)
    assert factor_mistakes(0.25, 5, 7, 4.0) == (mistakes.T_SQUARED_MISSING,)
    assert factor_mistakes(0.3, 5, 7, 4.0) == ()
    assert factor_mistakes(1.0, 1, 7, 1.0) == ()


def test_examples_are_within_their_bounds_and_the_same_each_time():
    s, t = examples(50, 9, seed=0, width=20.0)
    assert s.shape == t.shape == (50, 9)
    assert min(s.min(), t.min()) >= 1
    assert max(s.max(), t.max()) <= 19
    assert np.array_equal(s, examples(50, 9, 0, 20.0)[0])
    assert not np.array_equal(s, t)


def test_nan_is_the_same_as_nothing():
    assert same(1.0, 1.00001)
    assert not same(1.0, 1.001)
    assert not same(np.nan, np.nan)
