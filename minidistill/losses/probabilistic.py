# SPDX-License-Identifier: MIT
"""PKT, probabilistic knowledge transfer (Passalis and Tefas 2018): which samples are neighbors, as probabilities.

How likely sample j is to be picked as a neighbor of sample i follows from the angle between them, c = cos(h_i, h_j):

    K_ij = (1 + c_ij) / 2 + EPSILON,  q_ij = K_ij / sum_k K_ik over k != i,  p_ij likewise from g  [PKT-1]
    L    = mean_i KL(p_i || q_i) over all j != i                                                  [PKT-2]
    dK   = (1 - p / q) / (B sum_k K_ik)           from there, dh by [FEAT-2]                      [PKT-3]

The kernel has no width to be chosen, unlike a Gaussian one. The sums leave out j = i, as those of the paper do; the
authors' program includes it. The paper has no EPSILON, which keeps the probability of a sample that lies opposite above
0; the program adds it inside the logarithm, where p and q no longer sum to 1, the code here to the kernel.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ops import kl_terms
from .features import FeatureLoss, unit_backward, unit_forward

EPSILON = 1e-7  # its size is that of the authors' program


@dataclass(frozen=True)
class ProbabilisticTransfer(FeatureLoss):
    """Mean KL between the two networks' probabilities that one sample is picked as the neighbor of another.

    The paper sums over the rows. The authors' program has the mean over all B^2 entries, the diagonal among them.
    """

    def between(self, h: np.ndarray, g: np.ndarray) -> tuple[Any, np.ndarray]:
        """Value and dh (B,H); one row has no neighbors, so both are 0."""
        B = len(h)
        (u, cache), (v, _) = unit_forward(h), unit_forward(g)                   # (B,H), (B,G)
        others = ~np.eye(B, dtype=bool)                                         # (B,B)
        (q, total), (p, _) = _neighbors(u, others), _neighbors(v, others)     # each (B,B-1)              [PKT-1]
        value = kl_terms(p, q, np.log1p((q - p) / p)).sum() / B                 # ()                        [PKT-2]
        dc = np.zeros((B, B), h.dtype)                                          # (B,B)
        dc[others] = ((1 - p / q) / (2 * B * total)).ravel()  # c is halved in K                            [PKT-3]
        return value, unit_backward((dc + dc.T) @ u, cache)                     # (B,H)


def _neighbors(u: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (B,B-1) of all other rows, for each row, and what they were divided by."""
    K = np.maximum((1 + u @ u.T) / 2, 0) + EPSILON                              # (B,B)  no less for rounding
    K = K[others].reshape(len(u), -1)                                           # (B,B-1)
    total = K.sum(axis=1, keepdims=True)                                        # (B,1)
    return K / total, total
