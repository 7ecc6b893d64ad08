# SPDX-License-Identifier: MIT
"""Who is on the leaderboard: each method of the library, what is tried of it, and how it trains a student.

All have the same teacher, students with the same first weights, the same images in the same order, the same number of
steps of one optimizer, and as many trials on the validation images. A method that by its nature sees or costs more says
so in its note. Adam divides the size of a loss away, so one learning rate can serve all; the student that learns alone
has nothing to choose but that, and spends its trials on it.

Losses of hidden activations are added to soft targets: what their rows show is what they add to these. Some papers add
them to the cross-entropy, or train in two stages; on soft targets all of them are asked the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

from ... import losses
from ...data import Dataset
from ...distillation.chains import born_again, teacher_assistant
from ...distillation.ensembles import NoisyTeacher
from ...distillation.mutual import mutual_learning
from ...distillation.student import distill
from ...distillation.unlabeled import data_impressions, self_train
from ...losses import CrossEntropy, Loss, SoftTarget, TopK, TopKTarget
from ...network import MLP
from ...training.loop import fit
from ...training.optim import Adam
from ...training.schedules import LinearSchedule
from ..reproduce.study import Budget

REFERENCE, ALONE = "SoftTarget", "student alone"
TRIALS = 6  # of each method
ALPHA = 0.9  # the teacher's weight, where the trials go to something else
GENERATIONS = 2
IMPRESSIONS = 5  # rows made up, for each image that the others see
STRANGER = 1_000  # added to a seed: first weights that no student has

Setting = dict[str, Any]
Train = Callable[..., MLP]  # (classroom, seed, **setting) -> the student


@dataclass(frozen=True)
class Classroom:
    """What all methods share. It can go to another process."""

    images: Dataset        # those to learn from: the teachers saw all of them, each seed's student its own few
    validation: Dataset
    test: Dataset
    teachers: list[MLP]    # the first is the teacher, all of them the ensemble
    hidden: tuple[int, ...]  # widths of the student
    assistant: int         # width of a network of a size in between
    seen: int              # images that a student sees
    epochs: int
    rate: float            # of Adam
    batch_size: int

    @property
    def teacher(self) -> MLP:
        return self.teachers[0]

    def network(self, hidden: tuple[int, ...], seed: int) -> MLP:
        return MLP((self.teacher.sizes[0], *hidden, self.teacher.sizes[-1]), seed=seed)

    def student(self, seed: int, earlier: int = 0) -> MLP:
        """The student of a seed, or one some seeds `earlier`: born_again counts seeds up, and ends where all begin."""
        return self.network(self.hidden, seed + GENERATIONS - earlier)

    def seen_by(self, seed: int) -> Dataset:
        """The images that the student of a seed sees."""
        return self.images.take(self.seen, seed=seed)

    def parted(self, seed: int) -> tuple[Dataset, Dataset]:
        """The same, and the rest of those to learn from."""
        return self.images.split(self.seen, seed=seed)

    def budget(self, seed: int, rows: int | None = None, pace: float = 1.0) -> dict[str, Any]:
        """Options of `fit`: the same number of steps on any number of rows, but for rounding to epochs."""
        epochs = max(1, round(self.epochs * self.seen / (rows or self.seen)))
        return Budget(epochs, pace * self.rate, self.batch_size, Adam).options(seed) | {"progress": False}


@dataclass(frozen=True)
class Method:
    """A row of the leaderboard."""

    name: str
    trials: list[Setting]
    train: Train
    note: str = ""  # what it sees, costs or lacks that others do not


def grid(**choices: tuple[Any, ...]) -> list[Setting]:
    """Every combination of the choices."""
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


# ---------------------------------------------------------------------------------------------- ways to train a student


def by_labels(room: Classroom, seed: int, smoothing: float = 0.0, pace: float = 1.0) -> MLP:
    """Alone; `pace` is a multiple of the common learning rate."""
    student = room.student(seed)
    fit(student, room.seen_by(seed), CrossEntropy(smoothing), **room.budget(seed, pace=pace))
    return student


def taught(loss: Callable[..., Loss], teacher: Callable[[Classroom], Any] = lambda room: room.teacher) -> Train:
    """By a teacher, with the loss of a setting."""

    def train(room: Classroom, seed: int, **setting: Any) -> MLP:
        student = room.student(seed)
        distill(teacher(room), student, room.seen_by(seed), loss(**setting), **room.budget(seed))
        return student

    return train


def by_top_k(room: Classroom, seed: int, temperature: float, k: int) -> MLP:
    student, data = room.student(seed), room.seen_by(seed)
    targets = TopK.of(room.teacher.logits(data.x), k, temperature)
    fit(student, data, TopKTarget(temperature, ALPHA), targets=targets, **room.budget(seed))
    return student


def by_noisy_teacher(room: Classroom, seed: int, temperature: float, noise: float) -> MLP:
    student, teacher = room.student(seed), NoisyTeacher(room.teacher, noise, seed=seed)
    distill(teacher, student, room.seen_by(seed), SoftTarget(temperature, ALPHA), **room.budget(seed))
    return student


def by_assistant(room: Classroom, seed: int, **setting: Any) -> MLP:
    chain = [room.network((room.assistant,), seed), room.student(seed)]
    teacher_assistant(room.teacher, chain, room.seen_by(seed), SoftTarget(**setting), **room.budget(seed))
    return chain[-1]


def by_generations(room: Classroom, seed: int, **setting: Any) -> MLP:
    first, data = room.student(seed, earlier=GENERATIONS), room.seen_by(seed)
    fit(first, data, **room.budget(seed))
    return born_again(first, data, GENERATIONS, SoftTarget(**setting), **room.budget(seed))[-1]


def by_a_peer(room: Classroom, seed: int, **setting: Any) -> MLP:
    student = room.student(seed)
    peers = [student, room.student(seed + STRANGER)]
    mutual_learning(peers, room.seen_by(seed), SoftTarget(**setting), **room.budget(seed))
    return student


def by_self_training(room: Classroom, seed: int, **setting: Any) -> MLP:
    student, (labelled, rest) = room.student(seed), room.parted(seed)
    budget = room.budget(seed, rows=len(room.images))
    self_train(room.teacher, student, labelled, Dataset(rest.x), SoftTarget(**setting), **budget)
    return student


def by_impressions(room: Classroom, seed: int, temperature: float, density: float) -> MLP:
    student = room.student(seed)
    rows = data_impressions(room.teacher, IMPRESSIONS * room.seen, density=density, seed=seed)
    distill(room.teacher, student, rows, SoftTarget(temperature, 1.0), **room.budget(seed, rows=len(rows)))
    return student


def annealed(start: float, what: str) -> Loss:
    """The teacher's weight from 1 to 0 at the temperature `start`, or the temperature from there to 1."""
    if what == "alpha":
        return losses.Annealed(SoftTarget(start), alpha=LinearSchedule(1, 0))
    return losses.Annealed(SoftTarget(alpha=ALPHA), temperature=LinearSchedule(start, 1))


# ---------------------------------------------------------------------------------------------- what is tried

SOFT = grid(temperature=(2.0, 4.0, 8.0), alpha=(0.5, 0.9))   # what suits whatever compares softened probabilities
MILD = grid(temperature=(1.0, 2.0, 4.0), alpha=(0.5, 0.9))   # where logits are standardized, and among equals

ADDED = {  # losses of hidden activations, whose size is not known beforehand, and the weights tried of each
    losses.Hint: (0.001, 0.01, 0.1),
    losses.VariationalInformation: (0.001, 0.01, 0.1),
    losses.ContrastiveRepresentation: (0.03, 0.1, 0.3),
    losses.RelationalDistance: (0.3, 1.0, 10.0),
    losses.RelationalAngle: (0.3, 1.0, 10.0),
    losses.SimilarityPreserving: (1.0, 10.0, 100.0),
    losses.ProbabilisticTransfer: (1.0, 10.0, 100.0),
    losses.CorrelationCongruence: (1.0, 10.0, 100.0),
}


def added_to_soft_targets(loss: Callable[..., Any], weights: tuple[float, ...]) -> Method:
    train = taught(lambda temperature, weight: SoftTarget(temperature, ALPHA) + weight * loss())
    return Method(loss.__name__, grid(temperature=(4.0, 8.0), weight=weights), train, "added to soft targets")


METHODS = (
    Method(ALONE, grid(pace=(0.1, 0.2, 0.3, 0.5, 1.0, 2.0)), by_labels, "no teacher"),
    Method("label smoothing", grid(smoothing=(0.05, 0.1, 0.3), pace=(0.3, 1.0)), by_labels, "no teacher"),
    Method(REFERENCE, SOFT, taught(SoftTarget)),
    Method("TopKTarget", grid(temperature=(4.0, 8.0), k=(2, 3, 5)), by_top_k, "hears the k likeliest classes only"),
    Method("Annealed", grid(start=(2.0, 4.0, 8.0), what=("alpha", "temperature")), taught(annealed)),
    Method("LogitMatching", grid(alpha=(0.1, 0.3, 0.5, 0.7, 0.9, 1.0)), taught(losses.LogitMatching)),
    Method("VirtualTeacher", grid(correct=(0.9, 0.99), temperature=(1.0, 4.0, 20.0)), taught(losses.VirtualTeacher),
           "no teacher"),
    Method("DecoupledKD", grid(beta_other=(1.0, 2.0, 8.0), temperature=(4.0, 8.0)), taught(losses.DecoupledKD)),
    Method("StandardizedTarget", MILD, taught(losses.StandardizedTarget)),
    Method("DIST", grid(temperature=(1.0, 4.0), alpha=(0.5, 0.8, 0.95)), taught(losses.DIST)),
    Method("NKD", grid(gamma=(0.5, 1.5, 4.0), temperature=(1.0, 4.0)), taught(losses.NKD)),
    Method("ReverseKL", SOFT, taught(losses.ReverseKL)),
    Method("SkewKL", SOFT, taught(losses.SkewKL)),
    Method("SkewReverseKL", SOFT, taught(losses.SkewReverseKL)),
    Method("JensenShannon", grid(temperature=(4.0, 8.0), beta=(0.1, 0.5, 0.9), alpha=(ALPHA,)),
           taught(losses.JensenShannon)),
    Method("TotalVariation", SOFT, taught(losses.TotalVariation)),
    *(added_to_soft_targets(loss, weights) for loss, weights in ADDED.items()),
    Method("Ensemble", SOFT, taught(SoftTarget, lambda room: room.teachers), "three teachers"),
    Method("NoisyTeacher", grid(temperature=(4.0, 8.0), noise=(0.1, 0.2, 0.4)), by_noisy_teacher),
    Method("assist", SOFT, by_assistant, "trains two networks"),
    Method("born_again", MILD, by_generations, "trains three networks, each like the student: no larger teacher"),
    Method("mutual", MILD, by_a_peer, "trains two networks like the student: no larger teacher"),
    Method("self_train", SOFT, by_self_training, "sees more: the teacher answers all images, few of them labelled"),
    Method("data_impressions", grid(temperature=(2.0, 4.0, 8.0), density=(0.3, 0.6)), by_impressions,
           "sees no image: rows made up by the teacher, five times as many"),
)  # fmt: skip
BY_NAME = {method.name: method for method in METHODS}
