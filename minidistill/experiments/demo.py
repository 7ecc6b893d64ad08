# SPDX-License-Identifier: MIT
"""The demo: a teacher for real handwritten digits, and a small student that sees few of them, alone and distilled.

Settings are chosen on validation images; the test images are looked at once, at the end. The student that learns alone
gets as many trials as the distilled one, the same images in the same order, and the same number of steps.
"""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import Dataset, digits
from ..distillation.soft_targets import SoftTargets
from ..distillation.student import distill
from ..losses import CrossEntropy, SoftTarget
from ..network import MLP
from ..support.checks import check_seed, check_whole
from ..support.text import sample_std
from ..training.evaluation import Report, accuracy, compare
from ..training.loop import fit
from ..training.optim import SGD
from ..training.schedules import CosineSchedule

TEACHER_SIZES = (64, 512, 512, 10)
STUDENT_SIZES = (64, 32, 10)
IMAGES_SEEN = 150
VALIDATION_IMAGES = 300
TRIAL_SEEDS = 3

RATES = (0.01, 0.03, 0.1, 0.3)       # tried for the student alone
TEMPERATURES = (2.0, 4.0, 8.0, 16.0)  # tried for the distilled one, which takes the rate below
DISTILLING_RATE, ALPHA = 0.1, 0.9
SMOOTHING = 0.1


@dataclass(frozen=True)
class Demo:
    """What the demo found."""

    report: Report              # teacher, alone, distilled: on the test images
    controls: dict[str, list[float]]  # accuracies of what should not help as much, a seed each
    settings: dict[str, Any]
    example: dict[str, np.ndarray]    # a doubtful image and what the teacher says of it
    seconds: float

    @property
    def gains(self) -> list[float]:
        """What distilling added to each seed's accuracy, in percentage points."""
        pairs = zip(self.report["distilled"].accuracies, self.report["alone"].accuracies, strict=True)
        return [100 * (after - before) for after, before in pairs]

    def to_dict(self) -> dict[str, Any]:
        """Accuracies are fractions, gains percentage points."""
        rows = self.report.to_dict()
        return {
            **rows,
            "gain_mean": float(np.mean(self.gains)),
            "gain_min": min(self.gains),
            "retention": rows["distilled"]["retention"],
            "agreement_alone": rows["alone"]["agreement"],
            "agreement_distilled": rows["distilled"]["agreement"],
            "controls": {name: _mean_and_std(values) for name, values in self.controls.items()},
            "settings": self.settings,
            "seconds": self.seconds,
        }

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """The proof as a matplotlib figure, saved where a path is given."""
        from .pictures import demo_figure

        return demo_figure(self.report, self.example, path)

    def __str__(self) -> str:
        return f"{self.report}\n\n{self._controls()}\n\n{self._story()}"

    def _controls(self) -> str:
        found = {name: _mean_and_std(values)["accuracy_mean"] for name, values in self.controls.items()}
        return (
            f"Controls: alone with label smoothing {found['label_smoothing']:.2%}; "
            f"taught by a teacher whose answers were shuffled {found['shuffled_teacher']:.2%}."
        )

    def _story(self) -> str:
        """Three sentences, of this run's figures."""
        teacher, alone, distilled = (self.report[name] for name in ("teacher", "alone", "distilled"))
        gain, seeds = float(np.mean(self.gains)), len(self.gains)
        better = sum(gain > 0 for gain in self.gains)
        share = teacher.multiply_adds / distilled.multiply_adds  # type: ignore[operator]
        return (
            f"From {IMAGES_SEEN} images and their labels alone, the student reads {alone.accuracy_mean:.1%} of the "
            f"test images.\n"
            f"With the teacher's softened answers to the same images it reads {distilled.accuracy_mean:.1%}, "
            f"{abs(gain):.1f} points {'more' if gain >= 0 else 'less'}, better with {better} of {seeds} seeds.\n"
            f"It keeps {distilled.retention:.1%} of the teacher's accuracy at 1/{share:.0f} of its multiply-adds, and "
            f"agrees with it on {distilled.agreement:.1%} of the images instead of {alone.agreement:.1%}."
        )


def run_demo(seeds: int = 5, seed: int = 0, say: Callable[[str], None] = lambda line: None) -> Demo:
    """Runs the demo with students of `seeds` seeds from `seed` on; `say` hears of each stage."""
    check_whole("seeds", seeds)
    check_seed(seed)
    start = time.perf_counter()
    training, test = digits()
    student_seeds = range(seed, seed + seeds)

    say("choosing settings on validation images ...")
    learning, validation = training.split(len(training) - VALIDATION_IMAGES, seed=seed)
    trial = _Classroom(learning, train_teacher(learning, seed))
    trial_seeds = range(seed, seed + TRIAL_SEEDS)
    rate = _best(RATES, lambda rate: trial.validated(validation, trial_seeds, lambda s: trial.alone(s, rate)))
    T = _best(TEMPERATURES, lambda T: trial.validated(validation, trial_seeds, lambda s: trial.distilled(s, T)))

    say(f"training the teacher {'-'.join(map(str, TEACHER_SIZES))} on {len(training)} images ...")
    room = _Classroom(training, train_teacher(training, seed))
    say(f"training the student {'-'.join(map(str, STUDENT_SIZES))} on {IMAGES_SEEN} of them, with {seeds} seeds ...")
    alone = [room.alone(s, rate) for s in student_seeds]
    distilled = [room.distilled(s, T) for s in student_seeds]
    smoothed = [room.alone(s, rate, CrossEntropy(SMOOTHING)) for s in student_seeds]
    shuffled = [room.distilled(s, T, shuffle=True) for s in student_seeds]

    say("measuring ...")
    report = compare(room.teacher, {"alone": alone, "distilled": distilled}, test)
    controls = {"label_smoothing": _accuracies(smoothed, test), "shuffled_teacher": _accuracies(shuffled, test)}
    settings = {
        "command": f"minidistill demo --seeds {seeds} --seed {seed}",
        "seeds": list(student_seeds),
        "images_seen": IMAGES_SEEN,
        "epochs": _Classroom.EPOCHS,
        "learning_rate_alone": rate,
        "learning_rate_distilled": DISTILLING_RATE,
        "temperature": T,
        "alpha": ALPHA,
    }
    example = _doubtful_example(room.teacher, test, T)
    return Demo(report, controls, settings, example, time.perf_counter() - start)


def train_teacher(data: Dataset, seed: int) -> MLP:
    teacher = MLP(TEACHER_SIZES, dropout=0.3, seed=seed)
    fit(teacher, data, epochs=40, batch_size=64, optimizer=SGD(CosineSchedule(0.1)), seed=seed)
    return teacher


@dataclass(frozen=True)
class _Classroom:
    """A teacher, and the images from which each seed's student sees its own few."""

    images: Dataset
    teacher: MLP

    EPOCHS = 200
    BATCH = 30

    def alone(self, seed: int, rate: float, loss: CrossEntropy | None = None) -> MLP:
        student = MLP(STUDENT_SIZES, seed=seed)
        fit(student, self._seen(seed), loss, **self._budget(seed, rate))
        return student

    def distilled(self, seed: int, T: float, shuffle: bool = False) -> MLP:
        student, data = MLP(STUDENT_SIZES, seed=seed), self._seen(seed)
        teacher: Any = self.teacher
        if shuffle:
            wrong_order = np.random.default_rng(seed).permutation(len(data))
            teacher = SoftTargets.of(self.teacher.logits(data.x)[wrong_order], data)
        options = self._budget(seed, DISTILLING_RATE)
        distill(teacher, student, data, SoftTarget(T, ALPHA), check_teacher=not shuffle, **options)
        return student

    def _seen(self, seed: int) -> Dataset:
        return self.images.take(IMAGES_SEEN, seed=seed)

    def _budget(self, seed: int, rate: float) -> dict[str, Any]:
        return {"epochs": self.EPOCHS, "batch_size": self.BATCH, "optimizer": SGD(CosineSchedule(rate)), "seed": seed}

    def validated(self, validation: Dataset, seeds: Iterable[int], train: Callable[[int], MLP]) -> float:
        return float(np.mean(_accuracies([train(seed) for seed in seeds], validation)))


def _best(choices: Iterable[float], score: Callable[[float], float]) -> float:
    return max(choices, key=score)


def _accuracies(networks: list[MLP], data: Dataset) -> list[float]:
    assert data.y is not None
    return [accuracy(network.predict_proba(data.x), data.y) for network in networks]


def _mean_and_std(values: list[float]) -> dict[str, Any]:
    return {"accuracy_mean": float(np.mean(values)), "accuracy_std": sample_std(values), "accuracies": values}


def _doubtful_example(teacher: MLP, test: Dataset, T: float) -> dict[str, np.ndarray]:
    """The test image that the teacher reads rightly and yet is least sure of."""
    assert test.y is not None
    hard, soft = teacher.predict_proba(test.x), teacher.predict_proba(test.x, T)            # (N,C)
    right = hard.argmax(axis=1) == test.y
    i = int(np.where(right, hard.max(axis=1), np.inf).argmin())
    return {"image": test.x[i].reshape(8, 8), "hard": hard[i], "soft": soft[i], "temperature": np.array(T)}
