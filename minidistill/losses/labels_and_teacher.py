# SPDX-License-Identifier: MIT
"""What most methods share: a weighted sum of the cross-entropy with the labels and a term of their own.

    L = (1-alpha) CE(s, y) + alpha term(s, t)

A method says what its term is, and this room does the rest, as SoftTarget does it for the term T^2 KL(p || q).
"""

from typing import Any

import numpy as np

from .. import ops as numpy_ops
from ..support.checks import TEMPERATURES, check_field
from .base import Loss, check_logits, like_student, matched, need_labels
from .cross_entropy import CrossEntropy

ROUGH = 64.0  # temperature above which logits, softened, differ by so little that float32 loses digits of a term


class LabelsAndTeacher(Loss):
    """The base of a loss that has a field `alpha` and a `term`; a field `temperature` is checked where it has one."""

    alpha: Any  # in [0, 1]: weight of the term; 0 is cross-entropy, 1 needs no labels unless the term does
    in_double = False  # whether float32 lacks range or digits for the term at every temperature, not above ROUGH only

    def __post_init__(self) -> None:
        if hasattr(self, "temperature"):
            check_field(self, "temperature", TEMPERATURES)
        check_field(self, "alpha", "[0, 1]")

    def term(self, s: np.ndarray, t: np.ndarray, y: np.ndarray | None, ops: Any) -> tuple[Any, np.ndarray]:
        """Value and gradient ds (B,C) of what the method asks of the student."""
        raise NotImplementedError

    def __call__(self, s: Any, t: Any, y: np.ndarray | None, ops: Any = numpy_ops) -> tuple[float, np.ndarray]:
        """Value and gradient ds (B,C). y may be None where alpha is 1, and t where it is 0."""
        s, y = matched(s, y)
        return self.unchecked(s, t, y, ops)

    def unchecked(self, s: Any, t: Any, y: np.ndarray | None, ops: Any = numpy_ops) -> tuple[float, np.ndarray]:
        if self.alpha == 0:
            return CrossEntropy().unchecked(s, t, y, ops)
        t = self.teacher(t, s)                                                  # (B,C)
        need_labels(y, self.alpha)
        return self.weighted(s, t, y, ops)

    def teacher(self, t: Any, s: np.ndarray) -> Any:
        """What the term takes as t, from what the loss was called with."""
        return like_student(t, s)

    def weighted(self, s: np.ndarray, t: np.ndarray, y: np.ndarray | None, ops: Any) -> tuple[float, np.ndarray]:
        """Value and gradient ds (B,C) of the sum, alpha above 0."""
        check_logits(s, t)  # not every term is NaN where they are: a total variation takes infinity for a sure teacher
        if self.in_double or getattr(self, "temperature", 0) > ROUGH:
            value, ds = self.term(s.astype(np.float64), t.astype(np.float64), y, numpy_ops)
            ds = narrowed(ds, s.dtype)                                          # (B,C)
        else:
            value, ds = self.term(s, t, y, ops)
        value, ds = self.alpha * value, self.alpha * ds                         # (), (B,C)
        if self.alpha < 1:
            ce, cache = ops.cross_entropy_forward(s, y)
            value = value + (1 - self.alpha) * ce                               # ()
            ds = ds + (1 - self.alpha) * ops.cross_entropy_backward(cache)      # (B,C)
        return float(value), ds


def narrowed(ds: np.ndarray, dtype: Any) -> np.ndarray:
    """A gradient (B,C) computed in float64, in the dtype of the logits; ValueError where that has no such numbers."""
    with np.errstate(over="ignore"):
        narrow = ds.astype(dtype)
    if not np.isfinite(narrow).all():
        b = int(np.argmax(~np.isfinite(narrow).all(axis=1)))
        raise ValueError(f"s must have logits that differ, those of row {b} are so close that their gradient overflows")
    return narrow
