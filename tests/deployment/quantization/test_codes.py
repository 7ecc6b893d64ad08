# SPDX-License-Identifier: MIT
"""Codes of activations and of weights, and rounding to them."""

import numpy as np
import pytest

from minidistill.deployment.quantization import Grid, fake_quantize_backward, fake_quantize_forward
from minidistill.deployment.quantization.codes import (
    LARGEST,
    TOP,
    pack_nibbles,
    requantized,
    unit_scales,
    unpack_nibbles,
    weight_codes,
)

RANDOM = np.random.default_rng(0)

# ---------------------------------------------------------------------------------------------- activations


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (-0.3, 2), (-5, -1), (2, 3), (-1e-3, 1e6), (0, 0)])
def test_a_grid_has_zero_on_it_and_is_within_half_a_step_of_all_in_its_range(low, high):
    """[Q-1]"""
    grid = Grid.over(low, high)
    assert 0 <= grid.zero <= LARGEST
    assert grid.values(np.array([grid.zero]))[0] == 0
    x = np.linspace(min(low, 0), max(high, 0), 1001)
    codes = requantized(x / grid.scale, grid.zero)
    steps = np.abs(grid.scale * (codes.astype(float) - grid.zero) - x) / grid.scale
    inside = (x >= grid.scale * grid.limits[0]) & (x <= grid.scale * grid.limits[1])
    assert steps[inside].max() < 0.5 + 1e-6
    assert steps.max() < 1.0  # the zero point is rounded too: one end may lie half a step further out


def test_bytes_of_an_image_are_their_own_codes():
    pixels = (np.arange(256) / 255).astype(np.float32)
    grid = Grid.over(0.0, 1.0)
    np.testing.assert_array_equal(requantized(pixels * np.float32(1 / grid.scale), grid.zero), np.arange(256))


def test_rounding_puts_numbers_on_the_grid_and_clips_beyond_it():
    """[Q-2]"""
    x = np.array([-9.0, -0.74, -0.26, 0.0, 0.25, 0.75, 1.2, 9.0])
    y, inside = fake_quantize_forward(x, 0.5, -2, 3)
    np.testing.assert_array_equal(y, [-1.0, -0.5, -0.5, 0.0, 0.0, 1.0, 1.0, 1.5])
    np.testing.assert_array_equal(inside, [False, True, True, True, True, True, True, False])
    again, _ = fake_quantize_forward(y, 0.5, -2, 3)
    np.testing.assert_array_equal(again, y)


def test_the_straight_through_gradient_is_that_of_the_function_with_what_rounding_added_held_fast():
    """[Q-3]"""
    x = RANDOM.standard_normal(200) * 3
    y, inside = fake_quantize_forward(x, 0.1, -17, 12)
    added = np.where(inside, y - x, 0)

    def surrogate(x):
        return np.clip(x + added, -1.7, 1.2)

    step, dy = 1e-6, RANDOM.standard_normal(200)
    slope = (surrogate(x + step) - surrogate(x - step)) / (2 * step)
    away_from_the_ends = np.abs(np.abs(y) - np.where(y > 0, 1.2, 1.7)) > 0.05
    np.testing.assert_allclose((dy * slope)[away_from_the_ends], fake_quantize_backward(dy, inside)[away_from_the_ends],
                               rtol=1e-6, atol=1e-9)  # fmt: skip


# ---------------------------------------------------------------------------------------------- weights


@pytest.mark.parametrize("bits", TOP)
def test_each_unit_has_a_scale_of_its_own(bits):
    """[Q-4]: a unit a hundred times as large does not make the steps of the others coarse."""
    W = RANDOM.standard_normal((40, 7))
    W[:, 2] *= 100
    found = weight_codes(W, bits)
    assert found.codes.dtype == np.int8 and found.units.dtype == np.uint8
    assert np.abs(found.codes).max() == TOP[bits]
    steps = found.scale * found.units
    error = np.abs(found.codes * steps - W)
    assert (error[found.inside] <= 0.5001 * np.broadcast_to(steps, W.shape)[found.inside]).all()
    assert found.units[2] == LARGEST
    wanted = unit_scales(W, TOP[bits])
    assert (steps >= wanted * (1 - 1e-12)).all()
    assert (steps <= wanted + found.scale).all()
    if bits == 8:
        assert found.inside.all()


def test_weights_of_4_bits_are_clipped_where_that_makes_the_error_less():
    """[Q-5], against looking for it in small steps."""
    W = RANDOM.standard_t(3, (300, 6))
    scales = unit_scales(W, 7)

    def error(scales):
        return np.square(fake_quantize_forward(W, scales, -7, 7)[0] - W).sum(axis=0)

    full = np.abs(W).max(axis=0) / 7
    assert (error(scales) < 0.9 * error(full)).all()
    best = np.min([error(full * shrink) for shrink in np.linspace(0.3, 1, 400)], axis=0)
    assert (error(scales) <= 1.03 * best).all()


@pytest.mark.parametrize("rows", [1, 2, 7, 8])
def test_two_codes_of_4_bits_share_a_byte(rows):
    """[Q-6]"""
    codes = RANDOM.integers(-8, 8, (rows, 5)).astype(np.int8)
    packed = pack_nibbles(codes)
    assert packed.dtype == np.uint8 and packed.shape == ((rows + 1) // 2, 5)
    np.testing.assert_array_equal(unpack_nibbles(packed, rows), codes)


def test_a_layer_of_zeros_and_a_unit_of_zeros_have_codes():
    assert not weight_codes(np.zeros((4, 3)), 8).codes.any()
    W = RANDOM.standard_normal((4, 3))
    W[:, 1] = 0
    assert not weight_codes(W, 4).codes[:, 1].any()
