# SPDX-License-Identifier: MIT
"""QualityGate: a sample of the live inputs goes to the teacher as well, and a fall of agreement raises an alarm.

No labels are needed. A sequential test of the agreement runs for as long as the student serves, with a false-alarm rate
that is chosen beforehand (derived in docs/guides/serving.md).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import ops
from ..data import Dataset
from ..network import MLP
from ..support.checks import check_number, check_rows, check_seed, check_whole
from ..support.deprecation import renamed_arguments, renamed_attribute
from ..support.files import check_place, check_same_run, digest, read_npz, write_npz
from ..support.locks import locked
from .bounds import ODDS, add_evidence, alarm_level, confidence_sequence, evidence, lower_bound
from .pair import Pair

WAIT = 600.0  # seconds for a batch of another process with the same file
WARNING = 0.1  # of the evidence that an alarm takes
KIND = "quality-gate"
RENAMED = {"promised": "min_agreement", "share": "sample_rate", "false_alarms": "false_alarm_rate"}  # also in files


def sampled(first: int, count: int, share: float, seed: int) -> np.ndarray:
    """Which of the inputs number first, first + 1, ... (count,) are sampled: where the hash of the number is small.

    That is a function of seed and number alone, not of the values of the input.                            [SERVE-9]
    """
    numbers = np.arange(first, first + count, dtype=np.uint64)                  # (count,)
    key = np.ones(1, np.uint32)                                                 # (1,)  not 0, whose hash is 0
    for word in (seed & 0xFFFFFFFF, seed >> 32):
        key = ops.hash32(key + np.uint32(word))                                 # (1,)
    high = ops.hash32(key + (numbers >> np.uint64(32)).astype(np.uint32))       # (count,)
    bits = ops.hash32(high + numbers.astype(np.uint32))                         # (count,)  lowest 32 bits
    return np.asarray(bits < share * 2**32)


@dataclass(frozen=True)
class GateResult:
    """What a gate computed for one batch, and its verdict on all batches so far."""

    labels: np.ndarray  # (N,) the student's predictions
    n_sampled: int      # rows of this batch that went to the teacher too
    n_agreed: int       # of those, where both predicted the same class
    interval: tuple[float, float]  # for the agreement so far: see `QualityGate.interval`
    verdict: str        # "ok", "warning" or "alarm"

    watched = renamed_attribute("GateResult.watched", "n_sampled")
    agreed = renamed_attribute("GateResult.agreed", "n_agreed")


class QualityGate:
    """Tests whether a student still agrees with its teacher at least as often as it should.

    student, teacher  MLPs or other teachers of `distill`: a list, a function to logits, an object with predict_proba
    min_agreement     in (0, 1); `QualityGate.from_validation` finds one
    sample_rate       the fraction of the inputs that the teacher predicts too, in (0, 1]
    false_alarm_rate  the probability of an alarm within `horizon` inputs while agreement is at least min_agreement, in
                      (0, 1)
    horizon           inputs, sampled or not; in m times as many the probability is at most m times as large
    seed              of which inputs are sampled
    file              where the gate is kept after each batch; it resumes from a file that is there. Several processes
                      may share one: their batches are numbered one after the other, and count together
    classes           the number of classes; needed where neither model states it, as an MLP does

    An alarm stays, whatever comes later. Once its cause is removed, begin a new gate with a new file.

    Raises ValueError or TypeError for bad settings, for a file that is damaged or belongs to other models or settings.
    """

    @renamed_arguments(**RENAMED)
    def __init__(
        self, student: Any, teacher: Any, min_agreement: float, sample_rate: float = 0.05, *,
        false_alarm_rate: float = 0.05, horizon: int = 100_000, seed: int = 0,
        file: str | os.PathLike[str] | None = None, classes: int | None = None,
    ) -> None:  # fmt: skip
        self.pair = Pair(student, teacher, classes)
        self.min_agreement = check_number("min_agreement", min_agreement, "(0, 1)")
        self.sample_rate = check_number("sample_rate", sample_rate, "(0, 1]")
        self.false_alarm_rate = check_number("false_alarm_rate", false_alarm_rate, "(0, 1)")
        self.horizon, self.seed, self.file = check_whole("horizon", horizon), check_seed(seed), file
        self.level = alarm_level(max(self.sample_rate * self.horizon, 1.0), self.false_alarm_rate)
        self.n_seen = self.n_sampled = self.n_agreed = 0  # inputs
        self.alarm_index: int | None = None  # the number of the input, from 0, that raised the alarm
        self.log_evidence = np.full(len(ODDS), -np.inf)                         # (K,)
        if file is not None:
            check_place("file", file)
            self.settings = self._settings()
            self._restore(file)

    @classmethod
    @renamed_arguments(drop="tolerance", **RENAMED)
    def from_validation(
        cls, student: Any, teacher: Any, validation: Dataset, tolerance: float = 0.01, *, delta: float = 0.05,
        **options: Any,
    ) -> "QualityGate":  # fmt: skip
        """A gate whose min_agreement is what validation rows prove of the agreement, minus a tolerance.

        validation  rows that neither was trained on; no labels are needed
        tolerance   in [0, 1)
        delta       the probability that the rows prove too much; then false alarms may be more frequent than stated
        options     all else that QualityGate takes
        """
        if not isinstance(validation, Dataset):
            raise TypeError(f"validation must be a Dataset, got {type(validation).__name__}")
        proven = promise(Pair(student, teacher, options.get("classes")), validation, tolerance, delta)
        return cls(student, teacher, proven, **options)

    @property
    def interval(self) -> tuple[float, float]:
        """For the agreement since the beginning, right with 95% at all times together while it does not change."""
        return confidence_sequence(self.n_agreed, self.n_sampled, 0.05)

    @property
    def verdict(self) -> str:
        """Whether agreement is below min_agreement: "alarm" where it is, "warning" where it may be, "ok" otherwise."""
        if self.alarm_index is not None:
            return "alarm"
        return "warning" if float(evidence(self.log_evidence)) >= self.level + np.log(WARNING) else "ok"

    def update(self, x: Any) -> GateResult:
        """Predicts x (N,I) with the student, and the sampled rows with the teacher too, and updates the verdict.

        Nothing is counted where it fails: ValueError for NaN or infinity in x or another number of columns.
        """
        x = check_rows("x", x)
        labels = self.pair.labels("student", x)                                 # (N,)
        with self.pair.lock, self._up_to_date():  # a row's number in the stream decides whether it is sampled
            rows = np.flatnonzero(sampled(self.n_seen, len(x), self.sample_rate, self.seed))            # (n,)
            agreed = np.zeros(0, bool)
            if len(rows) > 0:
                agreed = labels[rows] == self.pair.labels("teacher", x[rows])   # (n,)
            for row, same in zip(rows.tolist(), agreed, strict=True):
                self.log_evidence = add_evidence(self.log_evidence, same, self.min_agreement)           # (K,)
                if self.alarm_index is None and float(evidence(self.log_evidence)) >= self.level:
                    self.alarm_index = self.n_seen + row
            self.n_seen += len(x)
            self.n_sampled += len(rows)
            self.n_agreed += int(agreed.sum())
            if self.file is not None:
                self._keep(self.file)
            return GateResult(labels, len(rows), int(agreed.sum()), self.interval, self.verdict)

    watch = renamed_attribute("QualityGate.watch", "update")
    promised = renamed_attribute("QualityGate.promised", "min_agreement")
    share = renamed_attribute("QualityGate.share", "sample_rate")
    false_alarms = renamed_attribute("QualityGate.false_alarms", "false_alarm_rate")
    seen = renamed_attribute("QualityGate.seen", "n_seen")
    watched = renamed_attribute("QualityGate.watched", "n_sampled")
    agreed = renamed_attribute("QualityGate.agreed", "n_agreed")
    alarmed_at = renamed_attribute("QualityGate.alarmed_at", "alarm_index")

    # ------------------------------------------------------------------------------------------ the file

    def _settings(self) -> dict[str, str]:
        """What must be the same for a gate to resume from a file."""
        numbers = ("min_agreement", "sample_rate", "false_alarm_rate", "horizon", "seed")
        models = {"student": _name(self.pair.student), "teacher": _name(self.pair.teacher)}
        return models | {name: repr(getattr(self, name)) for name in numbers}

    @contextmanager
    def _up_to_date(self) -> Iterator[None]:
        """Keeps other processes from the file, whose last batches are counted first."""
        if self.file is None:
            yield
            return
        with locked(self.file, WAIT):
            self._restore(self.file)
            yield

    def _keep(self, file: str | os.PathLike[str]) -> None:
        alarm = -1 if self.alarm_index is None else self.alarm_index
        counts = np.array([self.n_seen, self.n_sampled, self.n_agreed, alarm])
        settings = list(self.settings.items())
        write_npz(file, KIND, {"settings": settings, "counts": counts, "log_evidence": self.log_evidence})

    def _restore(self, file: str | os.PathLike[str]) -> None:
        if not os.path.exists(file):
            return
        try:
            found = read_npz(file, KIND, ("settings", "counts", "log_evidence"))
            theirs = {RENAMED.get(name, name): value for name, value in found["settings"].tolist()}
            seen, taken, agreed, alarm = map(int, found["counts"])
            log_evidence = found["log_evidence"]
            finite = log_evidence.shape == ODDS.shape and (log_evidence < np.inf).all()  # NaN is not below it either
            if not (finite and 0 <= agreed <= taken <= seen):
                raise ValueError("its figures contradict one another")
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"gate file {file} cannot be read: {error}. Put back a copy of it, or delete it to begin anew"
            ) from None
        check_same_run(f"gate file {file} is of another gate", theirs, self.settings, ". Name another file")
        self.n_seen, self.n_sampled, self.n_agreed = seen, taken, agreed
        self.alarm_index = None if alarm < 0 else alarm
        self.log_evidence = log_evidence


def promise(pair: Pair, validation: Dataset, tolerance: float, delta: float) -> float:
    """The agreement that validation rows prove with probability 1 - delta, minus a tolerance."""
    check_number("tolerance", tolerance, "[0, 1)")
    check_number("delta", delta, "(0, 1)")
    agreed = int((pair.labels("student", validation.x) == pair.labels("teacher", validation.x)).sum())
    proven = lower_bound(agreed, len(validation), delta)
    if proven <= tolerance:
        raise ValueError(f"tolerance must be below the agreement that the rows prove, {proven:.4f}, got {tolerance:g}")
    return proven - tolerance


def _name(model: Any) -> str:
    """The kind of a model; of a network its shape and a hash of its parameters too, of a list the names of all."""
    if isinstance(model, list | tuple):
        return "+".join(map(_name, model))
    return f"{model} {digest(model.parameters)}" if isinstance(model, MLP) else type(model).__name__
