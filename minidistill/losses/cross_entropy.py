# SPDX-License-Identifier: MIT
"""Cross-entropy with the labels: the loss of a network that learns alone.

With q = softmax(s), L = -mean_b log q[b, y_b] and dL/ds = (q - onehot(y)) / B [CE-1, CE-2].

Label smoothing (Szegedy et al. 2016, section 7) replaces the one-hot row by (1 - e) onehot(y) + e / C [CE-3]. It makes
targets soft with no teacher, and is therefore the control that a distilled student has to beat.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import ops as numpy_ops
from ..support.checks import check_field
from .base import Loss, as_rows, checked, matched


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Mean cross-entropy of softmax(s) with labels y (B,), or with rows of probabilities y (B,C)."""

    unclaimed = ("teacher", "labels", "match", "soft target")

    label_smoothing: float = 0.0  # in [0, 1): share of each target that is spread evenly over all classes

    def __post_init__(self) -> None:
        check_field(self, "label_smoothing", "[0, 1)")

    def __call__(self, s: Any, t: Any, y: np.ndarray | None, ops: Any = numpy_ops) -> tuple[float, np.ndarray]:
        """Value and gradient ds (B,C); the teacher's logits t are not looked at."""
        s, y = matched(s, y)
        return self.unchecked(s, t, y, ops)

    @np.errstate(invalid="ignore")  # `checked` reports it
    def unchecked(self, s: Any, t: Any, y: np.ndarray | None, ops: Any = numpy_ops) -> tuple[float, np.ndarray]:
        if y is None:
            raise ValueError("y (labels) is missing: cross-entropy needs labels")
        if self.label_smoothing > 0:
            y = self.smoothed(y, s)                                             # (B,C)
        value, cache = ops.cross_entropy_forward(s, y)
        return checked(value, s, None), ops.cross_entropy_backward(cache)

    def compiled(self) -> dict[str, float] | None:
        """The constants of a compiled epoch; None for a subclass, which may compute something else."""
        return {"alpha": 0.0, "label_smoothing": self.label_smoothing} if type(self) is CrossEntropy else None

    def smoothed(self, y: np.ndarray, s: np.ndarray) -> np.ndarray:
        e = self.label_smoothing
        return np.asarray((1 - e) * as_rows(y, s) + e / s.shape[1])             # (B,C)  [CE-3]
