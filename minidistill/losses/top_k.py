# SPDX-License-Identifier: MIT
"""Soft targets of which only the k likeliest are kept: what fits on a disk where the classes are a vocabulary.

The teacher keeps, for each row, k classes with their softened log-probabilities; all other classes become one, which
has the probability that is left. The student's other classes are lumped together in the same way, and

    L  = (1-alpha) CE(s, y) + alpha T^2 KL over these k + 1 shares                                      [KD-6]

A class of the rest is pulled only with its lump: p_rest q / q_rest stands where p stood, so the student keeps its own
order among the classes that the teacher did not name [KD-7].
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import ops as numpy_ops
from ..checks import TEMPERATURES, check_field, check_number, check_rows, check_whole
from .base import Addable, checked, matched, need_labels
from .cross_entropy import CrossEntropy


@dataclass(frozen=True, eq=False)
class TopK:
    """The k likeliest classes of each of N rows; `targets[rows]` are those of some rows."""

    indices: np.ndarray  # (N,k) int64, each class of a row once
    log_p: np.ndarray  # (N,k), log-probabilities at the temperature
    temperature: float

    @classmethod
    def of(cls, logits: Any, k: int, temperature: float) -> "TopK":
        """From logits (N,C), with 1 <= k < C."""
        logits = check_rows("logits", logits)
        check_number("temperature", temperature, *TEMPERATURES)
        if check_whole("k", k) >= logits.shape[1]:
            raise ValueError(f"k must be below the {logits.shape[1]} classes, got {k}: SoftTarget takes all of them")
        indices = np.argpartition(-logits, k, axis=1)[:, :k]                    # (N,k)
        log_p, _ = numpy_ops.log_softmax_forward(logits, float(temperature))    # (N,C)
        return cls(indices, np.take_along_axis(log_p, indices, axis=1), float(temperature))

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, rows: Any) -> "TopK":
        return TopK(self.indices[rows], self.log_p[rows], self.temperature)


@dataclass(frozen=True)
class TopKTarget(Addable):
    """Weighted sum of the cross-entropy with the labels and T^2 KL over the teacher's k classes and the rest."""

    temperature: float = 1.0  # that of the targets
    alpha: float = 0.5  # in [0, 1]: weight of the teacher; 1 needs no labels

    def __post_init__(self) -> None:
        check_field(self, "temperature", *TEMPERATURES)
        check_field(self, "alpha", "[0, 1]", 0, 1)

    @np.errstate(invalid="ignore")  # `checked` tells of it
    def __call__(self, s: Any, t: Any, y: Any, ops: Any = numpy_ops) -> tuple[float, np.ndarray]:
        """Value and gradient ds (B,C); t is a TopK of the same B rows."""
        s, _, y = matched(s, None, y)
        if not isinstance(t, TopK) or len(t) != len(s):
            raise ValueError(f"t must be a TopK of {len(s)} rows, got {t if t is None else type(t).__name__}")
        if t.temperature != self.temperature:
            raise ValueError(f"t was softened at temperature {t.temperature:g}, the loss has {self.temperature:g}")
        need_labels(y, self.alpha)

        kl, cache = ops.top_k_target_forward(s, t.indices, t.log_p.astype(s.dtype, copy=False), self.temperature)
        value, ds = self.alpha * kl, self.alpha * ops.top_k_target_backward(cache)          # (B,C)
        if self.alpha < 1:
            ce, dce = CrossEntropy()(s, None, y, ops)
            value, ds = value + (1 - self.alpha) * ce, ds + (1 - self.alpha) * dce          # (B,C)
        return checked(value, s, None), ds
