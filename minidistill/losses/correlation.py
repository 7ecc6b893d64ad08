# SPDX-License-Identifier: MIT
"""CCKD, correlation congruence (Peng et al. 2019): a Gaussian kernel of all pairs of samples in a batch.

Rows are put to length 1, u = h / |h|, and a Gaussian kernel says how near two of them are:

    K_ij = exp(-gamma |u_i - u_j|^2) = exp(-2 gamma (1 - u_i . u_j))                              [CC-1]
    L    = sum_ij (K_ij - K_ij of the teacher)^2 / B^2                                            [CC-2]
    dc   = 2 gamma K dK,  du = (dc + dc^T) u      with dK = 2 (K - K of the teacher) / B^2        [CC-3]

The paper expands the exponential as a Taylor series in u_i . u_j and breaks off; here it is whole. gamma = 0.4 and two
powers are what published programs take.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..support.checks import check_field
from .features import FeatureLoss, unit_backward, unit_forward


@dataclass(frozen=True)
class CorrelationCongruence(FeatureLoss):
    """Mean squared difference between the student's and the teacher's Gaussian kernel of all pairs of samples."""

    gamma: float = 0.4  # above 0: the larger it is, the nearer two samples must be to count as near

    def __post_init__(self) -> None:
        super().__post_init__()
        check_field(self, "gamma", "(0, inf)")

    def between(self, h: np.ndarray, g: np.ndarray) -> tuple[Any, np.ndarray]:
        """Value and dh (B,H); one row is as near to itself as to be, so both are 0."""
        B = len(h)
        (u, cache), (v, _) = unit_forward(h), unit_forward(g)                   # (B,H), (B,G)
        K = self.kernel(u)                                                      # (B,B)
        difference = K - self.kernel(v)                                         # (B,B)
        value = np.square(difference).sum() / B**2                              # ()                        [CC-2]
        dc = 2 * self.gamma * K * (2 * difference / B**2)                       # (B,B)
        return value, unit_backward((dc + dc.T) @ u, cache)                     # (B,H)                     [CC-3]

    def kernel(self, u: np.ndarray) -> np.ndarray:
        """K (B,B) of rows of length 1; a row of zeros is at a distance of 1 from them, and at 0 from another."""
        cosines = u @ u.T                                                       # (B,B)
        square = np.diag(cosines)                                               # (B,)  1, or 0 for a row of zeros
        return np.asarray(np.exp(-self.gamma * (square[:, None] + square - 2 * cosines)))   # (B,B)         [CC-1]
