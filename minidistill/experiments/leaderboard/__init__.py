# SPDX-License-Identifier: MIT
"""The leaderboard: every method of the library beside every other, with the same teacher, student, budget and images.

    methods   who takes part, what is tried of each, and how it trains a student
    board     what was found, and which differences are more than chance

Settings are chosen on validation images, which are not trained on; the test images are used once, at the end.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ...data import Dataset
from ...data.mnist import COLLECTIONS, is_at_hand
from ...network import MLP
from ...support.checks import check_choice, check_whole
from ...support.text import plural
from ...training.selection import highest
from ..demo import train_teacher
from ..reproduce.claims import differences
from ..reproduce.study import LOADERS, Run, accuracy, agreement, jittered_teacher, on_all_cores
from .board import Board, MethodRow
from .methods import BY_NAME, METHODS, REFERENCE, TRIALS, Classroom, Method, Setting

__all__ = ["NAMES", "Board", "MethodRow", "leaderboard", "names_at_hand"]

SEEDS, QUICK_SEEDS = 5, 2
TEACHERS = 3  # of the ensemble; the first of them is the one teacher of all others
Log = Callable[[str], None]


@dataclass(frozen=True)
class Setup:
    """How large the contest on one data set is. Rates and epochs were chosen on its validation images."""

    images: int      # to learn from and to validate on
    validation: int  # of them
    tested: int
    teacher: Callable[..., MLP]  # (data, seed=...)
    quick_teacher: Callable[..., MLP]
    hidden: tuple[int, ...]
    assistant: int
    seen: int
    epochs: int
    rate: float
    batch_size: int
    trial_seeds: int

    def quick(self) -> "Setup":
        """A fifth of the steps, and fewer of many images: it shows that everything works, not who is ahead."""
        few = {name: min(getattr(self, name), most) for name, most in QUICK_IMAGES.items()}
        return replace(self, **few, teacher=self.quick_teacher, epochs=self.epochs // 5, trial_seeds=1)


QUICK_IMAGES = {"images": 8_000, "validation": 2_000, "tested": 2_000}
IMAGE_TEACHER = partial(jittered_teacher, hidden=(400, 400))
IMAGES = Setup(
    images=60_000, validation=10_000, tested=10_000, teacher=partial(IMAGE_TEACHER, epochs=8),
    quick_teacher=partial(IMAGE_TEACHER, epochs=2), hidden=(128,), assistant=256, seen=1_000, epochs=30, rate=0.01,
    batch_size=50, trial_seeds=1,
)  # fmt: skip
SETUPS = {
    "digits": Setup(
        images=1_297, validation=300, tested=500, teacher=train_teacher, quick_teacher=train_teacher,
        hidden=(32,), assistant=128, seen=150, epochs=100, rate=0.01, batch_size=30, trial_seeds=2,
    ),
    **{collection.folder: IMAGES for collection in COLLECTIONS},
}  # fmt: skip
NAMES = tuple(SETUPS)


def names_at_hand(log: Log = lambda line: None) -> list[str]:
    """The data sets that need no download; `log` receives those that do."""
    away = {collection.folder for collection in COLLECTIONS if not is_at_hand(collection)}
    for name in sorted(away):
        log(f"{name} is not on this machine and is left out; name it to have it downloaded")
    return [name for name in NAMES if name not in away]


def leaderboard(data: str, seeds: int | None = None, quick: bool = False, log: Log = lambda line: None) -> Board:
    """Every method on one data set of NAMES.

    seeds  students of each method: 5 unless given, with `quick` 2
    quick  a fifth of the steps, and fewer images: it shows that everything works, not who is ahead
    log    receives a line per stage
    """
    check_choice("data", data, NAMES)
    if seeds is None:
        seeds = QUICK_SEEDS if quick else SEEDS
    check_whole("seeds", seeds)
    start = time.perf_counter()
    setup = SETUPS[data].quick() if quick else SETUPS[data]
    images, validation, test = _parts(setup, *LOADERS[data]())
    log(f"{data}: training {TEACHERS} teachers on {len(images):,} images ...")
    with on_all_cores(images) as run:
        teachers = run((partial(setup.teacher, seed=seed),) for seed in range(TEACHERS))
    room = Classroom(
        images, validation, test, teachers, setup.hidden, setup.assistant, setup.seen, setup.epochs, setup.rate,
        setup.batch_size,
    )  # fmt: skip
    with on_all_cores(room) as run:
        rows = contest(METHODS, run, list(range(seeds)), list(range(setup.trial_seeds)), log)
    settings = {
        "command": f"minidistill leaderboard {data} --seeds {seeds}" + " --quick" * quick,
        "teacher": repr(room.teacher),
        "teacher_accuracy": accuracy(room.teacher, test),
        "student": repr(room.student(0)),
        "budget": f"{room.epochs} epochs, Adam from {room.rate:g}, batch {room.batch_size}",
        "seeds": list(range(seeds)),
        "trials": TRIALS,
        "trial_seeds": list(range(setup.trial_seeds)),
        "images": {"seen": room.seen, "taught": len(images), "validation": len(validation), "test": len(test)},
    }
    return Board.of(data, rows, settings, time.perf_counter() - start)


def _parts(setup: Setup, whole: Dataset, test: Dataset) -> tuple[Dataset, Dataset, Dataset]:
    """Images to learn from, to validate on and to test on."""
    validation, images = whole.take(setup.images).split(setup.validation)
    return images, validation, test.take(setup.tested)


# ---------------------------------------------------------------------------------------------- the contest


def contest(
    methods: tuple[Method, ...], run: Run, seeds: list[int], trial_seeds: list[int], log: Log
) -> list[MethodRow]:
    """A row for each method, of settings chosen on the validation images; REFERENCE must be among them."""
    log(f"choosing settings: {len(methods)} methods, {TRIALS} trials each, {plural(len(trial_seeds), 'seed')} ...")
    chosen = _chosen(methods, run, trial_seeds)
    log(f"measuring on test images, {plural(len(seeds), 'seed')} ...")
    found = iter(run((_tested, name, setting, seed) for name, (setting, _) in chosen.items() for seed in seeds))
    figures = {name: [list(column) for column in zip(*(next(found) for _ in seeds), strict=True)] for name in chosen}
    rows = []
    for method in methods:
        accuracies, agreements, seconds = figures[method.name]
        apart, mean = differences(accuracies, figures[REFERENCE][0]), float(np.mean(seconds))
        rows.append(MethodRow(method.name, accuracies, apart, agreements, mean, *chosen[method.name], method.note))
    return rows


def _chosen(methods: tuple[Method, ...], run: Run, seeds: list[int]) -> dict[str, tuple[Setting, float]]:
    """Each method's best setting on the validation images, and its mean accuracy there."""
    trials = [(method.name, setting) for method in methods for setting in method.trials]
    tried = iter(run((_validated, *trial, seed) for trial in trials for seed in seeds))
    scores = {m.name: [float(np.mean([next(tried) for _ in seeds])) for _ in m.trials] for m in methods}
    return {m.name: (highest(m.trials, scores[m.name]), max(scores[m.name])) for m in methods}


def _validated(room: Classroom, name: str, setting: Setting, seed: int) -> float:
    """Accuracy on the validation images; less than any where the training diverged."""
    try:
        return accuracy(BY_NAME[name].train(room, seed, **setting), room.validation)
    except ArithmeticError:
        return -1.0


def _tested(room: Classroom, name: str, setting: Setting, seed: int) -> tuple[float, float, float]:
    """Accuracy and agreement with the teacher on the test images, and the seconds of a core that the training took."""
    start = time.process_time()  # of the processor, whatever else the machine does meanwhile
    student = BY_NAME[name].train(room, seed, **setting)
    seconds = time.process_time() - start
    taught = room.teacher.logits(room.test.x)                                   # (N,C)
    return accuracy(student, room.test), agreement(student, taught, room.test), seconds
