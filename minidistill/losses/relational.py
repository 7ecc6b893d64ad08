# SPDX-License-Identifier: MIT
"""Relational knowledge distillation (Park, Kim, Lu and Cho 2019, section 3.2): how samples lie to each other.

A student need not put a sample where the teacher puts it, if only the samples of a batch lie to each other as they do
there. So the two layers may differ in width, and nothing has to be learnt in between. Two relations are compared,

    distance  x_ij  = |h_i - h_j| / mu           mu is the mean of all |h_i - h_j|, i != j          [RKD-1]
    angle     x_ijk = e_ij . e_kj                e_ij = (h_i - h_j) / |h_i - h_j|                   [RKD-4]

with y, the same of the teacher, by the Huber loss: squares near 0, straight lines from 1 on [RKD-2]. The mean is over
all pairs or triples of samples that differ. mu is a function of h too, and has its share in the gradient [RKD-3].

The gradient of a length is the unit vector along it, and 0 where the length is: two equal rows have no direction.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .features import FeatureLoss, unit_backward, unit_forward


@dataclass(frozen=True)
class RelationalDistance(FeatureLoss):
    """Huber loss between the student's and the teacher's distances, each over its mean: RKD-D, section 3.2.1."""

    def between(self, h: np.ndarray, g: np.ndarray) -> tuple[Any, np.ndarray]:
        """Value and dh (B,H); one row has no distance, so both are 0."""
        pairs = max(len(h) * (len(h) - 1), 1)
        (x, mu), (y, _) = _relative(_distances(h), pairs), _relative(_distances(g), pairs)  # each (B,B)    [RKD-1]
        value, dx = huber(x - y)                                                # (B,B)
        dx = dx / pairs                                                         # (B,B)                     [RKD-2]
        d_distance = (dx - (dx * x).sum() / pairs) / mu                         # (B,B)  mu's share taken   [RKD-3]
        dh = [2 * row @ unit_forward(h_i - h)[0] for h_i, row in zip(h, d_distance, strict=True)]  # a pair counts twice
        return value.sum() / pairs, np.array(dh)                                # (), (B,H)


@dataclass(frozen=True)
class RelationalAngle(FeatureLoss):
    """Huber loss between the cosines of all angles that three samples make: RKD-A, section 3.2.2."""

    def between(self, h: np.ndarray, g: np.ndarray) -> tuple[Any, np.ndarray]:
        """Value and dh (B,H); two rows make no angle, so both are 0."""
        B = len(h)
        triples = max(B * (B - 1) * (B - 2), 1)
        total, dh = 0.0, np.zeros_like(h)                                       # (), (B,H)
        for j in range(B):  # the vertex of the angle
            (e, cache), (f, _) = unit_forward(h - h[j]), unit_forward(g - g[j])             # (B,H), (B,G)
            difference = e @ e.T - f @ f.T                                      # (B,B)                     [RKD-4]
            np.fill_diagonal(difference, 0)  # i = k makes no angle; i = j and k = j are 0 as they are
            value, dx = huber(difference)                                       # (B,B)
            dij = unit_backward(2 * dx @ e / triples, cache)                    # (B,H)  h_i - h_j          [RKD-5]
            total, dh = total + value.sum() / triples, dh + dij                 # (), (B,H)
            dh[j] -= dij.sum(axis=0)
        return total, dh


def huber(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each entry's loss, and its slope."""
    value = np.where(np.abs(x) <= 1, 0.5 * x * x, np.abs(x) - 0.5)
    return value, np.clip(x, -1, 1)


def _distances(h: np.ndarray) -> np.ndarray:
    """|h_i - h_j| (B,B): what is left of a difference along itself."""
    return np.array([(unit_forward(h_i - h)[0] * (h_i - h)).sum(axis=1) for h_i in h])


def _relative(distances: np.ndarray, pairs: int) -> tuple[np.ndarray, Any]:
    """Distances over their mean mu, and mu; where all rows are equal no distance is to be scaled."""
    mu = distances.sum() / pairs
    mu = mu if mu > 0 else mu.dtype.type(1)
    return distances / mu, mu
