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

from ...distillation.chains import teacher_assistant
from ...losses import SoftTarget
from ...network import MLP
from .claims import ACCURACY, Claim, Findings, Panel, above_zero, bars
from .study import Study, Taught, Trainer, accuracy, alone, on_all_cores

SOURCE = "Mirzadeh et al. 2020"
DATA = "fashion-mnist"
SEEDS = 5

TEACHER, STUDENT = (800, 800), (12,)
ASSISTANTS = (24, 64, 200)  # hidden units
EPOCHS = 40
ALPHA = 0.9
RATES = (0.01, 0.02, 0.03, 0.06, 0.1, 0.2)                                         # tried for a student alone,
TRIALS = tuple((T, rate) for T in (1.0, 4.0) for rate in (0.01, 0.03, 0.1))  # and for one that has a teacher


def run(study: Study, log: Callable[[str], None]) -> Findings:
    trainer = AssistedTrainer.of(study, STUDENT, EPOCHS)
    widths = ASSISTANTS[::2] if study.quick else ASSISTANTS
    log("training the teacher ...")
    teacher = alone(trainer.data, TEACHER, trainer.budget(0.1), seed=0, dropout=0.3)
    log(f"teaching students of {STUDENT[0]} units, alone, directly and through {', '.join(map(str, widths))} units ...")
    with on_all_cores(trainer) as run:
        jobs = [(AssistedTrainer.through, teacher, width) for width in widths]
        *through, hard, direct = run([*jobs, (AssistedTrainer.by_labels,), (AssistedTrainer.directly, teacher)])
    found = Outcome(hard, direct, dict(zip(widths, through, strict=True)))
    settings = {
        "teacher": repr(teacher), "teacher_accuracy": accuracy(teacher, study.test), "student": STUDENT,
        "images": len(trainer.data), "epochs": trainer.epochs, "alpha": ALPHA, "seeds": study.seeds,
        "chosen": {"alone": hard.trial, "direct": direct.trial} | {k: one.trial for k, one in found.through.items()},
    }  # fmt: skip
    return _claims(found), [_panel(found)], settings


@dataclass(frozen=True)
class Outcome:
    alone: Taught
    direct: Taught
    through: dict[int, Taught]  # by the assistant's hidden units

    @property
    def chosen(self) -> Taught:
        """Through the assistant that the validation images speak for, with the first seed."""
        return max(self.through.values(), key=lambda one: one.validation[0])


class AssistedTrainer(Trainer):
    """A method per kind of student, for it runs in a process of its own."""

    def by_labels(self) -> Taught:
        return self.study.taught(zip(RATES), self.alone)

    def directly(self, teacher: MLP) -> Taught:
        answers = teacher.logits(self.data.x)                                   # (N,C)
        return self.study.taught(TRIALS, lambda seed, T, rate: self.distilled(answers, seed, T, ALPHA, rate))

    def through(self, teacher: MLP, width: int) -> Taught:
        """By an assistant of `width` hidden units, one for each student."""

        def student(seed: int, T: float, rate: float) -> MLP:
            chain = [self.network(seed, (width,)), self.network(seed)]
            teacher_assistant(teacher, chain, self.data, SoftTarget(T, ALPHA), **self.budget(rate).options(seed))
            return chain[-1]

        return self.study.taught(TRIALS, student)


def _claims(found: Outcome) -> list[Claim]:
    by_width = [one.over(found.direct) for one in found.through.values()]
    worst = [min(gains) for gains in zip(*by_width, strict=True)]
    return [
        above_zero("gain_teacher", "points gained by a teacher", found.direct.over(found.alone), 2),
        above_zero("gain_best_assistant", "points more through the best assistant", found.chosen.over(found.direct), 2),
        above_zero("gain_worst_assistant", "points more through the worst assistant", worst, 2),
    ]


def _panel(found: Outcome) -> Panel:
    kinds = {"alone": found.alone, "direct": found.direct} | {f"through {k}": one for k, one in found.through.items()}
    title = f"Fashion-MNIST, a student of {STUDENT[0]} units, its teacher of 2x{TEACHER[0]}"
    return bars(title, ACCURACY, {name: taught.test for name, taught in kinds.items()})
