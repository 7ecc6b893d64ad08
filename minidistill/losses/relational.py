# SPDX-License-Identifier: MIT
"""RKD, relational knowledge distillation (Park, Kim, Lu and Cho 2019, section 3.2): distances and angles of samples.

A student need not put a sample where the teacher puts it, if only the samples of a batch lie to each other as they do
there. So the two layers may differ in width, and nothing has to be learned in between. With d_ij = |h_i - h_j|, two
relations are compared,

    distance  x_ij  = d_ij / mu                   mu is the mean of all d_ij, i != j                 [RKD-1]
    angle     x_ijk = (d_ij^2 + d_kj^2 - d_ik^2) / (2 d_ij d_kj)       the cosine at j, by its law   [RKD-4]

with those of the teacher, by the Huber loss: squares near 0, straight lines from 1 on [RKD-2]. The mean is over all
pairs or triples of samples that differ: the tuples are those of the paper, which sums over them; the authors' program
takes a mean, over tuples with equal members too. mu is a function of h, and has its share in the gradient [RKD-3].

Two equal rows have no direction: their distance of 0 has the gradient 0, angles with it are 0.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .features import FeatureLoss


@dataclass(frozen=True)
class RelationalDistance(FeatureLoss):
    """Mean Huber loss between the student's and the teacher's distances, each over its mean: RKD-D, section 3.2.1.

    The paper sums over the pairs. The authors' program has the mean over all B^2 pairs, which is (B-1)/B of this one.
    """

    scale_free = True

    def between(self, h: np.ndarray, g: np.ndarray) -> tuple[Any, np.ndarray]:
        """Value and dh (B,H); one row has no distance, so both are 0."""
        pairs = max(len(h) * (len(h) - 1), 1)
        d, d_teacher = np.sqrt(_squares(h)), np.sqrt(_squares(g))               # each (B,B)
        mu, mu_teacher = _scale(d, pairs), _scale(d_teacher, pairs)
        x = d / mu                                                              # (B,B)                     [RKD-1]
        value, dx = huber(x - d_teacher / mu_teacher)                           # (B,B)
        dx = dx / pairs                                                         # (B,B)                     [RKD-2]
        dd = (dx - (dx * x).sum() / pairs) / mu                                 # (B,B)  mu's share taken   [RKD-3]
        dS = dd / (2 * np.where(d > 0, d, np.inf))                              # (B,B)  S = d^2
        return value.sum() / pairs, _from_squares(dS, h)                        # (), (B,H)


@dataclass(frozen=True)
class RelationalAngle(FeatureLoss):
    """Mean Huber loss between the cosines of all angles that three samples make: RKD-A, section 3.2.2.

    The paper sums over the triples. The authors' program has the mean over all B^3: (B-1)(B-2)/B^2 of this one.
    """

    scale_free = True

    def between(self, h: np.ndarray, g: np.ndarray) -> tuple[Any, np.ndarray]:
        """Value and dh (B,H); two rows make no angle, so both are 0."""
        B = len(h)
        triples = max(B * (B - 1) * (B - 2), 1)
        S, S_teacher = _squares(h), _squares(g)                                 # each (B,B)
        total, dS = 0.0, np.zeros_like(S)                                       # (), (B,B)
        for j in range(B):  # the vertex of the angle
            x, v = _cosines(S, j)                                               # (B,B), (B,)               [RKD-4]
            difference = x - _cosines(S_teacher, j)[0]                          # (B,B)
            np.fill_diagonal(difference, 0)  # i = k makes no angle; i = j and k = j are 0 as they are
            value, dx = huber(difference)                                       # (B,B)
            total, dx = total + value.sum() / triples, dx / triples             # (), (B,B)
            w = dx * np.outer(v, v)                                             # (B,B)
            dS -= w / 2                                                         # (B,B)  the side opposite j
            dS[:, j] += w.sum(axis=1) - v * v * (dx * x).sum(axis=1)            # (B,)   the sides at j     [RKD-5]
        return total, _from_squares(dS, h)                                      # (), (B,H)


def huber(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each entry's loss, and its slope."""
    value = np.where(np.abs(x) <= 1, 0.5 * x * x, np.abs(x) - 0.5)
    return value, np.clip(x, -1, 1)


def _squares(h: np.ndarray) -> np.ndarray:
    """S_ij = |h_i - h_j|^2 (B,B), which is 0 where two rows are equal: |h_i|^2 - 2 h_i . h_j + |h_j|^2 need not be."""
    return np.array([np.square(h_i - h).sum(axis=1) for h_i in h])              # (B,B)


def _from_squares(dS: np.ndarray, h: np.ndarray) -> np.ndarray:
    """dh_i = sum_j w_ij (h_i - h_j): S_ij and S_ji both pull at both ends."""
    w = 2 * (dS + dS.T)                                                         # (B,B)
    return np.asarray(w.sum(axis=1, keepdims=True) * h - w @ h)                 # (B,H)


def _scale(d: np.ndarray, pairs: int) -> Any:
    """The mean distance mu; 1 where all rows are equal, for no distance is to be scaled then."""
    mu = d.sum() / pairs
    return mu if mu > 0 else mu.dtype.type(1)


def _cosines(S: np.ndarray, j: int) -> tuple[np.ndarray, np.ndarray]:
    """The cosines (B,B) of the angles at j, and 1 / d_ij (B,), each 0 where the distance is 0."""
    v = 1 / np.sqrt(np.where(S[j] > np.finfo(S.dtype).tiny, S[j], np.inf))      # (B,)
    x = (S[j][:, None] + S[j] - S) * np.outer(v, v) / 2                         # (B,B)
    return np.clip(x, -1, 1), v  # no more than 1 for rounding
