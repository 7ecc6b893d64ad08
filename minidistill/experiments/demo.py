# SPDX-License-Identifier: MIT
"""The demo: a teacher for real handwritten digits, and a small student that sees few of them, alone and distilled.

Settings are chosen on validation images; the test images are looked at once, at the end. The student that learns alone
gets as many trials as the distilled one, the same images in the same order, and the same number of steps.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import Dataset, digits
from ..losses import CrossEntropy
from ..network import MLP
from ..support.checks import check_seed, check_whole
from ..support.figures import ALONE, DISTILLED, TEACHER, new_figure, save, titled
from ..support.text import sample_std
from ..training.evaluation import Report, accuracy, compare
from ..training.selection import best
from .pictures import draw_image, draw_probabilities
from .reproduce.claims import differences
from .reproduce.study import Budget, alone, distilled

TEACHER_SIZES = (64, 512, 512, 10)
STUDENT_SIZES = (64, 32, 10)
IMAGES_SEEN = 150
VALIDATION_IMAGES = 300
TRIAL_SEEDS = 3
EPOCHS, BATCH = 200, 30  # of the students

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
        shares = differences(self.report["distilled"].accuracies, self.report["alone"].accuracies)
        return [100 * share for share in shares]

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
        return demo_figure(self.report, self.example, path)

    def __str__(self) -> str:
        smoothed, shuffled = (np.mean(self.controls[name]) for name in ("label_smoothing", "shuffled_teacher"))
        return (
            f"{self.report}\n\nControls: alone with label smoothing {smoothed:.2%}; "
            f"taught by a teacher whose answers were shuffled {shuffled:.2%}.\n\n{self._story()}"
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


def run_demo(seeds: int = 5, seed: int = 0, log: Callable[[str], None] = lambda line: None) -> Demo:
    """Runs the demo with students of `seeds` seeds from `seed` on; `log` receives a line per stage."""
    check_whole("seeds", seeds)
    check_seed(seed)
    start = time.perf_counter()
    training, test = digits()
    student_seeds = range(seed, seed + seeds)

    log("choosing settings on validation images ...")
    learning, validation = training.split(len(training) - VALIDATION_IMAGES, seed=seed)
    trial = _Trainer(learning, train_teacher(learning, seed))

    def validated(train: Callable[[int, float], MLP], choice: float) -> float:
        students = [train(s, choice) for s in range(seed, seed + TRIAL_SEEDS)]
        return float(np.mean(_accuracies(students, validation)))

    rate = best(RATES, lambda rate: validated(trial.alone, rate))
    T = best(TEMPERATURES, lambda T: validated(trial.distilled, T))

    log(f"training the teacher {'-'.join(map(str, TEACHER_SIZES))} on {len(training)} images ...")
    final = _Trainer(training, train_teacher(training, seed))
    log(f"training the student {'-'.join(map(str, STUDENT_SIZES))} on {IMAGES_SEEN} of them, with {seeds} seeds ...")
    hard = [final.alone(s, rate) for s in student_seeds]
    soft = [final.distilled(s, T) for s in student_seeds]
    smoothed = [final.alone(s, rate, CrossEntropy(SMOOTHING)) for s in student_seeds]
    shuffled = [final.distilled(s, T, shuffle=True) for s in student_seeds]

    log("measuring ...")
    report = compare(final.teacher, {"alone": hard, "distilled": soft}, test)
    controls = {"label_smoothing": _accuracies(smoothed, test), "shuffled_teacher": _accuracies(shuffled, test)}
    settings = {
        "command": f"minidistill demo --seeds {seeds} --seed {seed}",
        "seeds": list(student_seeds),
        "images_seen": IMAGES_SEEN,
        "epochs": EPOCHS,
        "learning_rate_alone": rate,
        "learning_rate_distilled": DISTILLING_RATE,
        "temperature": T,
        "alpha": ALPHA,
    }
    example = _doubtful_example(final.teacher, test, T)
    return Demo(report, controls, settings, example, time.perf_counter() - start)


def train_teacher(data: Dataset, seed: int) -> MLP:
    return alone(data, TEACHER_SIZES[1:-1], Budget(40, batch_size=64), seed, dropout=0.3)


@dataclass(frozen=True)
class _Trainer:
    """A teacher, and the images from which each seed's student sees its own few."""

    images: Dataset
    teacher: MLP

    def alone(self, seed: int, rate: float, loss: CrossEntropy | None = None) -> MLP:
        return alone(self._seen(seed), STUDENT_SIZES[1:-1], Budget(EPOCHS, rate, BATCH), seed, loss=loss)

    def distilled(self, seed: int, T: float, shuffle: bool = False) -> MLP:
        data, budget = self._seen(seed), Budget(EPOCHS, DISTILLING_RATE, BATCH)
        answers = self.teacher.logits(data.x)                                   # (N,C)
        if shuffle:
            answers = answers[np.random.default_rng(seed).permutation(len(data))]
        return distilled(answers, data, STUDENT_SIZES[1:-1], budget, seed, T, ALPHA, check_teacher=not shuffle)

    def _seen(self, seed: int) -> Dataset:
        return self.images.take(IMAGES_SEEN, seed=seed)


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


def demo_figure(report: Report, example: dict[str, np.ndarray], path: str | os.PathLike[str] | None = None) -> Any:
    """The demo's proof: a doubtful image and its softened probabilities; each seed's accuracy; what it costs.

    example: image (height, width); probabilities at T=1, `hard` (C,), and at the chosen `temperature`, `soft` (C,).
    """
    figure, axes = new_figure(columns=3, rows=2, width=4.0, height=3.1)
    draw_image(axes[0, 0], example["image"], "A doubtful digit")
    draw_probabilities(axes[0, 1], example["hard"], 1)
    draw_probabilities(axes[0, 2], example["soft"], float(example["temperature"]))
    axes[0, 1].set_xlabel("what the teacher answers")
    axes[0, 2].set_xlabel("what the student learns from")
    _draw_seeds(axes[1, 0], report)
    _draw_costs(axes[1, 1], report)
    _draw_agreement(axes[1, 2], report)
    return save(figure, path)


def _draw_seeds(ax: Any, report: Report) -> None:
    alone, distilled = report["alone"].accuracies, report["distilled"].accuracies
    for before, after in zip(alone, distilled, strict=True):
        ax.plot((0, 1), (100 * before, 100 * after), color=TEACHER, linewidth=0.8, zorder=1)
    ax.scatter(np.zeros(len(alone)), 100 * np.array(alone), color=ALONE, zorder=2)
    ax.scatter(np.ones(len(distilled)), 100 * np.array(distilled), color=DISTILLED, zorder=2)
    ax.axhline(100 * report.teacher.accuracy_mean, color=TEACHER, linestyle="--", linewidth=1)
    ax.text(1.4, 100 * report.teacher.accuracy_mean, "teacher", color=TEACHER, ha="right", va="bottom")
    titled(ax, "Accuracy on test images, % (a line a seed)", xlim=(-0.4, 1.4), xticks=(0, 1))
    ax.set_xticklabels(("student alone", "distilled"))


def _draw_costs(ax: Any, report: Report) -> None:
    ratios = report["distilled"].ratios_to(report.teacher)
    shares = [100 * (ratios[name] or 0) for name in ("parameters", "multiply_adds", "latency_us")]
    bars = ax.barh(("parameters", "multiply-adds", "latency"), shares, color=DISTILLED)
    ax.bar_label(bars, labels=[f"{share:.2g} %" for share in shares], padding=3)
    titled(ax, "What the student costs (teacher 100 %)", xlim=(0, 100))
    ax.invert_yaxis()


def _draw_agreement(ax: Any, report: Report) -> None:
    names = ("alone", "distilled")
    bars = ax.bar(names, [100 * report[name].agreement for name in names], color=(ALONE, DISTILLED), width=0.5)
    ax.bar_label(bars, fmt="%.1f", padding=2)
    titled(ax, "Agreement with the teacher, %", ylim=(0, 105))
