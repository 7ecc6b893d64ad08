# SPDX-License-Identifier: MIT
"""A student and its teacher, of whatever kind, asked the same way: both serve, and both know the same classes."""

import threading
from typing import Any

import numpy as np

from ..checks import check_rows, check_whole
from ..distillation import as_teacher
from ..network import MLP


class Pair:
    """Student and teacher: each an MLP, or what else `distill` can ask: a list, a function, one with predict_proba.

    classes  how many; needed where neither is an MLP that tells

    Raises ValueError where they do not have the same classes or nobody says how many, TypeError for what is no model.
    """

    def __init__(self, student: Any, teacher: Any, classes: int | None = None) -> None:
        self.student, self.teacher = student, teacher
        told = {"student": _classes(student), "teacher": _classes(teacher)}
        told["classes"] = None if classes is None else check_whole("classes", classes, minimum=2)
        known = {name: count for name, count in told.items() if count is not None}
        if not known:
            raise ValueError("classes must be given where neither student nor teacher is an MLP: nobody else tells")
        if len(set(known.values())) > 1:
            counts = ", ".join(f"{name} {count}" for name, count in known.items())
            raise ValueError(f"student and teacher must have the same number of classes, got {counts}")
        self.classes = next(iter(known.values()))
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


def _classes(model: Any) -> int | None:
    """How many classes a model, or the first member of a list that tells, says that it knows."""
    if isinstance(model, list | tuple):
        return next((count for count in map(_classes, model) if count is not None), None)
    return model.sizes[-1] if isinstance(model, MLP) else None
