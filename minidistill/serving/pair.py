# SPDX-License-Identifier: MIT
"""A student and its teacher, of whatever kind, asked the same way: both serve, and both know the same classes."""

import threading
from typing import Any

import numpy as np

from ..checks import check_rows
from ..teachers import as_teacher, common_number_of_classes


class Pair:
    """Student and teacher: each an MLP, or what else `distill` can ask: a list, a function, one with predict_proba.

    classes  the number of classes; needed where neither states it, as an MLP, a QuantizedMLP or an Ensemble does

    Raises ValueError where these numbers differ or nothing states one, TypeError for what is no model.
    """

    def __init__(self, student: Any, teacher: Any, classes: int | None = None) -> None:
        self.student, self.teacher = student, teacher
        self.classes = common_number_of_classes({"student": student, "teacher": teacher}, classes)
        self.lock = threading.Lock()  # of what is counted about the two
        self._ask = {"student": as_teacher(student, self.classes), "teacher": as_teacher(teacher, self.classes)}

    def __reduce__(self) -> tuple[Any, ...]:
        return Pair, (self.student, self.teacher, self.classes)

    def logits(self, name: str, x: np.ndarray) -> np.ndarray:
        """The logits (N,C), in float64, of the "student" or the "teacher" for x (N,I)."""
        return check_rows(f"{name} logits", self._ask[name](x), columns=self.classes, dtype=np.float64)

    def labels(self, name: str, x: np.ndarray) -> np.ndarray:
        """The likeliest class (N,) by the "student" or the "teacher" for each row of x (N,I)."""
        return np.asarray(self.logits(name, x).argmax(axis=1))
