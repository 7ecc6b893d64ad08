# SPDX-License-Identifier: MIT
"""QualityGate: a few of the live inputs go to the teacher as well, and a fall of agreement raises an alarm.

No labels are needed. The student serves every input; a chosen share of them, picked by nothing but their number in the
stream, the teacher answers too. What was promised of their agreement is then put to the test, for as long as the
student serves, with the number of false alarms said beforehand (derived in docs/guides/serving.md).
"""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import ops
from ..data import Dataset
from ..network import MLP
from ..support.checks import check_number, check_rows, check_seed, check_whole
from ..support.files import check_place, check_same_run, digest, read_npz, write_npz
from .bounds import ODDS, add_evidence, alarm_level, confidence_sequence, evidence, lower_bound
from .pair import Pair

WATCH = 0.1  # of the evidence that an alarm takes: from there on it is worth a look
KIND = "quality-gate"


def sampled(first: int, count: int, share: float, seed: int) -> np.ndarray:
    """Which of the inputs number first, first + 1, ... (count,) are watched: a function of seed and number alone.

    An input is watched where the hash of its number, as evenly spread as chance, is below share 2^32: what the input
    holds plays no part.                                                                                    [SERVE-9]
    """
    numbers = np.arange(first, first + count, dtype=np.uint64)                  # (count,)
    key = np.ones(1, np.uint32)                                                 # (1,)  not 0, whose hash is 0
    for word in (seed & 0xFFFFFFFF, seed >> 32):
        key = ops.hash32(key + np.uint32(word))                                 # (1,)
    high = ops.hash32(key + (numbers >> np.uint64(32)).astype(np.uint32))       # (count,)
    bits = ops.hash32(high + numbers.astype(np.uint32))                         # (count,)  lowest 32 bits
    return np.asarray(bits < share * 2**32)


@dataclass(frozen=True)
class Watched:
    """What a gate saw in one batch, and what it says of all batches so far."""

    labels: np.ndarray  # (N,) the student's answers
    watched: int        # rows of this batch that the teacher answered too
    agreed: int         # of those, where both named the same class
    interval: tuple[float, float]  # for the agreement so far: see `QualityGate.interval`
    verdict: str        # "ok", "watch" or "alarm"


class QualityGate:
    """Watches whether a student still agrees with its teacher as often as was promised.

    student, teacher  MLPs or other teachers of `distill`: a list, a function to logits, an object with predict_proba
    promised      the agreement, in (0, 1); `QualityGate.from_validation` finds one
    share         of the inputs that the teacher is asked about too, in (0, 1]
    false_alarms  the chance of an alarm within `horizon` inputs while the promise is kept, in (0, 1)
    horizon       inputs, watched or not; in m times as many the chance is at most m times as large
    seed          of which inputs are watched
    file          where the gate is kept after each batch; it resumes from a file that is there
    classes       the number of classes; needed where neither model states it, as an MLP does

    An alarm stays, whatever comes later: it says that the student no longer does what it was let in for. Once it has
    been seen to, begin a new gate with a new file.

    Raises ValueError or TypeError for bad settings, for a file that is damaged or belongs to other models or settings.
    """

    def __init__(
        self, student: Any, teacher: Any, promised: float, share: float = 0.05, *, false_alarms: float = 0.05,
        horizon: int = 100_000, seed: int = 0, file: str | os.PathLike[str] | None = None, classes: int | None = None,
    ) -> None:  # fmt: skip
        self.pair = Pair(student, teacher, classes)
        self.promised = check_number("promised", promised, "(0, 1)")
        self.share = check_number("share", share, "(0, 1]")
        self.false_alarms = check_number("false_alarms", false_alarms, "(0, 1)")
        self.horizon, self.seed, self.file = check_whole("horizon", horizon), check_seed(seed), file
        self.level = alarm_level(max(self.share * self.horizon, 1.0), self.false_alarms)
        self.seen = self.watched = self.agreed = 0  # inputs
        self.alarmed_at: int | None = None  # the number of the input, from 0, that raised the alarm
        self.log_evidence = np.full(len(ODDS), -np.inf)                         # (K,)
        if file is not None:
            check_place("file", file)
            self.settings = self._settings()
            self._restore(file)

    @classmethod
    def from_validation(
        cls, student: Any, teacher: Any, validation: Dataset, drop: float = 0.01, *, delta: float = 0.05, **options: Any
    ) -> "QualityGate":
        """A gate whose promise is what validation rows prove of the agreement, less a drop that is tolerated.

        validation  rows that neither was trained on; no labels are needed
        drop        in [0, 1)
        delta       the chance that the rows prove too much; then the gate may raise more false alarms than it says
        options     all else that QualityGate takes
        """
        if not isinstance(validation, Dataset):
            raise TypeError(f"validation must be a Dataset, got {type(validation).__name__}")
        promised = promise(Pair(student, teacher, options.get("classes")), validation, drop, delta)
        return cls(student, teacher, promised, **options)

    @property
    def interval(self) -> tuple[float, float]:
        """For the agreement since the beginning, right with 95% at all times together while it does not change."""
        return confidence_sequence(self.agreed, self.watched, 0.05)

    @property
    def verdict(self) -> str:
        """Whether agreement is below the promise: "alarm" where it is, "watch" where it may be, "ok" otherwise."""
        if self.alarmed_at is not None:
            return "alarm"
        return "watch" if float(evidence(self.log_evidence)) >= self.level + np.log(WATCH) else "ok"

    def watch(self, x: Any) -> Watched:
        """Answers x (N,I) by the student, asks the teacher about the rows whose turn it is, and judges.

        Nothing is counted where it fails: ValueError for NaN or infinity in x or another number of columns.
        """
        x = check_rows("x", x)
        labels = self.pair.labels("student", x)                                 # (N,)
        with self.pair.lock:  # one batch after the other: a row's number in the stream decides whether it is sampled
            return self._compare(x, labels)

    def _compare(self, x: np.ndarray, labels: np.ndarray) -> Watched:
        rows = np.flatnonzero(sampled(self.seen, len(x), self.share, self.seed))  # (n,)
        agreed = np.zeros(0, bool)
        if len(rows) > 0:
            agreed = labels[rows] == self.pair.labels("teacher", x[rows])       # (n,)
        self._judge(rows, agreed)
        self.seen += len(x)
        self.watched += len(rows)
        self.agreed += int(agreed.sum())
        if self.file is not None:
            self._keep(self.file)
        return Watched(labels, len(rows), int(agreed.sum()), self.interval, self.verdict)

    def _judge(self, rows: np.ndarray, agreed: np.ndarray) -> None:
        for row, same in zip(rows.tolist(), agreed, strict=True):
            self.log_evidence = add_evidence(self.log_evidence, same, self.promised)        # (K,)
            if self.alarmed_at is None and float(evidence(self.log_evidence)) >= self.level:
                self.alarmed_at = self.seen + row

    # ------------------------------------------------------------------------------------------ the file

    def _settings(self) -> dict[str, str]:
        """What must be the same for a gate to resume from a file."""
        return {
            "student": _name(self.pair.student), "teacher": _name(self.pair.teacher), "promised": repr(self.promised),
            "share": repr(self.share), "false_alarms": repr(self.false_alarms), "horizon": repr(self.horizon),
            "seed": repr(self.seed),
        }  # fmt: skip

    def _keep(self, file: str | os.PathLike[str]) -> None:
        alarmed = -1 if self.alarmed_at is None else self.alarmed_at
        counts = np.array([self.seen, self.watched, self.agreed, alarmed])
        settings = list(self.settings.items())
        write_npz(file, KIND, {"settings": settings, "counts": counts, "log_evidence": self.log_evidence})

    def _restore(self, file: str | os.PathLike[str]) -> None:
        if not os.path.exists(file):
            return
        try:
            found = read_npz(file, KIND, ("settings", "counts", "log_evidence"))
            theirs = dict(found["settings"].tolist())
            seen, watched, agreed, alarmed = map(int, found["counts"])
            sound = found["log_evidence"].shape == ODDS.shape and not np.isnan(found["log_evidence"]).any()
            if not sound or not 0 <= agreed <= watched <= seen:
                raise ValueError("its figures contradict one another")
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"gate file {file} cannot be read: {error}. Put back a copy of it, or delete it to begin anew"
            ) from None
        check_same_run(f"gate file {file} is of another gate", theirs, self.settings, ". Name another file")
        self.seen, self.watched, self.agreed = seen, watched, agreed
        self.alarmed_at = None if alarmed < 0 else alarmed
        self.log_evidence = found["log_evidence"]


def promise(pair: Pair, validation: Dataset, drop: float, delta: float) -> float:
    """The agreement that validation rows prove, but for a chance of delta, less the drop that is tolerated."""
    check_number("drop", drop, "[0, 1)")
    check_number("delta", delta, "(0, 1)")
    agreed = int((pair.labels("student", validation.x) == pair.labels("teacher", validation.x)).sum())
    proven = lower_bound(agreed, len(validation), delta)
    if proven <= drop:
        raise ValueError(f"drop must be below the agreement that the rows prove, {proven:.4f}, got {drop:g}")
    return proven - drop


def _name(model: Any) -> str:
    """Of a network a hash of its shape and parameters, of a list one each; of anything else only its kind."""
    if isinstance(model, list | tuple):
        return "+".join(map(_name, model))
    return f"{model} {digest(model.parameters)}" if isinstance(model, MLP) else type(model).__name__
