# SPDX-License-Identifier: MIT
"""Drift made on purpose is the drift that its name says, and nothing else."""

import numpy as np
import pytest

from minidistill.experiments.drift import noisy, rotated


@pytest.fixture
def images():
    """Five of 6x6 pixels."""
    return np.random.default_rng(0).random((5, 36), dtype=np.float32)


@pytest.mark.parametrize("quarters", [-1, 0, 1, 2])
def test_quarters_of_a_turn_are_exact(images, quarters):
    turned = rotated(images, 90 * quarters)
    wanted = np.rot90(images.reshape(-1, 6, 6), quarters, axes=(1, 2)).reshape(-1, 36)
    np.testing.assert_allclose(turned, wanted, atol=1e-6)
    assert turned.dtype == np.float32


@pytest.mark.parametrize("degrees", [15, 45, -30])
@pytest.mark.parametrize("side", [11, 12])
def test_a_slope_is_turned_by_the_angle(degrees, side):
    """Means of neighbours are exact on a slope; near the rim, where it ends, they are not."""
    row, column = np.mgrid[0:side, 0:side] - (side - 1) / 2
    angle = np.deg2rad(degrees)
    inside = np.hypot(row, column) < side / 2 - 1
    turned = rotated(row.reshape(1, -1), degrees).reshape(side, side)
    np.testing.assert_allclose(turned[inside], (np.cos(angle) * row + np.sin(angle) * column)[inside], atol=1e-12)


def test_what_comes_in_from_outside_is_empty():
    corner = rotated(np.ones((1, 64)), 45).reshape(8, 8)[0, 0]
    assert corner == 0


def test_noise_has_the_spread_that_was_asked_for_and_comes_again_with_its_seed(images):
    noise = noisy(np.zeros((100, 100), np.float32), 0.3)
    assert noise.std() == pytest.approx(0.3, rel=0.03)
    assert noise.dtype == np.float32
    np.testing.assert_array_equal(noisy(images, 0.3, seed=4), noisy(images, 0.3, seed=4))
    assert (noisy(images, 0.3, seed=4) != noisy(images, 0.3, seed=5)).any()
    np.testing.assert_array_equal(noisy(images, 0), images)


def test_bad_input_is_refused(images):
    with pytest.raises(ValueError, match="x must hold square images, got 35 columns"):
        rotated(images[:, 1:], 15)
    with pytest.raises(ValueError, match="degrees must be in"):
        rotated(images, np.nan)
    with pytest.raises(ValueError, match="spread must be in"):
        noisy(images, -0.1)
