# SPDX-License-Identifier: MIT
"""FitNets hints (Romero et al. 2015, section 2.2, equation 3): regression onto a hidden layer of the teacher.

A hidden layer of the student, h (B,H), is to hold what one of the teacher, g (B,G), holds. As their widths may differ,
a linear regressor r = h W + b (B,G) stands in between; it learns together with the student, and is not needed after:

    L  = 1/2 mean_b |r_b - g_b|^2            the squares are summed over the G units          [HINT-1]
    dr = (r - g) / B                         from there, dh, dW and db are those of a layer   [HINT-2]

The paper trains up to this layer with the hint alone, and then the whole student on soft targets: two calls of
`distill`. Its regressor ends in the teacher's nonlinearity; this one is linear, so that no unit of it can die.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..network import MLP
from .features import FeatureLoss, linear


@dataclass(frozen=True)
class Hint(FeatureLoss):
    """Half the squared distance between a regression from the student's hidden layer and the teacher's."""

    regressor: Any = field(default=None, repr=False, compare=False)  # an MLP of sizes (H, G), made by `start`

    @property
    def learners(self) -> tuple[Any, ...]:
        return (self.regressor,)

    def start(self, student: MLP, teacher_widths: Sequence[int], seed: int) -> "Hint":
        """The same loss with a new regressor."""
        return replace(self, regressor=linear(student, *self._widths(student, teacher_widths), seed))

    def between(self, h: np.ndarray, g: np.ndarray) -> tuple[Any, np.ndarray]:
        """Value and dh (B,H); the regressor's gradients are written into it."""
        r, cache = self.regressor.forward(h)                                    # (B,G)
        value = 0.5 * np.square(r - g).sum() / len(h)                           # ()     [HINT-1]
        dr = (r - g) / len(h)                                                   # (B,G)  [HINT-2]
        return value, self.regressor.backward(dr, cache, input_gradient=True)   # (B,H)
