# SPDX-License-Identifier: MIT
"""Optimizers and schedules: values by hand, what is clipped before a step and what is held after it, bad settings."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistill import MLP, SGD, Adam, AdamW, Constant, Cosine, Linear, Step, WarmUp
from minidistill.support.checks import LIMITS, SHARES
from minidistill.support.intervals import bounds_of

OPTIMIZERS = [SGD(), SGD(nesterov=True), SGD(momentum=0.0, weight_decay=0.1), Adam(), AdamW()]


@pytest.fixture
def network():
    """A float64 network with a gradient, neither of them zero anywhere."""
    network = MLP((3, 5, 4), dtype=np.float64, seed=1)
    random = np.random.default_rng(2)
    network.parameters[:] = random.standard_normal(network.num_parameters)
    network.gradients[:] = random.standard_normal(network.num_parameters)
    return network


def steps(optimizer, network, n, rate=0.1):
    state = optimizer.initial_state(network.parameters)
    for step in range(1, n + 1):
        optimizer.update(network, state, rate, step)
    return state


# ---------------------------------------------------------------------------------------------- schedules


def test_constant_stays():
    assert [Constant(0.3)(progress) for progress in (0.0, 0.5, 0.99)] == [0.3, 0.3, 0.3]


def test_linear_goes_from_rate_to_final_along_a_line():
    assert [Linear(8, 2)(progress) for progress in (0.0, 0.25, 0.5, 1.0)] == [8, 6.5, 5, 2]
    assert [Linear(0, 1)(progress) for progress in (0.0, 0.25, 1.0)] == [0, 0.25, 1]


@pytest.mark.parametrize(
    ("progress", "rate"), [(0.0, 8.0), (0.49, 8.0), (0.5, 2.0), (0.74, 2.0), (0.75, 0.5), (0.999, 0.5)]
)
def test_step_falls_by_its_factor_at_each_share(progress, rate):
    assert Step(8.0, at=(0.5, 0.75), factor=0.25)(progress) == rate


@pytest.mark.parametrize(("progress", "share"), [(0.0, 1.0), (1 / 3, 0.75), (0.5, 0.5), (2 / 3, 0.25), (1.0, 0.0)])
def test_cosine_goes_from_rate_to_final_along_half_a_cosine(progress, share):
    assert Cosine(0.9, final=0.1)(progress) == pytest.approx(0.1 + 0.8 * share, rel=1e-12)


@pytest.mark.parametrize(("progress", "rate"), [(0.0, 0.0), (0.1, 0.4), (0.15, 0.6), (0.2, 0.8), (0.6, 0.4), (1, 0)])
def test_warm_up_rises_straight_and_then_begins_the_other_schedule(progress, rate):
    assert WarmUp(Cosine(0.8), share=0.2)(progress) == pytest.approx(rate, abs=1e-12)


def test_warm_up_of_no_length_is_the_other_schedule():
    for progress in (0.0, 0.3, 0.9):
        assert WarmUp(Cosine(0.8), share=0)(progress) == Cosine(0.8)(progress)


@given(st.floats(0, 1, exclude_max=True))
@settings(deadline=None, max_examples=50)
def test_no_schedule_leaves_its_bounds(progress):
    rates = (Constant(0.5), Linear(0.5), Step(0.5), Cosine(0.5), WarmUp(Cosine(0.5)), WarmUp(Step(0.5), share=0.9))
    for schedule in rates:
        assert 0 <= schedule(progress) <= 0.5 * (1 + 1e-12)  # rounding of the cosine's sum


def test_an_optimizer_takes_a_number_a_schedule_or_any_function():
    assert SGD(0.2).rate(0.7) == 0.2
    assert SGD(Cosine(0.2)).rate(0.5) == pytest.approx(0.1)
    assert Adam(lambda progress: 1 - progress).rate(0.25) == 0.75


# ---------------------------------------------------------------------------------------------- settings and state


@pytest.mark.parametrize(
    "settings", [SGD(), Adam(), AdamW(), Constant(1), Linear(1), Step(1), Cosine(1), WarmUp(Step(1))]
)
def test_settings_are_frozen(settings):
    field = dataclasses.fields(settings)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(settings, field, 1.0)


@pytest.mark.parametrize(("optimizer", "rows"), [(SGD(), 1), (Adam(), 2), (AdamW(), 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_initial_state_is_zeros_in_the_dtype_of_the_parameters(optimizer, rows, dtype):
    state = optimizer.initial_state(np.ones(7, dtype))
    assert state.shape == (rows, 7)
    assert state.dtype == dtype
    assert not state.any()


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_one_optimizer_serves_two_networks_and_nothing_leaks(optimizer, network):
    twin = network.copy()
    twin.gradients[:] = network.gradients
    steps(optimizer, network, 3)
    steps(optimizer, twin, 3)
    np.testing.assert_array_equal(network.parameters, twin.parameters)


# ---------------------------------------------------------------------------------------------- one step by hand


def test_sgd_without_momentum_goes_against_the_gradient(network):
    w, g = network.parameters.copy(), network.gradients.copy()
    steps(SGD(momentum=0.0), network, 1, rate=0.3)
    np.testing.assert_allclose(network.parameters, w - 0.3 * g, rtol=1e-14)


def test_momentum_adds_up_the_past(network):
    w, g = network.parameters.copy(), network.gradients.copy()
    state = steps(SGD(momentum=0.5), network, 3, rate=0.3)
    np.testing.assert_allclose(state[0], (1 + 0.5 + 0.25) * g, rtol=1e-14)
    np.testing.assert_allclose(network.parameters, w - 0.3 * (1 + 1.5 + 1.75) * g, rtol=1e-12)


def test_nesterov_looks_ahead_by_one_momentum(network):
    w, g = network.parameters.copy(), network.gradients.copy()
    steps(SGD(momentum=0.5, nesterov=True), network, 1, rate=0.3)
    np.testing.assert_allclose(network.parameters, w - 0.3 * 1.5 * g, rtol=1e-14)


def test_the_weight_decay_of_sgd_joins_the_gradient(network):
    w, g = network.parameters.copy(), network.gradients.copy()
    steps(SGD(momentum=0.0, weight_decay=0.1), network, 1, rate=0.3)
    np.testing.assert_allclose(network.parameters, w - 0.3 * (g + 0.1 * w), rtol=1e-13)


def test_the_first_step_of_adam_has_the_length_of_the_rate_whatever_the_gradient(network):
    w, g = network.parameters.copy(), network.gradients
    steps(Adam(epsilon=1e-300), network, 1, rate=0.3)
    np.testing.assert_allclose(network.parameters, w - 0.3 * np.sign(g), rtol=1e-12)


def test_under_a_steady_gradient_every_step_of_adam_has_that_length(network):
    w, g = network.parameters.copy(), network.gradients
    steps(Adam(epsilon=1e-300), network, 5, rate=0.3)
    np.testing.assert_allclose(network.parameters, w - 5 * 0.3 * np.sign(g), rtol=1e-12)


def test_the_weight_decay_of_adamw_is_apart_from_the_gradient(network):
    twin = network.copy()
    twin.gradients[:] = network.gradients
    w = network.parameters.copy()
    steps(AdamW(weight_decay=0.1), network, 1, rate=0.3)
    steps(Adam(), twin, 1, rate=0.3)
    np.testing.assert_allclose(twin.parameters - network.parameters, 0.3 * 0.1 * w, rtol=1e-12, atol=1e-15)


def test_adamw_decays_by_itself_and_adam_does_not():
    assert (Adam().weight_decay, AdamW().weight_decay) == (0.0, 0.01)
    assert isinstance(AdamW(), Adam)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_step_in_float32_stays_in_float32(optimizer):
    network = MLP((3, 5, 4))
    network.gradients[:] = 0.1
    state = steps(optimizer, network, 2)
    assert (network.parameters.dtype, network.gradients.dtype, state.dtype) == (np.float32,) * 3


# ---------------------------------------------------------------------------------------------- clip and hold


def test_a_long_gradient_is_shortened_before_the_step(network):
    w, g = network.parameters.copy(), network.gradients.copy()
    length = math.sqrt((g * g).sum())
    assert length > 2
    steps(SGD(momentum=0.0, clip_norm=2.0), network, 1, rate=0.3)
    np.testing.assert_allclose(network.parameters, w - 0.3 * g * 2 / length, rtol=1e-13)


def test_a_short_gradient_is_left_as_it_is(network):
    g = network.gradients.copy()
    steps(SGD(clip_norm=1e3), network, 1)
    np.testing.assert_array_equal(network.gradients, g)


def test_incoming_weights_are_held_to_their_norm_after_the_step(network):
    steps(SGD(max_norm=0.7), network, 1, rate=0.9)
    norms = np.concatenate([np.linalg.norm(W, axis=0) for W in network.weights])  # a unit each
    assert norms.max() <= 0.7 * (1 + 1e-15)
    assert norms.max() > 0.7 * (1 - 1e-12)  # held, not shrunk further


def test_units_below_the_norm_and_all_biases_are_what_the_step_made_them(network):
    free = network.copy()
    free.gradients[:] = network.gradients
    network.weights[0][:, 2] *= 0.01
    free.weights[0][:, 2] *= 0.01
    network.weight_gradients[0][:, 2] = free.weight_gradients[0][:, 2] = 0.01
    steps(SGD(max_norm=0.7), network, 1)
    steps(SGD(), free, 1)
    np.testing.assert_array_equal(network.weights[0][:, 2], free.weights[0][:, 2])
    for held, unheld in zip(network.biases, free.biases, strict=True):
        np.testing.assert_array_equal(held, unheld)


# ---------------------------------------------------------------------------------------------- bad settings


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SGD(0.0), ValueError, r"learning_rate must be in \(0, inf\), got 0.0"),
        (lambda: SGD(-0.1), ValueError, "learning_rate must be in"),
        (lambda: SGD(math.nan), ValueError, "learning_rate must be in"),
        (lambda: Adam(math.inf), ValueError, "learning_rate must be in"),
        (lambda: SGD("0.1"), TypeError, "learning_rate must be a number.*'0.1'"),
        (lambda: SGD(None), TypeError, "learning_rate must be a number"),
        (lambda: SGD(momentum=1.0), ValueError, r"momentum must be in \[0, 0.9999999\], got 1.0"),
        (lambda: SGD(momentum=-0.1), ValueError, "momentum must be in"),
        (lambda: SGD(weight_decay=-1), ValueError, r"weight_decay must be in \[0, inf\), got -1"),
        (lambda: SGD(clip_norm=0), ValueError, r"clip_norm must be in \[1e-37, 1e38\], got 0"),
        (lambda: SGD(clip_norm=1e39), ValueError, r"clip_norm must be in \[1e-37, 1e38\], got 1e\+39"),
        (lambda: SGD(max_norm=1e39), ValueError, r"max_norm must be in \[1e-37, 1e38\], got 1e\+39"),
        (lambda: SGD(clip_norm=1e-46), ValueError, r"clip_norm must be in \[1e-37, 1e38\], got 1e-46"),
        (lambda: SGD(momentum=0.99999999), ValueError, r"momentum must be in \[0, 0.9999999\], got 0.99999999"),
        (lambda: Adam(beta2=0.99999998), ValueError, r"beta2 must be in \[0, 0.9999999\], got 0.99999998"),
        (lambda: Adam(max_norm=-1), ValueError, r"max_norm must be in \[1e-37, 1e38\], got -1"),
        (lambda: Adam(beta1=1.0), ValueError, r"beta1 must be in \[0, 0.9999999\], got 1.0"),
        (lambda: AdamW(beta2=-0.1), ValueError, r"beta2 must be in \[0, 0.9999999\]"),
        (lambda: Adam(epsilon=0), ValueError, r"epsilon must be in \(0, inf\)"),
        (lambda: AdamW(weight_decay=math.nan), ValueError, "weight_decay must be in"),
    ],
)
def test_bad_settings_are_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_the_outermost_limits_and_shares_are_what_they_say_in_float32():
    for low, high in map(bounds_of, (LIMITS, SHARES)):
        assert np.float32(low) >= 0 and np.isfinite(np.float32(high))
    assert np.float32(bounds_of(LIMITS)[0]) > 0 and np.float32(bounds_of(SHARES)[1]) < 1
    network = MLP((3, 4, 2))
    network.gradients[:] = 1
    for optimizer in (SGD(clip_norm=1e38, max_norm=1e38, momentum=0.9999999), Adam(beta1=0.9999999, beta2=0.9999999)):
        steps(optimizer, network, 3)
        assert np.isfinite(network.parameters).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Constant(-0.1),
        lambda: Linear(1, -0.1),
        lambda: Step(math.nan),
        lambda: Cosine("fast"),
        lambda: WarmUp(0.1),
        lambda: WarmUp(Constant(0.1), share=1.5),
    ],
    ids=["negative rate", "negative end", "NaN rate", "text", "a number instead of a schedule", "share above 1"],
)
def test_bad_schedules_are_refused_where_they_are_made(make):
    with pytest.raises((TypeError, ValueError), match="must be"):
        make()


@pytest.mark.parametrize("at", [[0.5, 0.75], np.array([0.5, 0.75]), iter((0.5, 0.75))])
def test_the_shares_of_a_step_may_be_any_sequence_and_are_kept_as_numbers(at):
    assert Step(8.0, at=at) == Step(8.0, at=(0.5, 0.75))


@pytest.mark.parametrize("at", [0.5, None, np.array(0.5), "0.5"])
def test_shares_of_a_step_that_are_no_sequence_are_refused(at):
    with pytest.raises(TypeError, match=r"at must be a sequence of numbers in \[0, 1\], such as \(0.5, 0.75\), got "):
        Step(8.0, at=at)


@pytest.mark.parametrize(("at", "error"), [((0.5, 1.5), ValueError), ((0.5, "a"), TypeError), ([[0.5]], TypeError)])
def test_a_share_of_a_step_out_of_range_is_refused(at, error):
    with pytest.raises(error, match=r"each share in at must be .*in \[0, 1\], got"):
        Step(8.0, at=at)
