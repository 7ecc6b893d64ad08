# SPDX-License-Identifier: MIT
"""DKD, decoupled knowledge distillation (Zhao et al. 2022): the label's class and all others weighted separately.

The KL of soft targets is a sum of two: how sure one is of the label's class y (target class, TCKD), and how the rest
is shared out among the other classes (non-target classes, NCKD), with a hat over what is renormalized to 1:

    TCKD = KL of the two shares (p_y, 1 - p_y) and (q_y, 1 - q_y)                              [DKD-1]
    NCKD = KL(p^ || q^)     p^ = softmax of t_c/T over c != y, q^ that of s_c/T                [DKD-2]
    KL   = TCKD + (1 - p_y) NCKD                                                               [DKD-3]
    term = T^2 (alpha_target TCKD + beta_other NCKD)                                           [DKD-4]

In KL a teacher who is sure, 1 - p_y near 0, has its dark knowledge switched off. DKD weighs it by a constant.

TCKD is the top-k loss [KD-6] with the label as the only class that is named, and NCKD is the soft-target loss [KD-2]
of logits without the label's column, so both have their gradients already. Nothing is masked with a large number and
no logarithm of a probability is taken: with two classes one class is left over, and NCKD is 0.

The paper adds the cross-entropy with weight 1: that is `CrossEntropy() + DecoupledKD(alpha=1)`, or twice alpha = 0.5.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..support.checks import check_field
from .labels_and_teacher import LabelsAndTeacher


@dataclass(frozen=True)
class DecoupledKD(LabelsAndTeacher):
    """Weighted sum of the cross-entropy with the labels and of T^2 (alpha_target TCKD + beta_other NCKD)."""

    unclaimed = ("labels", "soft target")

    alpha_target: float = 1.0  # from 0: weight of how sure one is of the label's class
    beta_other: float = 8.0    # from 0: weight of the shares of the other classes
    temperature: float = 4.0   # above 0
    alpha: float = 0.5         # in [0, 1]: weight of the teacher; 0 is cross-entropy

    def __post_init__(self) -> None:
        check_field(self, "alpha_target", "[0, inf)")
        check_field(self, "beta_other", "[0, inf)")
        super().__post_init__()

    def term(self, s: np.ndarray, t: np.ndarray, y: np.ndarray | None, ops: Any) -> tuple[Any, np.ndarray]:
        others = other_classes(s, y)                                            # (B,C)
        label = np.argmin(others, axis=1)[:, None]                              # (B,1)
        log_p, _ = ops.log_softmax_forward(t, self.temperature)                 # (B,C)
        log_p_label = np.take_along_axis(log_p, label, axis=1)                  # (B,1)
        tckd, cache = ops.top_k_target_forward(s, label, log_p_label, self.temperature)     # [DKD-1]
        ds = self.alpha_target * ops.top_k_target_backward(cache)               # (B,C)

        s_others, t_others = s[others].reshape(len(s), -1), t[others].reshape(len(s), -1)   # (B,C-1)
        nckd, cache = ops.soft_target_forward(s_others, t_others, self.temperature)         # [DKD-2]
        ds[others] += self.beta_other * ops.soft_target_backward(cache).ravel()
        return self.alpha_target * tckd + self.beta_other * nckd, ds            # (), (B,C)  [DKD-4]


def other_classes(s: np.ndarray, y: np.ndarray | None) -> np.ndarray:
    """True for all classes (B,C) but the label's; refuses what is no label."""
    if y is None or y.ndim != 1:
        got = "none" if y is None else f"shape {y.shape}"
        raise ValueError(f"y must be labels of shape ({len(s)},): the label's class is told from the others, got {got}")
    if s.shape[1] < 2:
        raise ValueError(f"s must have at least two classes, one besides the label's, got shape {s.shape}")
    return np.asarray(np.arange(s.shape[1]) != y[:, None])                      # (B,C)
