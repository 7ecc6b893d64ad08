# SPDX-License-Identifier: MIT
"""What every loss has in common: how it is called, and what it refuses."""

import math
from typing import Any, Protocol

import numpy as np

from ..checks import check_finite


class Loss(Protocol):
    """A callable from (s, t, y) to (value, ds); `ops` is the backend that does the arithmetic."""

    def __call__(
        self, s: np.ndarray, t: np.ndarray | None, y: np.ndarray | None, ops: Any = ...
    ) -> tuple[float, np.ndarray]: ...


def check_match(s: np.ndarray, t: np.ndarray | None, y: np.ndarray | None) -> None:
    """Refuses teacher logits or labels that do not belong to s (B,C): broadcasting would hide the mistake."""
    if s.ndim != 2:
        raise ValueError(f"s must be logits of shape (B, C), got shape {s.shape}")
    if t is not None and t.shape != s.shape:
        raise ValueError(f"t must have the shape of s, {s.shape}, got {t.shape}")
    if y is not None and y.shape not in (s.shape[:1], s.shape):
        raise ValueError(f"y must have shape {s.shape[:1]} (labels) or {s.shape} (probabilities), got {y.shape}")


def checked(value: Any, s: np.ndarray, t: np.ndarray | None) -> float:
    """`value` as a float. NaN and infinity in the logits always reach it, so nothing is searched while it is finite."""
    if not math.isfinite(value):
        check_finite("s (student logits)", s)
        if t is not None:
            check_finite("t (teacher logits)", t)
    return float(value)
