# SPDX-License-Identifier: MIT
"""Teacher assistants: does a network of a size in between help a student that is far smaller than its teacher?

Mirzadeh et al. 2020 (AAAI) found that convolutional networks learn more from an assistant that the teacher has taught
than from the teacher itself, and that even a poor choice of the assistant's size is better than none. Here teacher,
assistants and students see 5,000 images of Fashion-MNIST, photographs of shop articles, and are perceptrons.

All students have as many trials on the validation images: a student alone as many learning rates as a distilled one has
pairs of temperature and rate. What differs is the teacher; an assistant has the settings of its student.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...data import Dataset
from ...distillation.chains import teacher_assistant
from ...losses import SoftTarget
from ...network import MLP
from ...training.loop import fit
from ...training.optim import SGD
from ...training.schedules import CosineSchedule
from .claims import Claim, Curve, Findings, Panel, always_above, differences
from .study import Budget, Study, accuracy, alone, best, distilled, on_all_cores

SOURCE = "Mirzadeh et al. 2020"
DATA = "fashion-mnist"
SEEDS = 5

IMAGES = 5_000
TEACHER, STUDENT = (800, 800), (12,)
ASSISTANTS = (24, 64, 200)  # hidden units
EPOCHS = 40
ALPHA = 0.9
RATES = (0.01, 0.02, 0.03, 0.06, 0.1, 0.2)                                         # tried for a student alone,
TRIALS = tuple((T, rate) for T in (1.0, 4.0) for rate in (0.01, 0.03, 0.1))  # and for one that has a teacher


def run(study: Study, say: Callable[[str], None]) -> Findings:
    data = study.training.take(min(IMAGES, len(study.training)))
    epochs = 3 if study.quick else EPOCHS
    widths = ASSISTANTS[::2] if study.quick else ASSISTANTS
    say("training the teacher ...")
    teacher = MLP((data.x.shape[1], *TEACHER, data.classes), dropout=0.3)
    fit(teacher, data, epochs=epochs, batch_size=100, optimizer=SGD(CosineSchedule(0.1)))
    say(f"teaching students of {STUDENT[0]} units, alone, directly and through {', '.join(map(str, widths))} units ...")
    with on_all_cores(Classroom(study, data, teacher, epochs)) as run:
        jobs = [(Classroom.through, width) for width in widths]
        *through, hard, direct = run([*jobs, (Classroom.by_labels,), (Classroom.directly,)])
    found = Outcome(hard, direct, dict(zip(widths, through, strict=True)))
    settings = {
        "teacher": repr(teacher), "teacher_accuracy": accuracy(teacher, study.test), "student": STUDENT,
        "images": len(data), "epochs": epochs, "alpha": ALPHA, "seeds": study.seeds,
        "chosen": {"alone": hard.trial, "direct": direct.trial} | {k: one.trial for k, one in found.through.items()},
    }  # fmt: skip
    return Findings(_claims(found), [_panel(found)], settings)


@dataclass(frozen=True)
class Taught:
    """What students of one kind reached, in percent, one a seed, at the settings that validation images spoke for."""

    trial: tuple[float, ...]
    validation: float  # with the first seed
    test: list[float]


@dataclass(frozen=True)
class Outcome:
    alone: Taught
    direct: Taught
    through: dict[int, Taught]  # by the assistant's hidden units

    @property
    def chosen(self) -> Taught:
        """Through the assistant that the validation images speak for."""
        return max(self.through.values(), key=lambda one: one.validation)


@dataclass(frozen=True)
class Classroom:
    study: Study
    data: Dataset
    teacher: MLP
    epochs: int

    def budget(self, rate: float) -> Budget:
        return Budget(self.epochs, rate, batch_size=100)

    def by_labels(self) -> Taught:
        return self._taught([(rate,) for rate in RATES], self._alone)

    def directly(self) -> Taught:
        answers = self.teacher.logits(self.data.x)                              # (N,C)
        return self._taught(list(TRIALS), lambda seed, T, rate: self._from(answers, seed, T, rate))

    def through(self, width: int) -> Taught:
        """By an assistant of `width` hidden units, one for each student."""

        def student(seed: int, T: float, rate: float) -> MLP:
            inputs, classes = self.teacher.sizes[0], self.teacher.sizes[-1]
            assistant = MLP((inputs, width, classes), seed=seed)
            last = MLP((inputs, *STUDENT, classes), seed=seed)
            options = self.budget(rate).options(seed)
            teacher_assistant(self.teacher, [assistant, last], self.data, SoftTarget(T, ALPHA), **options)
            return last

        return self._taught(list(TRIALS), student)

    def _alone(self, seed: int, rate: float) -> MLP:
        return alone(self.data, STUDENT, self.budget(rate), seed)

    def _from(self, answers: np.ndarray, seed: int, T: float, rate: float) -> MLP:
        return distilled(answers, self.data, STUDENT, self.budget(rate), seed, T, ALPHA)

    def _taught(self, trials: list[tuple[float, ...]], student: Callable[..., MLP]) -> Taught:
        scores = {trial: accuracy(student(0, *trial), self.study.validation) for trial in trials}
        trial = best(trials, scores.__getitem__)
        test = [accuracy(student(seed, *trial), self.study.test) for seed in self.study.seeds]
        return Taught(trial, scores[trial], test)


def _claims(found: Outcome) -> list[Claim]:
    direct, chosen = found.direct.test, found.chosen.test
    by_width = [differences(one.test, direct) for one in found.through.values()]
    worst = [min(gains) for gains in zip(*by_width, strict=True)]
    return [
        always_above(0, "points gained by a teacher", differences(direct, found.alone.test), decimals=2),
        always_above(0, "points more through the best assistant", differences(chosen, direct), decimals=2),
        always_above(0, "points more through the worst assistant", worst, decimals=2),
    ]


def _panel(found: Outcome) -> Panel:
    names = ["alone", "direct", *(f"through {width}" for width in found.through)]
    values = [found.alone.test, found.direct.test, *(one.test for one in found.through.values())]
    title = f"Fashion-MNIST, a student of {STUDENT[0]} units, its teacher of 2x{TEACHER[0]}"
    return Panel(title, "", "accuracy on test images, %", [Curve("", names, values)])
