# SPDX-License-Identifier: MIT
"""A student and its teacher, each a model of any kind, with the same classes: both serve."""

import threading
from typing import Any

import numpy as np

from ..distillation.teachers import as_probabilities, as_teacher, common_number_of_classes
from ..support.checks import check_rows


class Pair:
    """Student and teacher: each an MLP or another teacher of `distill`: a list, a function, one with predict_proba.

    classes  the number of classes; needed where neither states it, as an MLP, a QuantizedMLP or an Ensemble does

    Raises ValueError where these numbers differ or nothing states one, TypeError for what is no model.
    """

    def __init__(self, student: Any, teacher: Any, classes: int | None = None) -> None:
        self.student, self.teacher = student, teacher
        self.classes = common_number_of_classes({"student": student, "teacher": teacher}, classes)
        self.lock = threading.Lock()  # of what is counted about the two
        self._logits = {"student": as_teacher(student, self.classes), "teacher": as_teacher(teacher, self.classes)}
        self._teacher_probabilities = as_probabilities(teacher, self.classes)

    def __reduce__(self) -> tuple[Any, ...]:
        return Pair, (self.student, self.teacher, self.classes)

    def logits(self, name: str, x: np.ndarray) -> np.ndarray:
        """The logits (N,C), in float64, of the "student" or the "teacher" for x (N,I), by `as_teacher`."""
        return check_rows(f"{name} logits", self._logits[name](x), columns=self.classes, dtype=np.float64)

    def teacher_probabilities(self, x: np.ndarray) -> np.ndarray:
        """The teacher's probabilities (N,C), in float64, for x (N,I), without a floor."""
        return check_rows("teacher probabilities", self._teacher_probabilities(x), dtype=np.float64)

    def labels(self, name: str, x: np.ndarray) -> np.ndarray:
        """The likeliest class (N,) by the "student" or the "teacher" for each row of x (N,I)."""
        outputs = self.teacher_probabilities(x) if name == "teacher" else self.logits(name, x)      # (N,C)
        return np.asarray(outputs.argmax(axis=1))
