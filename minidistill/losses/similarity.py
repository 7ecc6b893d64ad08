# SPDX-License-Identifier: MIT
"""SP, similarity-preserving distillation (Tung and Mori 2019): samples alike to the teacher are so to the student.

The similarity of two samples of a batch is their scalar product. Each row of the table is divided by its length, and
the student's table is to equal the teacher's:

    A = h h^T (B,B),  P = its rows of length 1 [FEAT-1],  Q likewise from the teacher's g
    L  = |P - Q|^2 / B^2                          all entries squared and summed                  [SP-1]
    dP = 2 (P - Q) / B^2                          dA from it by [FEAT-2]                          [SP-2]
    dh = (dA + dA^T) h                            a row stands on both sides of a product         [SP-3]
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .features import FeatureLoss, unit_backward, unit_forward


@dataclass(frozen=True)
class SimilarityPreserving(FeatureLoss):
    """Mean squared difference between the student's and the teacher's similarities of samples."""

    scale_free = True

    def between(self, h: np.ndarray, g: np.ndarray) -> tuple[Any, np.ndarray]:
        """Value and dh (B,H); one row is similar to itself alone, so both are 0."""
        B = len(h)
        if B == 1:
            return 0.0, np.zeros_like(h)
        (P, cache), (Q, _) = unit_forward(h @ h.T), unit_forward(g @ g.T)       # each (B,B)
        value = np.square(P - Q).sum() / B**2                                   # ()                        [SP-1]
        dA = unit_backward(2 * (P - Q) / B**2, cache)                           # (B,B)                     [SP-2]
        return value, (dA + dA.T) @ h                                           # (B,H)                     [SP-3]
