# SPDX-License-Identifier: MIT
"""Logit standardization (Sun et al. 2024): only the shape of a row of logits is taught, not its size.

A small student can seldom make logits as large as its teacher's. So each row of either is standardized first,

    z = (s - mean(s)) / std(s)                                                          [STD-1]
    ds = (dz - mean(dz) - z mean(z dz)) / std(s)                                        [STD-2]
    term = T^2 KL(softmax(z_t/T) || softmax(z_s/T))                                     [STD-3]

where mean and standard deviation are those of the row (over C, not C - 1 as in the published code: the two differ
like temperatures by sqrt(C / (C - 1))). T is the paper's base temperature. The student may then choose its own scale:
neither a constant added to a row nor a positive factor changes the term. The labels see the logits as they are.

A row without spread has no shape. Its z is 0, which is a uniform p or q, and its gradient is 0. With two classes z is
(1, -1) or (-1, 1) whatever the logits are, and the term's gradient is 0 too: standardizing needs three classes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .labels_and_teacher import LabelsAndTeacher

ROUNDING = 16  # a spread of so many roundings of the largest entry is none


def standardize_forward(x: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Each row of x (N,M) less its mean, over its standard deviation; zeros for a row without spread."""
    floats = np.finfo(x.dtype)
    smallest = 1 / floats.max / (ROUNDING * floats.eps)  # of smaller entries the inverse of the spread may overflow
    largest = np.maximum(np.abs(x).max(axis=1, keepdims=True), smallest)        # (N,1)  no square overflows
    u = x / largest - (x / largest).mean(axis=1, keepdims=True)                 # (N,M)
    spread = np.sqrt((u * u).mean(axis=1, keepdims=True))                       # (N,1)
    constant = spread <= ROUNDING * floats.eps                                  # (N,1)
    inverse = np.where(constant, 0, 1 / np.where(constant, 1, spread))          # (N,1)
    z = u * inverse                                                             # (N,M)  [STD-1]
    return z, (z, inverse / largest)


def standardize_backward(dz: np.ndarray, cache: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    z, inverse = cache  # (N,M), (N,1): one over the standard deviation, 0 for a row without spread
    projection = dz.mean(axis=1, keepdims=True) + z * (z * dz).mean(axis=1, keepdims=True)  # (N,M)
    return np.asarray((dz - projection) * inverse)                              # (N,M)  [STD-2]


@dataclass(frozen=True)
class StandardizedTarget(LabelsAndTeacher):
    """Weighted sum of the cross-entropy with the labels and T^2 KL of the standardized logits."""

    unclaimed = ("soft target",)

    temperature: float = 2.0  # above 0
    alpha: float = 0.5        # in [0, 1]: weight of the teacher; 0 is cross-entropy, 1 needs no labels

    in_double = True  # float32 has no inverse of the spread of tiny logits

    def term(self, s: np.ndarray, t: np.ndarray, y: np.ndarray | None, ops: Any) -> tuple[Any, np.ndarray]:
        z, cache = standardize_forward(s)                                       # (B,C)
        z_teacher, _ = standardize_forward(t)                                   # (B,C)
        kl, kl_cache = ops.soft_target_forward(z, z_teacher, self.temperature)  # ()     [STD-3]
        return kl, standardize_backward(ops.soft_target_backward(kl_cache), cache)          # (B,C)
