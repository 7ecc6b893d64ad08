# SPDX-License-Identifier: MIT
"""A teacher made by hand (Tf-KD_reg of Yuan et al. 2020): sure of the label, indifferent to all other classes.

    p_c = correct for the label's class, (1 - correct) / (C - 1) for each other            [VT-1]
    L   = (1-alpha) CE(s, y) + alpha T^2 KL(p_T || softmax(s/T))    p_T = softmax(log(p) / T)   [VT-2]

So it is SoftTarget with the logits log p. At T = 1 it has the gradient of label smoothing, with the share
e = alpha (1 - correct) C / (C - 1): what a soft target does without any knowledge of the classes, and therefore a
control, as label smoothing is. Unlike it, the virtual teacher can be softened further by a temperature.

The published code softens p as if probabilities were logits, softmax(p / T), does not soften the student and has no
T^2; this is the formula of the paper, with T^2.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import ops as numpy_ops
from ..support.checks import TEMPERATURES, check_field
from .base import Loss, as_rows, matched
from .soft_target import SoftTarget


@dataclass(frozen=True)
class VirtualTeacher(Loss):
    """Weighted sum of the cross-entropy with the labels and T^2 KL(p_T || q), where p is made from the labels."""

    unclaimed = ("teacher", "labels", "match", "soft target")

    correct: float = 0.99      # in (0, 1): what the teacher gives the label's class; in the paper at least 0.9
    temperature: float = 20.0  # above 0
    alpha: float = 0.5         # in [0, 1]: weight of the virtual teacher; 0 is cross-entropy

    def __post_init__(self) -> None:
        check_field(self, "correct", "(0, 1)")
        check_field(self, "temperature", TEMPERATURES)
        check_field(self, "alpha", "[0, 1]")

    def __call__(self, s: Any, t: Any, y: np.ndarray | None, ops: Any = numpy_ops) -> tuple[float, np.ndarray]:
        """Value and gradient ds (B,C); a teacher's logits t are not looked at."""
        s, y = matched(s, y)
        return self.unchecked(s, t, y, ops)

    def unchecked(self, s: Any, t: Any, y: np.ndarray | None, ops: Any = numpy_ops) -> tuple[float, np.ndarray]:
        if y is None:
            raise ValueError("y (labels) is missing: the virtual teacher is made from them")
        return SoftTarget(self.temperature, self.alpha).unchecked(s, self.logits(s, y), y, ops)     # [VT-2]

    def logits(self, s: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The teacher's logits log p (B,C) for labels y (B,), or for rows of probabilities y (B,C)."""
        rows = as_rows(y, s)                                                    # (B,C)
        other = (1 - self.correct) / max(s.shape[1] - 1, 1)
        return np.asarray(np.log(self.correct * rows + other * (1 - rows)))     # (B,C)  [VT-1]
