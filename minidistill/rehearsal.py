# SPDX-License-Identifier: MIT
"""check_training(): a training loop of one's own, rehearsed on a small student and teacher and watched.

Some mistakes are in no loss. The loss gets its logits, and cannot know whose they are. So the loop is given networks
and a loss that write down what is asked of them: which rows, in which mode, and what the teacher's answers were.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import ops as numpy_ops
from .checks import check_seed
from .data import Dataset
from .losses import SoftTarget
from .losses.base import Addable
from .mistakes import (
    GRADIENT_INTO_TEACHER,
    OUT_OF_STEP,
    STUDENT_IN_EVALUATION_MODE,
    TEACHER_IN_TRAINING_MODE,
    Diagnosis,
    Finding,
    Mistake,
)
from .network import MLP

ROWS, INPUTS, CLASSES = 40, 6, 5
DROPOUT = 0.3
ROUNDING = 1e-4  # logits of the same row in another batch differ by less
ENOUGH = 20      # wrong steps to judge by

Seen = tuple[str, tuple[Mistake, ...]] | None  # what was seen and looks like what; None where all is well

STATEMENTS = {
    "learning": "The loss is called with the student's logits, and the student's parameters change.",
    "answers": "The teacher's logits are what it says, without dropout, of the very rows that the student sees.",
    "mode": "The student learns in training mode, with its dropout, after an evaluation as before it.",
    "teacher": "The teacher's parameters stay as they are.",
}


def check_training(train: Callable[[MLP, MLP, Dataset, Any], Any], *, seed: int = 0) -> Diagnosis:
    """Whether a training loop keeps teacher and student apart, in step, and in the right mode.

    train  a function of (student, teacher, data, loss) that trains the student in place, for two epochs or more, with
           an evaluation between them where the loop has one. Both networks are MLPs with dropout; data is a Dataset of
           40 rows, on whose labels the teacher is right; loss(s, t, y) gives the value and ds, as SoftTarget() does
    seed   of the networks and the data

    A wrong loop raises nothing here: the Diagnosis says what was seen, and the known mistakes that this looks like.
    What the loop itself raises goes through. Raises TypeError where `train` is no function.
    """
    if not callable(train):
        raise TypeError(f"train must be a function of student, teacher, data and loss, got {train!r}")
    check_seed(seed)
    student, teacher = (Watched((INPUTS, 16, CLASSES), dropout=DROPOUT, seed=seed + k, backend="numpy") for k in (0, 1))
    x = np.random.default_rng(seed).standard_normal((ROWS, INPUTS)).astype(np.float32)
    answers = teacher.says(x)                                                   # (N,C)
    learned, taught = student.parameters.copy(), teacher.parameters.copy()
    loss = Listening(student, teacher)
    train(student, teacher, Dataset(x, answers.argmax(axis=1)), loss)

    found = {
        "learning": _learning(loss.steps, np.array_equal(student.parameters, learned)),
        "answers": _answers(loss.steps, teacher, answers),
        "mode": _mode(loss.steps),
        "teacher": _parameters(teacher.parameters, taught),
    }
    findings = [Finding(name, STATEMENTS[name], *seen) for name, seen in found.items() if seen is not None]
    held = tuple(name for name, seen in found.items() if seen is None)
    return Diagnosis(getattr(train, "__name__", None) or repr(train), tuple(findings), held)


# ---------------------------------------------------------------------------------------------- who writes down what


@dataclass(frozen=True)
class Pass:
    """A forward pass: the rows, whether dropout was on, and the logits."""

    x: np.ndarray
    training: bool
    logits: np.ndarray


class Watched(MLP):
    """A network that keeps what was asked of it."""

    def __init__(self, *settings: Any, **options: Any) -> None:
        super().__init__(*settings, **options)
        self.asked: list[Pass] = []

    def forward(
        self, x: np.ndarray, training: bool = False, step: int = 0, layerwise: bool = False
    ) -> tuple[np.ndarray, Any]:
        logits, cache = super().forward(x, training, step, layerwise)
        self.asked.append(Pass(x, training, logits.copy()))
        return logits, cache

    def says(self, x: np.ndarray) -> np.ndarray:
        """Its logits in evaluation mode, without a note of it."""
        return super().forward(x)[0]


@dataclass(frozen=True)
class Step:
    """A call of the loss: the pass that the student's logits are from, what came as the teacher's, what is right."""

    of: Pass | None
    t: np.ndarray | None
    right: np.ndarray | None


class Listening(Addable):
    """SoftTarget(), which notes each call."""

    def __init__(self, student: Watched, teacher: Watched) -> None:
        self.student, self.teacher = student, teacher
        self.temperature, self.alpha = SoftTarget().temperature, SoftTarget().alpha
        self.steps: list[Step] = []

    def __call__(
        self, s: np.ndarray, t: Any, y: np.ndarray | None, ops: Any = numpy_ops
    ) -> tuple[float, np.ndarray]:
        of = next((each for each in reversed(self.student.asked) if np.array_equal(each.logits, s)), None)
        right = None if of is None else self.teacher.says(of.x)
        self.steps.append(Step(of, None if t is None else np.array(t), right))
        return SoftTarget()(s, t, y, ops)


# ---------------------------------------------------------------------------------------------- what was seen


def _learning(steps: list[Step], unchanged: bool) -> Seen:
    if not steps:
        return "the loss was never called", ()
    if unchanged:
        return "the student's parameters are those that it began with", ()
    strange = sum(step.of is None for step in steps)
    return (f"in {strange} of {len(steps)} steps s was not what the student had said", ()) if strange else None


def _answers(steps: list[Step], teacher: Watched, answers: np.ndarray) -> Seen:
    wrong = [step.t for step in steps if step.t is not None and not _close(step.t, step.right)]
    if not wrong:
        return None
    seen = f"in {len(wrong)} of {len(steps)} steps they were not"
    noisy = [each.logits for each in teacher.asked if each.training]
    if noisy and all(_among(t, np.concatenate(noisy)) for t in wrong[:ENOUGH]):
        return f"{seen}, but what the teacher says in training mode", (TEACHER_IN_TRAINING_MODE,)
    if all(_among(t, answers) for t in wrong[:ENOUGH]):
        return f"{seen}, but its answers to other rows", (OUT_OF_STEP,)
    return seen, ()


def _close(t: np.ndarray, right: np.ndarray | None) -> bool:
    return right is None or (t.shape == right.shape and bool(np.abs(t - right).max() < ROUNDING))


def _among(t: np.ndarray, rows: np.ndarray) -> bool:
    """Whether each row of t (B,C) is one of `rows` (N,C)."""
    distances = np.abs(t[:, None, :] - rows[None, :, :]).max(axis=2)            # (B,N)
    return bool((distances.min(axis=1) < ROUNDING).all())


def _mode(steps: list[Step]) -> Seen:
    without = [k for k, step in enumerate(steps) if step.of is not None and not step.of.training]
    if not without:
        return None
    seen = f"from step {without[0] + 1} on {len(without)} of {len(steps)} steps went without the student's dropout"
    return seen, (STUDENT_IN_EVALUATION_MODE,)


def _parameters(now: np.ndarray, before: np.ndarray) -> Seen:
    changed = int((now != before).sum())
    return (f"{changed} of {now.size} have changed", (GRADIENT_INTO_TEACHER,)) if changed else None
