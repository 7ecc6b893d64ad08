# SPDX-License-Identifier: MIT
"""Spirals: a toy data set in two dimensions, whose classes no straight line separates."""

import numpy as np

from ..support.checks import check_number, check_seed, check_whole
from .dataset import Dataset


def spirals(n: int = 300, classes: int = 3, noise: float = 0.2, turns: float = 0.75, seed: int = 0) -> Dataset:
    """`n` points on `classes` arms that wind out from the origin, one arm per class, in random order.

    n       : number of points, at least one per class; the first classes get one more where it is no multiple.
    classes : number of arms, at least 2.
    noise   : standard deviation of a point's angle, in radians, at least 0. Arms lie 2 pi / classes apart.
    turns   : number of turns of an arm, above 0.
    seed    : the same seed gives the same points.

    Returns x (n,2) float32, the coordinates of each point, at most 1 from the origin; and y (n,) int64, its arm.
    """
    n = check_whole("n", n)
    classes = check_whole("classes", classes, minimum=2)
    noise = check_number("noise", noise, "[0, inf)")
    turns = check_number("turns", turns, "(0, inf)")
    generator = np.random.default_rng(check_seed(seed))
    if n < classes:
        raise ValueError(f"n must be at least the number of classes, {classes}, got {n}")

    y = np.arange(n) % classes  # (n,)  0, 1, 2, 0, 1, 2, ...
    place = np.arange(n) // classes  # (n,)  0, 0, 0, 1, 1, 1, ...: which point of its arm
    radius = (place + 1) / (place.max() + 1)  # (n,)  above 0: the arms would meet in the origin
    angle = 2 * np.pi * (turns * radius + y / classes) + noise * generator.standard_normal(n)  # (n,)
    x = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])  # (n,2)

    order = generator.permutation(n)
    return Dataset(x[order].astype(np.float32), y[order])
