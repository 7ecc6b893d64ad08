# SPDX-License-Identifier: MIT
"""Cascade: the student predicts where its confidence is high, and the teacher predicts the rest.

Confidence is the student's largest probability, calibrated by a temperature (Guo et al. 2017). Its threshold is chosen
on validation rows, for a wanted accuracy or cost. Several thresholds are tried on the same rows, and the bound holds
for the one that is chosen. Derived in docs/guides/serving.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from types import SimpleNamespace
from typing import Any

import numpy as np

from .. import ops
from ..data import Dataset
from ..support.checks import check_choice, check_labels, check_number, check_rows, check_seed
from ..support.deprecation import renamed_attribute
from ..training.evaluation import seconds_per_call, size_of
from .bounds import binomial_tail, lower_bound
from .pair import Pair

CALIBRATION = 0.25  # of the validation rows: they choose the temperature and the thresholds to try, the rest decides
COOLEST, HOTTEST = 0.05, 20.0  # a student that is right about every row would like a temperature of 0
HALVINGS = 50
CANDIDATES = 40  # thresholds to try, besides always and never

# ---------------------------------------------------------------------------------------------- how sure


def calibration_forward(s, b, y):  # type: ignore[no-untyped-def]  # s (N,C)  b = 1/T  y (N,)
    log_q, _ = ops.log_softmax_forward(b * s)                                   # (N,C)
    loss = -log_q[np.arange(len(y)), y].mean()                                  # ()                       [SERVE-6]
    return loss, (s, y, log_q)


def calibration_backward(cache):  # type: ignore[no-untyped-def]
    s, y, log_q = cache
    expected = (np.exp(log_q) * s).sum(axis=1)                                  # (N,)
    return (expected - s[np.arange(len(y)), y]).mean()                          # () for b                 [SERVE-7]


def fit_temperature(s: Any, y: Any) -> float:
    """The temperature T, from 0.05 to 20, at which softmax(s / T) makes the labels likeliest (Guo et al. 2017, 4.2).

    s (N,C) logits of rows that the network was not trained on, y (N,) their labels. The derivative with respect to
    b = 1 / T grows with b, so halving finds where it is zero.
    """
    s = check_rows("logits", s, dtype=np.float64)
    y = check_labels("y", y, len(s), s.shape[1])
    low, high = math.log(1 / HOTTEST), math.log(1 / COOLEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        _, cache = calibration_forward(s, math.exp(middle), y)
        low, high = (middle, high) if calibration_backward(cache) < 0 else (low, middle)
    return math.exp(-(low + high) / 2)


# ---------------------------------------------------------------------------------------------- the cascade


@dataclass(frozen=True)
class OperatingPoint:
    """What to expect of a cascade, by the validation rows that had no part in its calibration.

    Proven is what was wanted and no more: a better bound for the threshold that was chosen would be one picked by luck.
    """

    rows: int               # that it was measured on
    accuracy: float         # measured
    accuracy_at_least: float | None  # proven, but for a chance of delta, where an accuracy was wanted
    deferral_rate: float    # fraction of the rows that the teacher predicts, measured
    cost: float | None      # a row, measured; None where a model cannot say what it takes
    cost_at_most: float | None       # proven, but for a chance of delta, where a cost was wanted
    student_cost: float | None
    teacher_cost: float | None
    unit: str               # of the costs
    delta: float

    teacher_share = renamed_attribute("OperatingPoint.teacher_share", "deferral_rate")


class Cascade:
    """The student's prediction where its confidence is above the threshold, and the teacher's everywhere else.

    student, teacher  MLPs or other teachers of `distill`: a list, a function to logits, an object with predict_proba
    threshold         in [0, 1]: at 0 the student predicts all rows, at 1 none. The confidence of a student that has
                      `predict_proba` and no `logits` is below 0.96, since its probabilities have a floor (teachers.py)
    temperature       divides the student's logits before its confidence is looked at; `fit_temperature` finds one
    classes           the number of classes; needed where neither model states it, as an MLP does

    `Cascade.for_accuracy` and `Cascade.for_cost` choose threshold and temperature and set `operating_point`. Any number
    of threads may predict with one cascade. Raises ValueError where the two models do not have the same classes,
    TypeError for what is no model.
    """

    operating_point: OperatingPoint | None = None

    plan = renamed_attribute("Cascade.plan", "operating_point")
    teacher_share = renamed_attribute("Cascade.teacher_share", "deferral_rate")

    def __init__(
        self, student: Any, teacher: Any, threshold: float, temperature: float = 1.0, classes: int | None = None
    ) -> None:
        self.threshold = check_number("threshold", threshold, "[0, 1]")
        self.temperature = check_number("temperature", temperature, "[1e-6, inf)")
        self.pair = Pair(student, teacher, classes)
        self.rows = self.rows_sent = 0  # since it was made

    @property
    def deferral_rate(self) -> float:
        """The fraction of all rows so far that was sent to the teacher; 0 before the first."""
        return self.rows_sent / max(self.rows, 1)

    def predict_proba(self, x: Any) -> np.ndarray:
        """Probabilities (N,C) of x (N,I), the student's or the teacher's; ValueError for NaN or infinity in x."""
        x = check_rows("x", x)
        s = self.pair.logits("student", x)                                      # (N,C)
        probabilities: np.ndarray = ops.softmax_forward(s, self.temperature)[0]  # (N,C)
        sent = probabilities.max(axis=1) <= self.threshold                      # (N,)
        if sent.any():
            probabilities[sent] = self.pair.teacher_probabilities(x[sent])
        with self.pair.lock:
            self.rows += len(x)
            self.rows_sent += int(sent.sum())
        return probabilities

    def predict(self, x: Any) -> np.ndarray:
        """The likeliest class (N,) of each row of x (N,I)."""
        return np.asarray(self.predict_proba(x).argmax(axis=1))

    @classmethod
    def for_accuracy(
        cls, student: Any, teacher: Any, validation: Dataset, accuracy: float, *, delta: float = 0.05,
        costs: str | Sequence[float] = "multiply_adds", classes: int | None = None, seed: int = 0,
    ) -> "Cascade":  # fmt: skip
        """The cascade with the lowest deferral rate among those proven to be this accurate, but for a chance of delta.

        validation  labeled rows that neither model was trained on; a quarter calibrates, the others decide
        accuracy    wanted of the cascade as a whole, in (0, 1)
        costs       of a row: "multiply_adds", "seconds" (measured here, in one call), or two numbers for the two
        seed        of which rows calibrate

        Thresholds are tested from 1, the teacher alone, downwards, as long as each is proven at level delta by itself:
        fixed-sequence testing needs no more to hold for the last.                                          [SERVE-8]

        Raises ValueError, with the accuracy that can be proven, where not even the teacher alone is that accurate.
        """
        check_number("accuracy", accuracy, "(0, 1)")
        trial = _Trial(Pair(student, teacher, classes), validation, delta, seed, costs)
        right = trial.right[::-1]
        proven = (binomial_tail(k, trial.rows, accuracy) <= delta for k in right)
        passed = sum(takewhile(bool, proven))  # before the first that is not
        if passed == 0:
            raise ValueError(
                f"accuracy {accuracy:g} cannot be reached: the best is {lower_bound(right[0], trial.rows, delta):.4f}, "
                f"which the teacher proves with {right[0]} of {trial.rows} rows right; more rows would prove more"
            )
        return trial.cascade(-passed, accuracy_at_least=accuracy)

    @classmethod
    def for_cost(
        cls, student: Any, teacher: Any, validation: Dataset, cost: float, *, delta: float = 0.05,
        costs: str | Sequence[float] = "multiply_adds", classes: int | None = None, seed: int = 0,
    ) -> "Cascade":  # fmt: skip
        """The cascade with the highest deferral rate among those proven to cost no more, but for a chance of delta.

        cost  of a row, on average, in the unit of `costs`; all else as in `for_accuracy`

        Thresholds are tested from 0, the student alone, upwards. Raises ValueError, with the lowest possible cost,
        where the student alone costs more.
        """
        check_number("cost", cost, "(0, inf)")
        trial = _Trial(Pair(student, teacher, classes), validation, delta, seed, costs)
        student_cost, teacher_cost = trial.costs
        if student_cost is None or teacher_cost is None:
            raise ValueError("costs must be two numbers, of student and teacher: one of them cannot say its own")
        if cost < student_cost:
            raise ValueError(f"cost {cost:g} cannot be reached: the student alone costs {student_cost:g} a row")
        share = min((cost - student_cost) / teacher_cost, 1.0)
        sent = trial.sent[1:]  # the first threshold, 0, needs no proof
        proven = (share == 1 or binomial_tail(trial.rows - k, trial.rows, 1 - share) <= delta for k in sent)
        passed = sum(takewhile(bool, proven))
        most = student_cost + share * teacher_cost if passed else student_cost
        return trial.cascade(passed, cost_at_most=most)


# ---------------------------------------------------------------------------------------------- trying thresholds


class _Trial:
    """The predictions of both for the rows that decide, and the thresholds to try on them, from 0 to 1.

    Thresholds and temperature come from other rows, so that they do not depend on the rows that decide.
    """

    def __init__(
        self, pair: Pair, validation: Dataset, delta: float, seed: int, costs: str | Sequence[float] = "multiply_adds"
    ) -> None:
        self.pair, self.delta = pair, check_number("delta", delta, "(0, 1)")
        if not isinstance(validation, Dataset) or validation.y is None:
            raise ValueError("validation must be a Dataset with labels")
        check_labels("validation.y", validation.y, len(validation), pair.classes)
        if len(validation) < 2:
            raise ValueError("validation must have at least 2 rows, one to calibrate on and one to decide, got 1")
        order = np.random.default_rng(check_seed(seed)).permutation(len(validation))        # (n+N,)
        count = max(int(CALIBRATION * len(order)), 1)
        # Not `split`, which is stratified: the classes of one part would tell of those of the other.
        calibrating, deciding = validation.subset(order[:count]), validation.subset(order[count:])
        s = pair.logits("student", calibrating.x)                               # (n,C)
        self.temperature = fit_temperature(s, calibrating.y)
        quantiles = np.quantile(self._confidence(s), np.linspace(0, 1, CANDIDATES))
        self.thresholds = sorted({0.0, *quantiles.tolist(), 1.0})
        s = pair.logits("student", deciding.x)                                  # (N,C)
        student_right = s.argmax(axis=1) == deciding.y                          # (N,)
        teacher_right = pair.labels("teacher", deciding.x) == deciding.y        # (N,)
        sent = self._confidence(s)[:, None] <= np.array(self.thresholds)        # (N,T)
        right = np.where(sent, teacher_right[:, None], student_right[:, None])  # (N,T)
        self.sent: list[int] = sent.sum(axis=0).tolist()  # rows that go to the teacher at each threshold,
        self.right: list[int] = right.sum(axis=0).tolist()  # and those that the cascade predicts correctly
        self.rows = len(deciding)
        self.costs = _costs_per_row(pair, costs, deciding.x)
        self.unit = costs if isinstance(costs, str) else "given"

    def _confidence(self, s: np.ndarray) -> np.ndarray:
        return np.asarray(ops.softmax_forward(s, self.temperature)[0].max(axis=1))

    def cascade(self, k: int, accuracy_at_least: float | None = None, cost_at_most: float | None = None) -> Cascade:
        """The cascade of threshold k, and its operating point."""
        rate, accuracy = self.sent[k] / self.rows, self.right[k] / self.rows
        student, teacher = self.costs
        cost = None if student is None or teacher is None else student + rate * teacher
        made = Cascade(self.pair.student, self.pair.teacher, self.thresholds[k], self.temperature, self.pair.classes)
        made.operating_point = OperatingPoint(
            self.rows, accuracy, accuracy_at_least, rate, cost, cost_at_most, *self.costs, self.unit, self.delta
        )
        return made


def _costs_per_row(pair: Pair, costs: str | Sequence[float], x: np.ndarray) -> tuple[float | None, float | None]:
    """What a row costs student and teacher: given, stated by the models, or measured; None where one cannot say."""
    if not isinstance(costs, str):
        if len(costs) != 2:
            raise ValueError(f"costs must be two numbers, of student and teacher, got {costs!r}")
        student, teacher = (check_number("each of costs", cost, "(0, inf)") for cost in costs)
        return student, teacher
    if check_choice("costs", costs, ("multiply_adds", "seconds")) == "multiply_adds":
        return size_of(pair.student, costs), size_of(pair.teacher, costs)

    def seconds(name: str) -> float:  # by `pair`, since not every model has predict_proba, which is what can be timed
        return seconds_per_call(SimpleNamespace(predict_proba=partial(pair.logits, name)), x) / len(x)

    return seconds("student"), seconds("teacher")
