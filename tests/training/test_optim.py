# SPDX-License-Identifier: MIT
"""Optimizers and schedules: values by hand, what is clipped before a step and what is held after it, bad settings."""

import dataclasses
import math

import numpy as np
import pytest

from minidistill import MLP, SGD, Adam, AdamW, ConstantSchedule, CosineSchedule, LinearSchedule, StepSchedule, WarmUp
from minidistill.support.checks import LIMITS, SHARES
from minidistill.support.intervals import bounds_of

SCHEDULES = (ConstantSchedule, CosineSchedule, LinearSchedule, StepSchedule)

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


# ---------------------------------------------------------------------------------------------- settings and state


@pytest.mark.parametrize(
    "settings", [SGD(), Adam(), AdamW(), WarmUp(StepSchedule(1)), *(schedule(1) for schedule in SCHEDULES)]
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
    steps(SGD(max_weight_norm=0.7), network, 1, rate=0.9)
    norms = np.concatenate([np.linalg.norm(W, axis=0) for W in network.weights])  # a unit each
    assert norms.max() <= 0.7 * (1 + 1e-15)
    assert norms.max() > 0.7 * (1 - 1e-12)  # held, not shrunk further


def test_units_below_the_norm_and_all_biases_are_what_the_step_made_them(network):
    free = network.copy()
    free.gradients[:] = network.gradients
    network.weights[0][:, 2] *= 0.01
    free.weights[0][:, 2] *= 0.01
    network.weight_gradients[0][:, 2] = free.weight_gradients[0][:, 2] = 0.01
    steps(SGD(max_weight_norm=0.7), network, 1)
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
        (lambda: SGD(max_weight_norm=1e39), ValueError, r"max_weight_norm must be in \[1e-37, 1e38\], got 1e\+39"),
        (lambda: SGD(clip_norm=1e-46), ValueError, r"clip_norm must be in \[1e-37, 1e38\], got 1e-46"),
        (lambda: SGD(momentum=0.99999999), ValueError, r"momentum must be in \[0, 0.9999999\], got 0.99999999"),
        (lambda: Adam(beta2=0.99999998), ValueError, r"beta2 must be in \[0, 0.9999999\], got 0.99999998"),
        (lambda: Adam(max_weight_norm=-1), ValueError, r"max_weight_norm must be in \[1e-37, 1e38\], got -1"),
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
    sgd = SGD(clip_norm=1e38, max_weight_norm=1e38, momentum=0.9999999)
    for optimizer in (sgd, Adam(beta1=0.9999999, beta2=0.9999999)):
        steps(optimizer, network, 3)
        assert np.isfinite(network.parameters).all()


def test_the_old_name_of_max_weight_norm_still_works():
    with pytest.warns(DeprecationWarning, match="the argument max_norm is renamed to max_weight_norm"):
        optimizer = Adam(0.1, max_norm=2.0)
    assert optimizer == Adam(0.1, max_weight_norm=2.0)
    with pytest.warns(DeprecationWarning, match="max_norm is renamed to max_weight_norm"):
        assert optimizer.max_norm == 2.0


def test_a_kernel_is_for_exactly_the_optimizers_that_name_their_rule():
    class Own(SGD):
        pass

    assert [optimizer.compiled()["rule"] for optimizer in (SGD(), Adam(), AdamW())] == ["sgd", "adam", "adam"]
    assert Own().compiled() is None
    assert SGD().compiled().items() >= {"clip_norm": 0.0, "max_norm": 0.0}.items()  # none
    assert SGD(clip_norm=2.0, max_weight_norm=3.0).compiled() == {
        "rule": "sgd", "momentum": 0.9, "nesterov": False, "weight_decay": 0.0, "clip_norm": 2.0, "max_norm": 3.0,
    }  # fmt: skip
