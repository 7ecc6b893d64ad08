# SPDX-License-Identifier: MIT
"""Finite differences against hand-written gradients.

A central difference, (f(x + h) - f(x - h)) / 2h, is wrong by about h^2 |f'''| / 6 from the curve and by eps |f| / h
from rounding. The two are balanced where h is about the cube root of eps, 6e-6 in float64, and leave some ten digits:
enough to hold a gradient to 1e-6, far too few in float32, which is refused. x is taken to be of order 1 or larger.
"""

from collections.abc import Callable

import numpy as np

from .checks import check_finite, check_number

STEP = float(np.finfo(np.float64).eps ** (1 / 3))
SMALLEST_SCALE = 1e-3  # errors are relative to no less than this: where the gradient is 0, rounding is not

Function = Callable[[np.ndarray], float]  # from an array of any shape to a number


class GradientError(AssertionError):
    """A gradient that disagrees with finite differences."""


def numerical_gradient(f: Function, x: np.ndarray) -> np.ndarray:
    """Central differences of f at x, one entry at a time: exact enough, and slow, 2 x.size calls of f."""
    _check_float64(x)
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        direction = np.zeros_like(x)
        direction[index] = 1
        gradient[index] = directional_derivative(f, x, direction)
    return gradient


def directional_derivative(f: Function, x: np.ndarray, direction: np.ndarray) -> float:
    """Central difference of f at x along `direction`, which is as large as x: two calls of f."""
    _check_float64(x)
    direction = np.asarray(direction)
    if direction.shape != x.shape or not direction.any():
        raise ValueError(f"direction must have the shape of x, {x.shape}, and not be zero, got {direction.shape}")
    step = STEP * max(1.0, float(np.abs(x).max())) / float(np.linalg.norm(direction))
    difference = float(f(x + step * direction)) - float(f(x - step * direction))
    if not np.isfinite(difference):
        raise ValueError(f"f must be finite, got {difference} for a difference of two of its values near x")
    return difference / (2 * step)


def check_gradient(f: Function, x: np.ndarray, gradient: np.ndarray, tolerance: float = 1e-6) -> float:
    """The largest error of `gradient`, df/dx at x, relative to its largest entry; GradientError above `tolerance`.

    Every entry is checked; where x has thousands, `check_direction` takes two calls of f instead of 2 x.size.
    """
    gradient = _checked(x, gradient, tolerance)
    expected = numerical_gradient(f, x)
    scale = max(np.abs(expected).max(), np.abs(gradient).max(), SMALLEST_SCALE)
    errors = np.abs(gradient - expected) / scale
    worst = np.unravel_index(errors.argmax(), errors.shape)
    place = tuple(int(i) for i in worst)
    return _judge(float(errors[worst]), tolerance, f"at {place}", float(gradient[worst]), float(expected[worst]))


def check_direction(f: Function, x: np.ndarray, gradient: np.ndarray, seed: int = 0, tolerance: float = 1e-6) -> float:
    """The relative error of `gradient` along one random direction; GradientError above `tolerance`."""
    gradient = _checked(x, gradient, tolerance)
    direction = np.random.default_rng(seed).standard_normal(x.shape)
    expected = directional_derivative(f, x, direction)
    given = float((gradient * direction).sum())
    scale = max(float(np.linalg.norm(gradient)) * float(np.linalg.norm(direction)) / np.sqrt(x.size), abs(expected))
    error = abs(given - expected) / max(scale, SMALLEST_SCALE)
    return _judge(error, tolerance, f"along the direction of seed {seed}", given, expected)


def _judge(error: float, tolerance: float, where: str, given: float, expected: float) -> float:
    if not error <= tolerance:
        raise GradientError(
            f"the gradient {where} is {given:.8g}, finite differences give {expected:.8g}: "
            f"relative error {error:.1e}, tolerance {tolerance:.1e}{_likely_reason(given, expected)}"
        )
    return error


def _likely_reason(given: float, expected: float) -> str:
    """A word on the commonest slips."""
    if given == 0 or expected == 0:
        return ""
    ratio = given / expected
    if abs(ratio + 1) < 1e-4:
        return "; the sign is wrong"
    return f"; it is {ratio:.4g} times what it should be" if abs(ratio - 1) > 1e-3 else ""


def _checked(x: np.ndarray, gradient: np.ndarray, tolerance: float) -> np.ndarray:
    check_number("tolerance", tolerance, "(0, inf)", 0)
    _check_float64(x)
    gradient = np.asarray(gradient)
    if gradient.shape != x.shape:
        raise ValueError(f"gradient must have the shape of x, {x.shape}, got {gradient.shape}")
    check_finite("gradient", gradient)
    return gradient


def _check_float64(x: np.ndarray) -> None:
    if not isinstance(x, np.ndarray) or x.dtype != np.float64:
        raise TypeError(f"x must be a float64 array: finite differences need its digits, got {getattr(x, 'dtype', x)}")
    if x.size == 0:
        raise ValueError("x is empty: there is no gradient to check")
