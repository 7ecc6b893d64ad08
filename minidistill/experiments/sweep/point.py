# SPDX-License-Identifier: MIT
"""A point of a sweep: one student at one place of the grid, trained by `distill` and measured on validation data.

Its result depends on its hyperparameters and its seed alone, not on where and in which order points are trained.
"""

import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...data import Dataset
from ...distillation.soft_targets import SoftTargets
from ...distillation.student import distill
from ...kernels import one_thread
from ...losses import SoftTarget
from ...network import MLP
from ...support.checks import TEMPERATURES, check_number, check_seed, check_whole
from ...support.files import digest


class Setting(NamedTuple):
    """A place in the grid."""

    width: int
    temperature: float
    alpha: float
    seed: int


@dataclass(frozen=True)
class Point:
    """One student: its setting, and what became of it on the validation data; fractions."""

    width: int
    temperature: float
    alpha: float
    seed: int
    accuracy: float | None     # None where the training failed
    agreement: float | None    # with the teacher; None also where the teacher could not be asked
    seconds: float
    reason: str | None = None  # why the training failed

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "Point":
        """The point with these fields; TypeError or ValueError where one is missing, unknown or out of its range."""
        point = cls(**fields)
        check_whole("width", point.width)
        check_number("temperature", point.temperature, TEMPERATURES)
        check_number("alpha", point.alpha, "[0, 1]")
        check_seed(point.seed)
        check_number("seconds", point.seconds, "[0, inf)")
        for name, figure in (("accuracy", point.accuracy), ("agreement", point.agreement)):
            if figure is not None:
                check_number(name, figure, "[0, 1]")
        if (point.accuracy is None) != isinstance(point.reason, str):
            raise ValueError(f"a point has an accuracy or a reason, got {point.accuracy} and {point.reason!r}")
        return point

    @property
    def setting(self) -> Setting:
        return Setting(self.width, self.temperature, self.alpha, self.seed)


@dataclass(frozen=True)
class Common:
    """What all points share. It is arrays and settings alone, so that it can go to another process or machine."""

    training: Dataset            # float32, as the students are
    validation: Dataset
    targets: SoftTargets         # the teacher's logits (N,C) for the training rows
    answers: np.ndarray | None   # its classes (N,) for the validation rows
    hyperparameters: dict[str, Any]  # all but those of the grid

    def student(self, width: int, seed: int = 0) -> MLP:
        given = self.hyperparameters
        sizes = (self.training.x.shape[1], *[width] * given["hidden_layers"], self.targets.logits.shape[1])
        return MLP(sizes, given["activation"], given["dropout"], seed, backend=given["backend"])

    def train(self, setting: Setting) -> Point:
        """The point at `setting`: a student distilled and measured, on one thread. One that diverges has failed."""
        start = time.perf_counter()
        student, loss = self.student(setting.width, setting.seed), SoftTarget(setting.temperature, setting.alpha)
        options = {name: self.hyperparameters[name] for name in ("epochs", "batch_size", "optimizer")}
        if self.hyperparameters["patience"] is not None:
            options |= {"validation": self.validation, "patience": self.hyperparameters["patience"]}
        with one_thread(self.hyperparameters["backend"]):
            try:
                distill(
                    self.targets, student, self.training, loss, seed=setting.seed, progress=False, check_teacher=False,
                    **options,
                )  # fmt: skip
            except ArithmeticError as error:
                return Point(*setting, None, None, time.perf_counter() - start, str(error))
            said = student.predict(self.validation.x)                           # (N,)
        accuracy = float((said == self.validation.y).mean())
        agreement = None if self.answers is None else float((said == self.answers).mean())
        return Point(*setting, accuracy, agreement, time.perf_counter() - start)

    def fingerprint(self) -> dict[str, Any]:
        """What tells this sweep from others, whose points would not belong to its own."""
        return {
            "training": digest(self.training.x, self.training.y),
            "validation": digest(self.validation.x, self.validation.y),
            "teacher": digest(self.targets.logits, self.answers),
            **self.hyperparameters,
            "optimizer": repr(self.hyperparameters["optimizer"]),
        }
