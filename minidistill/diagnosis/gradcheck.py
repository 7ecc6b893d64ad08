# SPDX-License-Identifier: MIT
"""Finite differences against hand-written gradients.

A central difference, (f(x + h) - f(x - h)) / 2h, is wrong by about h^2 |f'''| / 6 from the curve and by eps |f| / h
from rounding. The two are balanced where h is about the cube root of eps. In float64 h is 6e-6, and some ten digits are
left: enough to hold a gradient to 1e-6. For an f that computes in float32, as JAX does by default, h is 5e-3 and three
digits are left. x is always float64, and taken to be of order 1 or larger.
"""

import math
from collections.abc import Callable

import numpy as np

from ..support.checks import check_finite, check_number

EPS = float(np.finfo(np.float64).eps)
STEP = math.cbrt(EPS)
TOLERANCE = 1e-6       # relative, where rounding allows as much
SMALLEST_SCALE = 1e-3  # errors are relative to no less than this: where the gradient is 0, rounding is not

Function = Callable[[np.ndarray], float]  # from an array of any shape to a number


class GradientError(AssertionError):
    """A gradient that disagrees with finite differences."""


def tolerance_of(eps: float) -> float:
    """The relative error of central differences of an f with rounding errors of eps |f|.

    With h = eps^(1/3) |x|, rounding adds some 2 eps^(2/3) |f| / |x|, and the curve less than that. For a loss of the
    softmax of logits up to 5, the sum is below 40 eps^(2/3) times the largest entry of the gradient.
    """
    return max(TOLERANCE, 40 * math.cbrt(eps) ** 2)


def numerical_gradient(f: Function, x: np.ndarray, eps: float = EPS) -> np.ndarray:
    """Central differences of f at x, one entry at a time: exact enough, and slow, 2 x.size calls of f.

    `eps` is the relative rounding error of f: that of the dtype it computes in, whatever x it is handed.
    """
    _check_float64(x)
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        direction = np.zeros_like(x)
        direction[index] = 1
        gradient[index] = directional_derivative(f, x, direction, eps)
    return gradient


def directional_derivative(f: Function, x: np.ndarray, direction: np.ndarray, eps: float = EPS) -> float:
    """Central difference of f at x along `direction`, which is as large as x: two calls of f, or four."""
    _check_float64(x)
    direction = np.asarray(direction)
    if direction.shape != x.shape or not direction.any():
        raise ValueError(f"direction must have the shape of x, {x.shape}, and not be zero, got {direction.shape}")
    step = math.cbrt(eps) * max(1.0, float(np.abs(x).max())) / float(np.linalg.norm(direction))

    def slope(step: float) -> float:
        difference = float(f(x + step * direction)) - float(f(x - step * direction))
        if not np.isfinite(difference):
            raise ValueError(f"f must be finite, got {difference} for a difference of two of its values near x")
        return difference / (2 * step)

    if eps <= EPS:
        return slope(step)
    return (4 * slope(step) - slope(2 * step)) / 3  # without the h^2 of the curve, which is large at so large an h


def check_gradient(
    f: Function, x: np.ndarray, gradient: np.ndarray, tolerance: float | None = None, *, eps: float = EPS
) -> float:
    """The largest error of `gradient`, df/dx at x, relative to its largest entry; GradientError above `tolerance`.

    f          from a float64 array like x to a number
    tolerance  unless given 1e-6 or, where that is more, 40 eps^(2/3), which is 1e-3 in float32
    eps        relative rounding error of f; np.finfo(np.float32).eps for one that computes in float32, as JAX does

    Every entry is checked; where x has thousands, `check_direction` takes two calls of f instead of 2 x.size.
    """
    gradient, tolerance = _checked(x, gradient, tolerance, eps)
    expected = numerical_gradient(f, x, eps)
    scale = max(np.abs(expected).max(), np.abs(gradient).max(), SMALLEST_SCALE)
    errors = np.abs(gradient - expected) / scale
    worst = tuple(map(int, np.unravel_index(errors.argmax(), errors.shape)))
    return _judge(float(errors[worst]), tolerance, f"at {worst}", float(gradient[worst]), float(expected[worst]))


def check_direction(
    f: Function, x: np.ndarray, gradient: np.ndarray, seed: int = 0, tolerance: float | None = None, *, eps: float = EPS
) -> float:
    """The relative error of `gradient` along one random direction; the arguments are those of `check_gradient`."""
    gradient, tolerance = _checked(x, gradient, tolerance, eps)
    direction = np.random.default_rng(seed).standard_normal(x.shape)
    expected = directional_derivative(f, x, direction, eps)
    given = float((gradient * direction).sum())
    scale = max(float(np.linalg.norm(gradient)) * float(np.linalg.norm(direction)) / np.sqrt(x.size), abs(expected))
    error = abs(given - expected) / max(scale, SMALLEST_SCALE)
    return _judge(error, tolerance, f"along the direction of seed {seed}", given, expected)


def _judge(error: float, tolerance: float, where: str, given: float, expected: float) -> float:
    if error <= tolerance:
        return error
    ratio = given / expected if given and expected else 1.0
    slip = ""
    if abs(ratio + 1) < 1e-4:
        slip = "; the sign is wrong"
    elif abs(ratio - 1) > 1e-3:
        slip = f"; it is {ratio:.4g} times what it should be"
    raise GradientError(
        f"the gradient {where} is {given:.8g}, finite differences give {expected:.8g}: "
        f"relative error {error:.1e}, tolerance {tolerance:.1e}{slip}"
    )


def _checked(x: np.ndarray, gradient: np.ndarray, tolerance: float | None, eps: float) -> tuple[np.ndarray, float]:
    """The gradient as an array like x, and the tolerance, that of the rounding errors unless given."""
    check_number("eps", eps, "(0, 1)")
    tolerance = tolerance_of(eps) if tolerance is None else check_number("tolerance", tolerance, "(0, inf)")
    _check_float64(x)
    gradient = np.asarray(gradient)
    if gradient.shape != x.shape:
        raise ValueError(f"gradient must have the shape of x, {x.shape}, got {gradient.shape}")
    check_finite("gradient", gradient)
    return gradient, tolerance


def _check_float64(x: np.ndarray) -> None:
    if not isinstance(x, np.ndarray) or x.dtype != np.float64:
        raise TypeError(f"x must be a float64 array: finite differences need its digits, got {getattr(x, 'dtype', x)}")
    if x.size == 0:
        raise ValueError("x is empty: there is no gradient to check")
