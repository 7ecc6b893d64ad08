# SPDX-License-Identifier: MIT
"""A small sweep for tests: its data and grid, an executor that counts, and an optimizer that diverges on purpose."""

from concurrent.futures import Executor, Future

import numpy as np

from minidistill import SGD, digits
from minidistill.experiments.sweep import Point

GRID = {"temperatures": (1, 4), "alphas": (0.5, 0.9), "widths": (4, 8), "seeds": range(2), "epochs": 2}
POINTS = 16
TRAINING, VALIDATION = (part.take(n) for part, n in zip(digits()[0].split(1000), (150, 100), strict=True))


class Narrow(SGD):
    """Trains networks of 4 hidden units; the others diverge."""

    def change(self, network, state, rate, step):
        network.gradients *= 1.0 if network.sizes[1] == 4 else np.nan
        super().change(network, state, rate, step)


class Serial(Executor):
    """Trains a point when it is handed in, and counts."""

    def __init__(self):
        self.count = 0

    def submit(self, function, *arguments):
        self.count += 1
        future = Future()
        try:
            future.set_result(function(*arguments))
        except BaseException as error:
            future.set_exception(error)
        return future


def found(result):
    """The points but for how long they took."""
    return [(*point.setting, point.accuracy, point.agreement, point.reason) for point in result.points]


def point(width=8, T=4.0, alpha=0.5, seed=0, accuracy=0.5, reason=None):
    return Point(width, T, alpha, seed, accuracy, None if accuracy is None else 0.25, 2.0, reason)
