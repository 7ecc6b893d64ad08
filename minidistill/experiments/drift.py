# SPDX-License-Identifier: MIT
"""Drift made on purpose: what live images may become, to try whether a quality gate notices.

A camera is mounted askew, a sensor grows old. Nobody tells the student, which answers as surely as before.
"""

import math

import numpy as np

from ..support.checks import check_number, check_rows, check_seed


def rotated(x: np.ndarray, degrees: float) -> np.ndarray:
    """Square images x (N,I), row by row, turned about their centre; what comes in from outside is 0.

    Each new pixel is the mean of the four that it came from, weighed by how near they are. Raises ValueError where x
    has no square number of columns.
    """
    x = check_rows("x", x)
    side = math.isqrt(x.shape[1])
    if side**2 != x.shape[1]:
        raise ValueError(f"x must hold square images, got {x.shape[1]} columns")
    angle, centre = np.deg2rad(check_number("degrees", degrees, "(-inf, inf)")), (side - 1) / 2
    edge = math.ceil(centre * (math.sqrt(2) - 1)) + 1  # so far do the corners reach beyond the frame, and one more
    row, column = np.mgrid[0:side, 0:side].reshape(2, -1) - centre                          # each (I,)
    old_row = np.cos(angle) * row + np.sin(angle) * column + centre
    old_column = np.cos(angle) * column - np.sin(angle) * row + centre
    padded = np.pad(x.reshape(-1, side, side), ((0, 0), (edge, edge), (edge, edge)))
    top, left = np.floor(old_row).astype(int), np.floor(old_column).astype(int)
    turned = np.zeros(x.shape)
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = (1 - abs(old_row - top - down)) * (1 - abs(old_column - left - right))     # (I,)
        turned += weight * padded[:, top + down + edge, left + right + edge]
    return turned.astype(x.dtype)


def noisy(x: np.ndarray, spread: float, seed: int = 0) -> np.ndarray:
    """x (N,I) and Gaussian noise of that standard deviation; the same seed gives the same noise."""
    x = check_rows("x", x)
    noise = np.random.default_rng(check_seed(seed)).standard_normal(x.shape).astype(x.dtype)
    return x + check_number("spread", spread, "[0, inf)") * noise
