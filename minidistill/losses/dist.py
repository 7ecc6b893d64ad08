# SPDX-License-Identifier: MIT
"""DIST (Huang et al. 2022): probabilities that rise and fall with the teacher's are enough, equal they need not be.

With rho the Pearson correlation, q = softmax(s/T) and p = softmax(t/T),

    inter = mean over rows of 1 - rho(q_b, p_b)            which classes are likelier, in each sample     [DIST-1]
    intra = mean over columns of 1 - rho(q_c, p_c)         which samples are likelier, in each class      [DIST-2]
    term  = beta inter + gamma intra                                                                      [DIST-3]

rho is the mean product of two standardized vectors, so its gradient comes from [STD-2]. It has no unit: unlike a KL
it does not shrink as T grows, and no T^2 stands here. (The paper's equations have none either; the published code
multiplies by T^2. For its loss at T = 4 write DIST(16 beta, 16 gamma, 4).)

Where the teacher has no spread there is nothing to learn: the distance counts 0. Where only the student has none it
counts 1; its gradient does not exist and is 0. So one sample alone has no intra. Two values correlate with 1 or -1
only, which has no gradient: inter needs three classes, and intra three samples.

intra relates the samples of a batch to each other: this loss of a batch is not the mean of its samples' losses.
The paper adds the cross-entropy with weight 1: that is `CrossEntropy() + DIST(alpha=1)`, or twice alpha = 0.5.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..support.checks import check_field
from .labels_and_teacher import LabelsAndTeacher
from .standardized import standardize_backward, standardize_forward


@dataclass(frozen=True)
class DIST(LabelsAndTeacher):
    """Weighted sum of the cross-entropy with the labels and of beta inter + gamma intra."""

    unclaimed = ("batch", "soft target")

    beta: float = 1.0         # from 0: weight of the relations between classes
    gamma: float = 1.0        # from 0: weight of the relations between samples
    temperature: float = 1.0  # above 0
    alpha: float = 0.5        # in [0, 1]: weight of the teacher; 0 is cross-entropy, 1 needs no labels

    in_double = True  # float32 has no inverse of the spread of a class that is always unlikely

    def __post_init__(self) -> None:
        check_field(self, "beta", "[0, inf)")
        check_field(self, "gamma", "[0, inf)")
        super().__post_init__()

    def term(self, s: np.ndarray, t: np.ndarray, y: np.ndarray | None, ops: Any) -> tuple[Any, np.ndarray]:
        q, cache = ops.softmax_forward(s, self.temperature)                     # (B,C)
        p, _ = ops.softmax_forward(t, self.temperature)                         # (B,C)
        inter, dq_inter = correlation_distance(q, p)                            # (), (B,C)  [DIST-1]
        intra, dq_intra = correlation_distance(q.T, p.T)                        # (), (C,B)  [DIST-2]
        dq = self.beta * dq_inter + self.gamma * dq_intra.T                     # (B,C)
        return self.beta * inter + self.gamma * intra, ops.softmax_backward(dq, cache)      # (), (B,C)  [DIST-3]


def correlation_distance(q: np.ndarray, p: np.ndarray) -> tuple[Any, np.ndarray]:
    """The mean over rows of 1 - rho(q, p), q and p (N,M), and its gradient for q."""
    z, cache = standardize_forward(q)                                           # (N,M)
    z_teacher, _ = standardize_forward(p)                                       # (N,M)
    distance = (z_teacher * (z_teacher - z)).mean()                             # ()  its square has the mean 1, or 0
    return distance, standardize_backward(-z_teacher / z.size, cache)           # (), (N,M)
