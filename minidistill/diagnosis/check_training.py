# SPDX-License-Identifier: MIT
"""check_training(): tests a training loop of yours on a small student and teacher that record what it does.

Some mistakes are in no loss: it receives logits and labels without their rows, and takes no part in the update. So the
loop is given networks and a loss that record which rows are passed, in which mode and with which dropout mask, what the
loss is called with, and what the parameters are from step to step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import ops as numpy_ops
from ..data import Dataset
from ..losses import SoftTarget
from ..losses.base import Loss
from ..network import MLP
from ..support.checks import check_rows, check_seed
from . import mistakes as known
from .mistakes import Diagnosis, Finding, Mistake

ROWS, INPUTS, CLASSES = 43, 6, 5  # a prime number of rows, so that the last batch of an epoch has another size
DROPOUT = 0.3
ROUNDING = 1e-4  # logits of the same row in another batch differ by less
ENOUGH = 20      # wrong steps to judge by
FIT = 0.01       # relative error of updates that are explained by the gradients

Seen = tuple[str, tuple[Mistake, ...]] | None  # what was seen and looks like what; None where all is well

STATEMENTS = {
    "learning": "The loss is called with the student's logits, and the student's parameters change.",
    "answers": "The teacher's logits are what it says, without dropout, of the very rows that the student sees.",
    "labels": "The labels are those of the very rows that the student sees.",
    "mode": "The student learns in training mode, with its dropout, after an evaluation as before it.",
    "masks": "Each update has a dropout mask of its own.",
    "descent": "The updates go down the gradient of the loss, which is a mean over the batch already.",
    "teacher": "The teacher's parameters stay as they are.",
}


def check_training(
    train: Callable[[MLP, MLP, Dataset, Any], Any], *, seed: int = 0, backend: str = "numpy"
) -> Diagnosis:
    """Whether a training loop keeps student, teacher and labels in step, in the right mode, and follows the gradient.

    train    a function of (student, teacher, data, loss) that trains the student in place, for two epochs or more, with
             an evaluation between them where the loop has one. Both networks are MLPs with dropout; data is a Dataset
             of 43 rows, on whose labels the teacher is right; loss(s, t, y) gives value and ds, as SoftTarget() does
    seed     of the networks and the data
    backend  of both networks

    A division by the batch size shows in `student.gradients`, or by batches of more than one size.

    A wrong loop raises nothing here: the Diagnosis says what was seen, and the known mistakes that this looks like.
    What the loop itself raises goes through. Raises TypeError where `train` is no function.
    """
    if not callable(train):
        raise TypeError(f"train must be a function of student, teacher, data and loss, got {train!r}")
    check_seed(seed)
    student, teacher = (
        RecordingMLP((INPUTS, 16, CLASSES), dropout=DROPOUT, seed=seed + k, backend=backend) for k in (0, 1)
    )
    x = np.random.default_rng(seed).standard_normal((ROWS, INPUTS)).astype(np.float32)
    teacher.biases[-1][:] -= teacher.says(x).mean(axis=0)  # balances the classes: labels agree seldom by chance
    answers = teacher.says(x)                                                   # (N,C)
    labels = answers.argmax(axis=1)                                             # (N,)
    learned, taught = student.parameters.copy(), teacher.parameters.copy()
    loss = RecordingLoss(student, teacher)
    train(student, teacher, Dataset(x, labels), loss)

    found = {
        "learning": _learning(loss.steps, np.array_equal(student.parameters, learned)),
        "answers": _answers(loss.steps, teacher, answers),
        "labels": _labels(loss.steps, x, labels),
        "mode": _mode(loss.steps),
        "masks": _masks(loss.steps),
        "descent": _descent(loss.steps, student),
        "teacher": _parameters(teacher.parameters, taught),
    }
    findings = [Finding(name, STATEMENTS[name], *seen) for name, seen in found.items() if seen is not None]
    held = tuple(name for name, seen in found.items() if seen is None)
    return Diagnosis(getattr(train, "__name__", None) or repr(train), tuple(findings), held)


# ---------------------------------------------------------------------------------------------- records


class Pass(NamedTuple):
    """A forward pass: the rows, whether dropout was on, which mask it had, and the logits."""

    x: np.ndarray
    training: bool
    step: int
    logits: np.ndarray


class RecordingMLP(MLP):
    """A network that records its forward passes."""

    def __init__(self, *settings: Any, **options: Any) -> None:
        super().__init__(*settings, **options)
        self.recorded: list[Pass] = []
        self.twin = MLP(self.sizes, dropout=self.dropout, seed=self.seed, backend="numpy")  # records nothing

    def forward(
        self, x: np.ndarray, training: bool = False, step: int = 0, layerwise: bool = False
    ) -> tuple[np.ndarray, Any]:
        logits, cache = super().forward(x, training, step, layerwise)
        self.recorded.append(Pass(np.array(x), training, step, logits.copy()))
        return logits, cache

    def logits(self, x: Any) -> np.ndarray:
        """As of every network, by way of `forward` on every backend."""
        return self.forward(check_rows("x", x, columns=self.sizes[0], dtype=self.dtype))[0]

    def says(self, x: np.ndarray) -> np.ndarray:
        """Its logits in evaluation mode, without a record of it."""
        self.twin.parameters[:] = self.parameters
        return self.twin.forward(x)[0]

    def gradient(self, step: "LossCall") -> np.ndarray:
        """The gradient (P,) of the loss at a step."""
        assert step.of is not None
        self.twin.parameters[:] = step.parameters
        _, cache = self.twin.forward(step.of.x, step.of.training, step.of.step)
        self.twin.backward(step.ds, cache)
        return self.twin.gradients.astype(np.float64)


class LossCall(NamedTuple):
    """A call of the loss: the student's pass, the arguments, the right teacher logits, and the gradient ds.

    `parameters` and `gradients` are the student's at the call, before the update that follows.
    """

    of: Pass | None
    t: np.ndarray
    y: np.ndarray
    right: np.ndarray | None
    ds: np.ndarray
    parameters: np.ndarray
    gradients: np.ndarray


class RecordingLoss(Loss):
    """SoftTarget(), which notes each call."""

    def __init__(self, student: RecordingMLP, teacher: RecordingMLP) -> None:
        self.student, self.teacher = student, teacher
        self.temperature, self.alpha = SoftTarget().temperature, SoftTarget().alpha
        self.steps: list[LossCall] = []

    def __call__(self, s: np.ndarray, t: Any, y: Any, ops: Any = numpy_ops) -> tuple[float, np.ndarray]:
        of = next((each for each in reversed(self.student.recorded) if np.array_equal(each.logits, s)), None)
        right = None if of is None else self.teacher.says(of.x)
        value, ds = SoftTarget()(s, t, y, ops)
        parameters, gradients = self.student.parameters.copy(), self.student.gradients.copy()
        self.steps.append(LossCall(of, np.array(t), np.array(y), right, np.array(ds), parameters, gradients))
        return value, ds


# ---------------------------------------------------------------------------------------------- what was seen


def _learning(steps: list[LossCall], unchanged: bool) -> Seen:
    if not steps:
        return "the loss was never called", ()
    if unchanged:
        return "the student's parameters are those that it began with", ()
    strange = sum(step.of is None for step in steps)
    return (f"in {strange} of {len(steps)} steps s was not what the student had said", ()) if strange else None


def _answers(steps: list[LossCall], teacher: RecordingMLP, answers: np.ndarray) -> Seen:
    wrong = [step.t for step in steps if not _close(step.t, step.right)]
    if not wrong:
        return None
    seen = f"in {len(wrong)} of {len(steps)} steps they were not"
    noisy = [each.logits for each in teacher.recorded if each.training]
    if noisy and all(_among(t, np.concatenate(noisy)) for t in wrong[:ENOUGH]):
        return f"{seen}, but what the teacher says in training mode", (known.TEACHER_IN_TRAINING_MODE,)
    if all(_among(t, answers) for t in wrong[:ENOUGH]):
        return f"{seen}, but its answers to other rows", (known.OUT_OF_STEP,)
    return seen, ()


def _close(t: np.ndarray, right: np.ndarray | None) -> bool:
    return right is None or (t.shape == right.shape and bool(np.abs(t - right).max() < ROUNDING))


def _among(t: np.ndarray, rows: np.ndarray) -> bool:
    """Whether each row of t (B,C) is one of `rows` (N,C)."""
    distances = np.abs(t[:, None, :] - rows[None, :, :]).max(axis=2)            # (B,N)
    return bool((distances.min(axis=1) < ROUNDING).all())


def _labels(steps: list[LossCall], x: np.ndarray, labels: np.ndarray) -> Seen:
    """Whether labels agree with those of the nearest row of `data` no better than with those of any row.

    Batches of a size are judged together: label noise and augmentations change some labels, a slip those of a batch.
    """
    agree: dict[int, list[bool]] = {}
    for step in steps:
        if step.of is not None and step.y.ndim == 1:
            nearest = np.linalg.norm(step.of.x[:, None] - x[None], axis=2).argmin(axis=1)  # (B,)
            agree.setdefault(len(nearest), []).extend(labels[nearest] == step.y)
    by_chance = float(np.square(np.bincount(labels) / len(labels)).sum())
    for B, right in agree.items():
        if np.mean(right) < (1 + by_chance) / 2:
            seen = f"in batches of {B} rows, {len(right) - sum(right)} of {len(right)} labels were those of other rows"
            return seen, (known.LABELS_OUT_OF_STEP,)
    return None


def _mode(steps: list[LossCall]) -> Seen:
    without = [k for k, step in enumerate(steps) if step.of is not None and not step.of.training]
    if not without:
        return None
    seen = f"from step {without[0] + 1} on {len(without)} of {len(steps)} steps went without the student's dropout"
    return seen, (known.STUDENT_IN_EVALUATION_MODE,)


def _masks(steps: list[LossCall]) -> Seen:
    """Passes between two updates may share a mask, as the parts of one batch do."""
    first: dict[int, np.ndarray] = {}
    repeated = []
    for step in steps:
        if step.of is not None and step.of.training:
            parameters = first.setdefault(step.of.step, step.parameters)
            if not np.array_equal(parameters, step.parameters):
                repeated.append(step.of.step)
    if not repeated:
        return None
    seen = f"{len(repeated)} of {len(steps)} steps had the mask of an earlier one, the first of them that of step="
    return f"{seen}{repeated[0]}", (known.SAME_MASK,)


def _descent(steps: list[LossCall], student: RecordingMLP) -> Seen:
    """Whether the updates follow the gradients g of the loss: change = -rate g, beside momentum and weight decay.

    A least-squares fit on g, the parameters, and both and the change of the step before, covers SGD with momentum,
    Nesterov's too, and weight decay. Other optimizers, and rates that change, leave a larger error. What follows the
    last step is left out, if it is not the only one: after that a loop may restore its best parameters.
    """
    after = [(step.parameters, step.gradients) for step in steps[1:]] or [(student.parameters, student.gradients)]
    updates = [
        (step, parameters, left)  # `left` are the gradients that the student was left with
        for step, (parameters, left) in zip(steps, after, strict=False)
        if step.of is not None and not np.array_equal(parameters, step.parameters)
    ]
    if not updates:
        return None
    sizes = np.array([[len(step.ds)] for step, _, _ in updates])                # (K,1)
    before = np.stack([step.parameters for step, _, _ in updates])              # (K,P)
    changes = np.stack([parameters for _, parameters, _ in updates]) - before   # (K,P)
    gradients = np.stack([student.gradient(step) for step, _, _ in updates])    # (K,P)
    rise = float((changes * gradients).sum() / len(updates))
    share, error = _explained(changes, before, gradients)
    if rise > 0 and share > 0.1:
        return f"to first order, an update raises the loss by {rise:.2g} on average", (known.ASCENT,)
    _, error_over_B = _explained(changes, before, gradients / sizes)
    multiples = [_multiple(left, g) for (_, _, left), g in zip(updates, gradients, strict=True)]
    shrunk = (sizes[:, 0] * multiples)[sizes[:, 0] > 1]
    if len(shrunk) and np.allclose(shrunk, 1, rtol=FIT) and (error > FIT or error_over_B < FIT):
        return "the student is left with gradients that are 1/B of those of the loss", (known.BATCH_TWICE,)
    if error_over_B < FIT and error > 10 * error_over_B:
        return "the updates are in proportion to 1/B times the gradient of the loss", (known.BATCH_TWICE,)
    return None


def _multiple(given: np.ndarray, of: np.ndarray) -> float:
    """The factor of `given` = factor * `of`; NaN where it is no multiple."""
    if not of.any():
        return np.nan
    factor = float(given @ of / (of @ of))
    return factor if np.linalg.norm(given - factor * of) <= FIT * np.linalg.norm(given) else np.nan


def _explained(changes: np.ndarray, parameters: np.ndarray, gradients: np.ndarray) -> tuple[float, float]:
    """The signed share of the changes that the fit assigns to the gradient, and the relative error of the fit."""
    earlier = [np.vstack([np.zeros_like(each[:1]), each[:-1]]) for each in (gradients, parameters, changes)]
    A = np.stack([column.ravel() for column in (gradients, parameters, *earlier)], axis=1)      # (KP,5)
    A /= np.maximum(np.linalg.norm(A, axis=0), np.finfo(np.float32).tiny)       # (KP,5)  each column of length 1
    total = changes.ravel().astype(float)                                       # (KP,)
    fit = np.linalg.lstsq(A, total, rcond=None)[0]                              # (5,)
    size = np.linalg.norm(total)
    return float(fit[0] / size), float(np.linalg.norm(A @ fit - total) / size)


def _parameters(now: np.ndarray, before: np.ndarray) -> Seen:
    changed = int((now != before).sum())
    return (f"{changed} of {now.size} have changed", (known.GRADIENT_INTO_TEACHER,)) if changed else None
