# SPDX-License-Identifier: MIT
"""What every loss has in common: how it is called, and what it refuses."""

import math
from typing import Any, Protocol

import numpy as np

from ..checks import check_finite, check_labels


class Loss(Protocol):
    """A callable from (s, t, y) to (value, ds); `ops` is the backend that does the arithmetic.

    s, t and ds are arrays of logits; they are Outputs where the loss says `wants_hidden = True`.
    """

    def __call__(self, s: Any, t: Any, y: np.ndarray | None, ops: Any = ...) -> tuple[float, Any]: ...


def matched(s: Any, t: Any, y: Any) -> tuple[Any, Any, Any]:
    """s (B,C), t (B,C) or None, y (B,) labels or (B,C) probabilities or None, in the dtype of s.

    Refuses what does not belong together: broadcasting, and negative indices, would hide the mistake.
    """
    s = np.asarray(s)
    if s.ndim != 2 or len(s) == 0:
        raise ValueError(f"s must be logits of shape (B, C) with at least one row, got shape {s.shape}")
    if t is not None:
        if not isinstance(t, np.ndarray | list):
            raise TypeError(f"t must be an array of logits, got {type(t).__name__}")
        t = np.asarray(t).astype(s.dtype, copy=False)
        if t.shape != s.shape:
            raise ValueError(f"t must have the shape of s, {s.shape}, got {t.shape}")
    if y is not None:
        y = np.asarray(y)
        if y.ndim == 1:
            return s, t, check_labels("y", y, *s.shape)
        y = y.astype(s.dtype, copy=False)
        if y.shape != s.shape:
            raise ValueError(f"y must have shape {s.shape[:1]} (labels) or {s.shape} (probabilities), got {y.shape}")
        if not np.allclose(y.sum(axis=1), 1, atol=1e-3):
            raise ValueError("y must have rows of probabilities that sum to 1")
    return s, t, y


def checked(value: Any, s: np.ndarray, t: np.ndarray | None, what: str = "logits") -> float:
    """`value` as a float. NaN and infinity in s and t always reach it, so nothing is searched while it is finite."""
    if not math.isfinite(value):
        check_finite(f"s (student {what})", s)
        if t is not None:
            check_finite(f"t (teacher {what})", t)
    return float(value)
