# SPDX-License-Identifier: MIT
"""NKD, normalized knowledge distillation (Yang et al. 2023): soft targets split at the label, as cross-entropies.

The cross-entropy -sum_c p_c log q_c has one part for the label's class y and one for the others. The others do not
sum to the same in p and in q, so the two can never match; NKD renormalizes them (the hats of DKD):

    term = -p_y log q_y                    p, q at temperature 1                        [NKD-1]
           - gamma T^2 sum p^_c log q^_c   p^, q^ at temperature T, over c != y         [NKD-2]
    ds   = p_y (q - onehot(y)) / B, and gamma T (q^ - p^) / B for c != y                [NKD-3]

The first part is a cross-entropy with the label that trusts a sample as far as the teacher does; the second is DKD's
NCKD plus the entropy of p^, which no student can change: so the term is not 0 where student and teacher agree, and
neither is its gradient. With two classes the second part is 0.

The paper adds the cross-entropy with weight 1: that is `CrossEntropy() + NKD(alpha=1)`, or twice alpha = 0.5.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..support.checks import check_field
from .decoupled import other_classes
from .labels_and_teacher import LabelsAndTeacher


@dataclass(frozen=True)
class NKD(LabelsAndTeacher):
    """Weighted sum of the cross-entropy with the labels and of NKD's two parts."""

    unclaimed = ("labels", "match", "soft target")

    gamma: float = 1.5        # from 0: weight of the shares of the other classes
    temperature: float = 1.0  # above 0: that of the other classes
    alpha: float = 0.5        # in [0, 1]: weight of the teacher; 0 is cross-entropy

    def __post_init__(self) -> None:
        check_field(self, "gamma", "[0, inf)")
        super().__post_init__()

    def term(self, s: np.ndarray, t: np.ndarray, y: np.ndarray | None, ops: Any) -> tuple[Any, np.ndarray]:
        others, T, B = other_classes(s, y), self.temperature, len(s)            # (B,C)
        p, _ = ops.softmax_forward(t)                                           # (B,C)
        log_q, _ = ops.log_softmax_forward(s)                                   # (B,C)
        trust = p[~others]                                                      # (B,)  p_y
        target = -(trust * log_q[~others]).mean()                               # ()     [NKD-1]
        ds = trust[:, None] * (np.exp(log_q) - ~others) / B                     # (B,C)  [NKD-3]

        p_others, _ = ops.softmax_forward(t[others].reshape(B, -1), T)          # (B,C-1)
        rest, cache = ops.cross_entropy_forward(s[others].reshape(B, -1) / T, p_others)
        ds[others] += self.gamma * T * ops.cross_entropy_backward(cache).ravel()
        return target + self.gamma * T**2 * rest, ds                            # (), (B,C)  [NKD-2]
