# SPDX-License-Identifier: MIT
"""Fidelity: does the student do what its teacher does, and what decides it?

Stanton et al. 2021 (NeurIPS, "Does knowledge distillation really work?") measured how often a student names the class
that its teacher names. It is less often than one expects, even where both have the same shape and the student could
copy the teacher exactly; more and other images to be taught on bring it closer, and being closer is not being better.

Here a teacher of MNIST answers images of several numbers and kinds, none of which need a label: those that it was
trained on, the same moved by a pixel or two, mixtures of two, photographs of clothes, and noise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...data import Dataset, fashion_mnist
from ...data.augmentation import RandomShift
from ...network import MLP
from ...training.optim import Adam
from .claims import Claim, Curve, Findings, Panel, above_zero, bars, differences
from .study import Budget, Study, accuracies, accuracy, agreement, distilled, jittered_teacher, on_all_cores

SOURCE = "Stanton et al. 2021"
DATA = "mnist"
SEEDS = 3

HIDDEN = (256, 256)  # of teacher and students: what the one can do the others can
T = 4.0
STEPS = 8_000
BATCH, RATE = 128, 0.001  # of Adam: from SGD a student now and then learned nothing
Figures = tuple[list[float], list[float]]  # agreement and accuracy in percent, one a seed

SIZES = (500, 2_000, 8_000, 32_000)


@dataclass(frozen=True)
class Classroom:
    """A teacher, what it says of the test images, and students that it is asked to teach."""

    study: Study
    teacher: MLP
    answers: np.ndarray  # (N,C)
    steps: int           # of each student

    def taught_on(self, x: np.ndarray) -> Figures:
        """Students distilled from the teacher's predictions for unlabeled images x (N,I)."""
        budget = Budget(max(1, self.steps * BATCH // len(x)), RATE, BATCH, Adam)
        said, test = self.teacher.logits(x), self.study.test
        students = [distilled(said, Dataset(x), HIDDEN, budget, seed, T) for seed in self.study.seeds]
        agreements = [agreement(student, self.answers, test) for student in students]
        return agreements, accuracies(students, test)


def run(study: Study, log: Callable[[str], None]) -> Findings:
    log("training the teacher ...")
    teacher = jittered_teacher(study.training, HIDDEN, epochs=2 if study.quick else 15)
    room = Classroom(study, teacher, teacher.logits(study.test.x), STEPS // 40 if study.quick else STEPS)
    sizes, kinds = _sizes(len(study.training)), _kinds(study)
    log(f"training students on {', '.join(f'{size:,}' for size in sizes)} images, and on {', '.join(kinds)} ...")
    with on_all_cores(room) as run:
        own = [study.training.take(size).x for size in sizes]
        found = run((Classroom.taught_on, x) for x in [*own, *kinds.values()])
    by_size, by_kind = dict(zip(sizes, found, strict=False)), dict(zip(kinds, found[len(sizes) :], strict=True))
    settings = {
        "teacher": repr(teacher), "teacher_accuracy": accuracy(teacher, study.test), "temperature": T,
        "steps": room.steps, "batch_size": BATCH, "rate": RATE, "seeds": study.seeds,
    }  # fmt: skip
    return _claims(by_size, by_kind), _panels(by_size, by_kind), settings


def _sizes(most: int) -> list[int]:
    return [size for size in SIZES if size <= most]


def _kinds(study: Study) -> dict[str, np.ndarray]:
    """As many images of each kind, (N,I)."""
    x = study.training.take(_sizes(len(study.training))[-1]).x                  # (N,I)
    random = np.random.default_rng(0)
    moved, _ = RandomShift(2)(x, None, random)
    partners, shares = random.permutation(len(x)), random.random((len(x), 1), dtype=np.float32)
    return {
        "moved": moved,
        "mixed": shares * x + (1 - shares) * x[partners],
        "clothes": fashion_mnist()[0].x[: len(x)],
        "noise": random.random(x.shape, dtype=np.float32),
    }


def _claims(by_size: dict[int, Figures], by_kind: dict[str, Figures]) -> list[Claim]:
    sizes = list(by_size)
    own = by_size[sizes[-1]][0]
    steps = [differences(by_size[more][0], by_size[fewer][0]) for fewer, more in pairwise(sizes)]
    least = [min(gains) for gains in zip(*steps, strict=True)]
    moved, clothes, noise = (by_kind[kind][0] for kind in ("moved", "clothes", "noise"))
    listed = ", ".join(f"{size:,}" for size in sizes)
    return [
        above_zero("disagreement", "images, in percent, on which a student of its own shape disagrees with it",
                   [100 - agreed for agreed in own], 2),
        above_zero("agreement_gain_more_images",
                   f"points of agreement that each step adds from {listed} images, the least", least, 2),
        above_zero("agreement_gain_shifted_images", "points of agreement that moving the images adds",
                   differences(moved, own), 2),
        above_zero("agreement_clothes_over_noise",
                   "points of agreement by which clothes teach digits better than noise", differences(clothes, noise),
                   1),
        above_zero("agreement_digits_over_clothes",
                   "points of agreement by which digits teach digits better than clothes", differences(own, clothes),
                   1),
    ]  # fmt: skip


def _panels(by_size: dict[int, Figures], by_kind: dict[str, Figures]) -> list[Panel]:
    sizes = list(by_size)
    agreed, right = map(list, zip(*by_size.values(), strict=True))
    sized = [Curve("agreement with the teacher", sizes, agreed), Curve("accuracy", sizes, right)]
    kinds = {"own": agreed[-1]} | {kind: figures[0] for kind, figures in by_kind.items()}
    return [
        Panel("How many images the teacher answers", "images", "% of test images", sized, logarithmic=True),
        bars("What they are", "agreement with the teacher, %", kinds),
    ]
