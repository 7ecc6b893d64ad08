# SPDX-License-Identifier: MIT
"""What the experiments share: images parted in three, students taught by labels or by a teacher, errors counted."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ...data import Dataset, digits, fashion_mnist, mnist
from ...data.augmentation import RandomShift
from ...distillation.soft_targets import SoftTargets
from ...distillation.student import distill
from ...losses import Loss, SoftTarget
from ...network import MLP
from ...support.processes import own_processes, usable_cores
from ...training.loop import fit
from ...training.optim import SGD, Adam
from ...training.schedules import CosineSchedule
from ...training.selection import Choice, best, highest
from .claims import differences

LOADERS = {"mnist": mnist, "fashion-mnist": fashion_mnist, "digits": digits}
HELD_OUT, QUICK_HELD_OUT = 1 / 6, 1 / 4  # of the images to train on: 10,000 of 60,000; in a quick run 2,000
QUICK_IMAGES, QUICK_TEST = 8_000, 2_000  # of a quick run, to train and to be measured on
MAX_NORM = 3.5
FEW_IMAGES = 5_000


@dataclass(frozen=True)
class Taught:
    """Students of one kind, at the settings that validation images spoke for: accuracies in percent, one a seed."""

    trial: tuple[Any, ...]
    validation: list[float]
    test: list[float]

    def over(self, others: "Taught") -> list[float]:
        """How many points these are better than others on the test images, seed by seed."""
        return differences(self.test, others.test)


@dataclass(frozen=True)
class Study:
    """The images of an experiment, and how large it is to be. It can go to another process."""

    training: Dataset    # to learn from, but for the final networks of an experiment that chooses nothing
    validation: Dataset  # held out of training: settings are chosen by these
    test: Dataset        # looked at once, at the end
    whole: Dataset       # training and validation together, as the papers learn from them
    seeds: list[int]
    quick: bool

    @classmethod
    def of(cls, data: str, seeds: int, quick: bool, held_out: bool) -> "Study":
        """The images of `data` in three parts; with `held_out` the validation images are those to be measured on."""
        whole, test = LOADERS[data]()
        if quick:
            whole, test = whole.take(min(QUICK_IMAGES, len(whole))), test.take(min(QUICK_TEST, len(test)))
        validation, training = whole.split(QUICK_HELD_OUT if quick else HELD_OUT)
        if held_out:
            whole, test = training, validation
        return cls(training, validation, test, whole, list(range(seeds)), quick)

    def taught(
        self, trials: Iterable[tuple[Any, ...]], student: Callable[..., MLP], validation: Dataset | None = None
    ) -> Taught:
        """Students, one a seed, of the trial whose student(0, *trial) is best on the validation images."""
        seen = validation or self.validation
        trial = best(trials, lambda trial: accuracy(student(0, *trial), seen))
        students = [student(seed, *trial) for seed in self.seeds]
        return Taught(trial, accuracies(students, seen), accuracies(students, self.test))


Run = Callable[[Iterable[tuple[Any, ...]]], list[Any]]


@contextmanager
def on_all_cores(shared: Any) -> Iterator[Run]:
    """Processes that hold `shared`, one a core: run([(function, *arguments), ...]) is function(shared, *arguments)s."""
    with own_processes(usable_cores(), shared) as submit:
        yield lambda jobs: [future.result() for future in [submit(*job) for job in jobs]]


@dataclass(frozen=True)
class Budget:
    """How long a student learns and how fast; its learning rate falls along a cosine."""

    epochs: int
    rate: float = 0.1
    batch_size: int = 128
    optimizer: type[SGD] | type[Adam] = SGD

    def options(self, seed: int) -> dict[str, Any]:
        optimizer = self.optimizer(CosineSchedule(self.rate))
        return {"epochs": self.epochs, "batch_size": self.batch_size, "optimizer": optimizer, "seed": seed}

    def __str__(self) -> str:
        return f"{self.epochs} epochs, {self.optimizer.__name__} from {self.rate}, batch {self.batch_size}"


def alone(
    data: Dataset, hidden: tuple[int, ...], budget: Budget, seed: int, dropout: float = 0.0, loss: Loss | None = None
) -> MLP:
    """A network trained from labels, by default with cross-entropy."""
    network = MLP((data.x.shape[1], *hidden, data.classes), dropout=dropout, seed=seed)
    fit(network, data, loss, **budget.options(seed))
    return network


def distilled(
    answers: np.ndarray, data: Dataset, hidden: tuple[int, ...], budget: Budget, seed: int, T: float,
    alpha: float = 1.0, check_teacher: bool = True,
) -> MLP:  # fmt: skip
    """A network that learns from a teacher's logits (N,C) for the same images."""
    network, targets = MLP((data.x.shape[1], *hidden, answers.shape[1]), seed=seed), SoftTargets.of(answers, data)
    distill(targets, network, data, SoftTarget(T, alpha), check_teacher=check_teacher, **budget.options(seed))
    return network


@dataclass(frozen=True)
class Trainer:
    """How networks of one shape are trained on the same images. It can be sent to another process."""

    study: Study
    data: Dataset
    hidden: tuple[int, ...]
    epochs: int
    batch_size: int

    @classmethod
    def of(cls, study: Study, hidden: tuple[int, ...], epochs: int) -> Self:
        """With the first 5,000 training images, in batches of 100; 3 epochs in a quick study."""
        data = study.training.take(min(FEW_IMAGES, len(study.training)))
        return cls(study, data, hidden, 3 if study.quick else epochs, 100)

    def budget(self, rate: float) -> Budget:
        return Budget(self.epochs, rate, self.batch_size)

    def network(self, seed: int, hidden: tuple[int, ...] | None = None) -> MLP:
        return MLP((self.data.x.shape[1], *(hidden or self.hidden), self.data.classes), seed=seed)

    def alone(self, seed: int, rate: float) -> MLP:
        return alone(self.data, self.hidden, self.budget(rate), seed)

    def distilled(self, answers: np.ndarray, seed: int, T: float, alpha: float, rate: float) -> MLP:
        return distilled(answers, self.data, self.hidden, self.budget(rate), seed, T, alpha)

    def measured(self, part: str, kind: Callable[..., MLP | list[MLP]], *settings: Any) -> float:
        """Mean accuracy, on the images of `part` of the study, of the network or networks kind(self, *settings)."""
        found = kind(self, *settings)
        networks = [found] if isinstance(found, MLP) else found
        return float(np.mean(accuracies(networks, getattr(self.study, part))))


def chosen(run: Run, trials: Sequence[Choice], kind: Callable[..., MLP | list[MLP]], *settings: Any) -> Choice:
    """The trial whose kind(trainer, 0, trial, *settings) is best on validation images; `run` is of a Trainer."""
    return highest(trials, run((Trainer.measured, "validation", kind, 0, trial, *settings) for trial in trials))


def jittered_teacher(
    data: Dataset, hidden: tuple[int, ...], epochs: int, dropout: float = 0.25, seed: int = 0
) -> MLP:
    """A teacher of images: dropout, weights held to a norm, and each image moved by up to two pixels (section 3)."""
    teacher = MLP((data.x.shape[1], *hidden, data.classes), dropout=dropout, seed=seed)
    optimizer = Adam(CosineSchedule(0.001), max_weight_norm=MAX_NORM)
    fit(teacher, data, epochs=epochs, batch_size=128, optimizer=optimizer, seed=seed, augment=RandomShift(2))
    return teacher


def errors(logits: np.ndarray, data: Dataset, rows: np.ndarray | None = None) -> float:
    """How many of 10,000 images logits (N,C) name wrongly; of those in `rows`, a mask (N,), where it is given."""
    wrong = logits.argmax(axis=1) != data.y                                     # (N,)
    return 10_000 * int((wrong if rows is None else wrong & rows).sum()) / len(wrong)


def accuracy(network: MLP, data: Dataset) -> float:
    """In percent."""
    return 100 * float((network.predict(data.x) == data.y).mean())


def accuracies(networks: Iterable[MLP], data: Dataset) -> list[float]:
    return [accuracy(network, data) for network in networks]


def agreement(network: MLP, answers: np.ndarray, data: Dataset) -> float:
    """Of the images, in percent, that a network gives the same class as the teacher's logits (N,C) do."""
    return 100 * float((network.predict(data.x) == answers.argmax(axis=1)).mean())


def described(settings: Any) -> dict[str, Any]:
    """The fields of an experiment's settings, as its results show them."""
    return {name: str(value) if isinstance(value, Budget) else value for name, value in vars(settings).items()}
