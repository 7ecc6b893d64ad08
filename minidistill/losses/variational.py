# SPDX-License-Identifier: MIT
"""VID, variational information distillation (Ahn et al. 2019, section 2): a Gaussian around the teacher's layer.

The mutual information of the two layers is at least the mean log-density of g, up to a constant, under any distribution
that is conditioned on h. Here it is a Gaussian: its mean r = h W + b (B,G) is a linear regression from the student's
layer, its variance v (G,) is one number a unit. All three are learned, and the bound is pulled up:

    v  = softplus(a) + FLOOR                                                                      [VID-1]
    L  = mean_b sum_j (log v_j + (g_bj - r_bj)^2 / v_j) / 2                                       [VID-2]
    dr = (r - g) / (v B)                                                                          [VID-3]
    da = sigmoid(a) (1 - mean_b (g - r)^2 / v) / (2 v)                                            [VID-4]

A unit that the student cannot foretell gets a large variance and is left alone: that is what a hint lacks. L is the
negative logarithm of a density, less (log 2 pi) / 2 a unit, and may be below 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..network import MLP
from .features import FeatureLoss, linear

FLOOR = 1e-5  # smallest variance: a unit that is always the same may not become infinitely sure
START = math.log(math.e - 1)  # softplus of it is 1


class Variances:
    """What is learned of each of the teacher's G units besides its mean; an optimizer sees it as it sees a network."""

    def __init__(self, units: int, student: MLP) -> None:
        self.parameters = np.full(units, START, student.dtype)  # a (G,)
        self.gradients = np.zeros_like(self.parameters)
        self.weights = ()  # none, so an optimizer's max_norm has nothing to hold
        self.ops = student.ops

    def forward(self) -> np.ndarray:
        return np.asarray(np.logaddexp(0, self.parameters) + FLOOR)             # (G,)                      [VID-1]

    def backward(self, dv: np.ndarray) -> None:
        self.gradients[:] = dv * np.exp(-np.logaddexp(0, -self.parameters))     # (G,)  sigmoid(a)


@dataclass(frozen=True)
class VariationalInformation(FeatureLoss):
    """Negative log-density of the teacher's layer under a Gaussian around a regression from the student's."""

    regressor: Any = field(default=None, repr=False, compare=False)  # an MLP of sizes (H, G), made by `start`
    variances: Any = field(default=None, repr=False, compare=False)

    @property
    def learners(self) -> tuple[Any, ...]:
        return (self.regressor, self.variances)

    def start(self, student: MLP, teacher_widths: Sequence[int], seed: int) -> "VariationalInformation":
        """The same loss with a new regressor, and variances of 1."""
        H, G = self._widths(student, teacher_widths)
        return replace(self, regressor=linear(student, H, G, seed), variances=Variances(G, student))

    def between(self, h: np.ndarray, g: np.ndarray) -> tuple[Any, np.ndarray]:
        """Value and dh (B,H); the gradients of regressor and variances are written into them."""
        r, cache = self.regressor.forward(h)                                    # (B,G)
        v = self.variances.forward()                                            # (G,)
        square = np.square(r - g).mean(axis=0)                                  # (G,)
        value = 0.5 * (np.log(v) + square / v).sum()                            # ()                        [VID-2]
        self.variances.backward((1 - square / v) / (2 * v))                     # (G,)                      [VID-4]
        dr = (r - g) / (v * len(h))                                             # (B,G)                     [VID-3]
        return value, self.regressor.backward(dr, cache, input_gradient=True)   # (B,H)
