# SPDX-License-Identifier: MIT
"""Logit matching (Ba and Caruana 2014): the student's logits themselves should be the teacher's.

The idea is older than soft targets. Bucila, Caruana and Niculescu-Mizil 2006 let a network imitate an ensemble on
unlabeled data; Ba and Caruana compare logits, where a probability of 0.0001 and one of 0.000001 are far apart:

    term = 1/(2C) sum_c (s_c - t_c)^2, averaged over the batch       [LM-1]
    ds   = (s - t) / (B C)                                           [LM-2]

It is the limit of T^2 KL(p || q) at high temperature where each row of logits is centered (Hinton, Vinyals and Dean
2015, section 2.1). The paper has no 1/C; with it alpha weighs the same as SoftTarget's. A constant added to a row of
logits changes no probability, but it does change this loss.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .labels_and_teacher import LabelsAndTeacher


@dataclass(frozen=True)
class LogitMatching(LabelsAndTeacher):
    """Weighted sum of the cross-entropy with the labels and half the mean squared difference of the logits.

    The teacher must have logits: a probability of exactly 0, as a forest gives it, stands at -10,000 in the targets of
    `distill`, and the squared error would look at nothing else.
    """

    unclaimed = ("shift", "soft target")

    alpha: float = 0.5  # in [0, 1]: weight of the teacher; 0 is cross-entropy, 1 needs no labels

    def term(self, s: np.ndarray, t: np.ndarray, y: np.ndarray | None, ops: Any) -> tuple[Any, np.ndarray]:
        difference = s - t                                                      # (B,C)
        return 0.5 * (difference * difference).mean(), difference / s.size      # (), (B,C)  [LM-1] [LM-2]
