# SPDX-License-Identifier: MIT
"""Capacity: where distilling hurts, and where a student beats its teacher.

Cho and Hariharan 2019 (ICCV) and Mirzadeh et al. 2020 (AAAI) found that a better teacher does not always make a better
student: one that is much smaller cannot follow. On Fashion-MNIST, photographs of shop articles, students of a few to
hundreds of hidden units learn from all images, alone and at several temperatures.

The other way round, where a share of the labels is wrong, a teacher's softened answers are better than the labels: it
has averaged over mistakes that a student alone would learn by heart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

from ...data import Dataset
from ...data.augmentation import with_label_noise
from ...network import MLP
from .claims import ACCURACY, Claim, Curve, Findings, Panel, above_zero, bars, differences
from .study import Budget, Study, Taught, Trainer, accuracies, accuracy, alone, on_all_cores

SOURCE = "Cho and Hariharan 2019; Mirzadeh et al. 2020"
DATA = "fashion-mnist"
SEEDS = 3

TEACHER, DROPOUT = (512, 512), 0.2
WIDTHS = (8, 16, 64, 256)
TEMPERATURES = (1.0, 2.0, 4.0, 8.0)
RATES = (0.01, 0.03, 0.1)  # tried alone and at each temperature
ALPHA, BATCH = 0.9, 128
NOISE, NOISY_WIDTH, NOISY_T = 0.4, 128, 2.0
NOISY_RATES = (0.003, 0.01, 0.02, 0.05, 0.1, 0.2)                         # tried for students alone,
NOISY_TRIALS = tuple(product((0.01, 0.03, 0.1), (0.5, 0.9)))  # and for distilled ones, alphas beside the rates


def run(study: Study, log: Callable[[str], None]) -> Findings:
    epochs = 2 if study.quick else 15
    log("training the teacher ...")
    teacher = alone(study.training, TEACHER, Budget(epochs), 0, DROPOUT)
    widths = WIDTHS[:: len(WIDTHS) - 1] if study.quick else WIDTHS
    log(f"training students of {', '.join(map(str, widths))} hidden units, and some on wrong labels ...")
    with on_all_cores(Classroom(study, teacher, epochs)) as run:
        noisy, *students = run([(Classroom.of_noise,), *((Classroom.of_width, width) for width in widths)])
    found = dict(zip(widths, students, strict=True))
    (rate_alone,), (rate, alpha) = noisy.alone.trial, noisy.distilled.trial
    settings = {
        "teacher": repr(teacher), "teacher_accuracy": accuracy(teacher, study.test), "epochs": epochs, "alpha": ALPHA,
        "rates": {width: outcome.rates for width, outcome in found.items()},
        "noisy": {"width": NOISY_WIDTH, "rate_alone": rate_alone, "rate": rate, "alpha": alpha},
        "seeds": study.seeds,
    }  # fmt: skip
    return [*_claims_of_widths(found), *_claims_of_noise(noisy)], [*_panels(found), _panel(noisy)], settings


@dataclass(frozen=True)
class Classroom:
    """A teacher and students of several widths. Each kind of student has as many trials on the validation images."""

    study: Study
    teacher: MLP
    epochs: int

    def of_width(self, width: int) -> "Width":
        study, trainer = self.study, self._trainer(self.study.training, width)
        answers = self.teacher.logits(study.training.x)                         # (N,C)

        def by_teacher(seed: int, rate: float, T: float) -> MLP:
            return trainer.distilled(answers, seed, T, ALPHA, rate)

        soft = {T: study.taught([(rate, T) for rate in RATES], by_teacher) for T in TEMPERATURES}
        return Width(study.taught(zip(RATES), trainer.alone), soft)

    def of_noise(self) -> "Noisy":
        """Of training and validation images many labels are wrong, and everyone has the same ones."""
        study = self.study
        training, validation = (with_label_noise(part, NOISE, seed=0) for part in (study.training, study.validation))
        teachers = [alone(training, TEACHER, Budget(self.epochs), seed, DROPOUT) for seed in study.seeds]
        answers = [teacher.logits(training.x) for teacher in teachers]
        trainer = self._trainer(training, NOISY_WIDTH)

        def by_teacher(seed: int, rate: float, alpha: float) -> MLP:
            return trainer.distilled(answers[seed], seed, NOISY_T, alpha, rate)

        hard = study.taught(zip(NOISY_RATES), trainer.alone, validation)
        soft = study.taught(NOISY_TRIALS, by_teacher, validation)
        return Noisy(accuracies(teachers, study.test), hard, soft)

    def _trainer(self, data: Dataset, width: int) -> Trainer:
        return Trainer(self.study, data, (width,), self.epochs, BATCH)


# ------------------------------------------------------------------------------------------ width and temperature


@dataclass(frozen=True)
class Width:
    """Students of one width."""

    alone: Taught
    distilled: dict[float, Taught]  # by temperature

    @property
    def rates(self) -> dict[str | float, float]:
        """The learning rates chosen, alone and by temperature."""
        return {"alone": self.alone.trial[0]} | {T: taught.trial[0] for T, taught in self.distilled.items()}

    @property
    def temperatures(self) -> list[float]:
        """The best on the validation images, for each seed."""
        seeds = range(len(self.alone.test))
        return [max(self.distilled, key=lambda T: self.distilled[T].validation[k]) for k in seeds]

    def gains(self, T: float) -> list[float]:
        return self.distilled[T].over(self.alone)

    @property
    def gains_at_best(self) -> list[float]:
        """At the temperature that each seed's validation images speak for."""
        return [self.gains(T)[k] for k, T in enumerate(self.temperatures)]


def _claims_of_widths(widths: dict[int, Width]) -> list[Claim]:
    fewest, most, hot = WIDTHS[0], WIDTHS[-1], TEMPERATURES[-1]
    narrow, wide = widths[fewest], widths[most]
    harm = [-gain for gain in narrow.gains(hot)]
    return [
        above_zero(f"loss_{fewest}_units", f"points that {fewest} hidden units lose by distilling at T={hot:g}", harm,
                   1),
        above_zero(f"extra_gain_{most}_units", f"points by which {most} units gain more at T={hot:g} than {fewest} do",
                   differences(wide.gains(hot), narrow.gains(hot)), 1),
        above_zero(f"best_gain_{most}_units", f"points that {most} units gain at their best T", wide.gains_at_best, 2),
        above_zero("best_temperature_difference", f"best T of {most} units less that of {fewest}",
                   differences(wide.temperatures, narrow.temperatures)),
    ]  # fmt: skip


def _panels(widths: dict[int, Width]) -> list[Panel]:
    curves = [
        Curve(f"{width} units", list(TEMPERATURES), [found.gains(T) for T in TEMPERATURES])
        for width, found in widths.items()
    ]
    return [Panel("Fashion-MNIST: what distilling adds", "temperature", "points of accuracy", curves, logarithmic=True)]


# ------------------------------------------------------------------------------------------------------ noisy labels


@dataclass(frozen=True)
class Noisy:
    """What came of noisy labels; the test images have clean ones."""

    teacher: list[float]  # accuracies on the test images, in percent, one a seed
    alone: Taught
    distilled: Taught


def _claims_of_noise(noisy: Noisy) -> list[Claim]:
    wrong = f"{NOISE:.0%} of the labels wrong"
    return [
        above_zero("noisy_labels_gain_over_teacher", f"{wrong}: points of the student over its teacher",
                   differences(noisy.distilled.test, noisy.teacher), 1),
        above_zero("noisy_labels_gain_over_alone", f"{wrong}: points of the student over one alone",
                   noisy.distilled.over(noisy.alone), 1),
    ]  # fmt: skip


def _panel(noisy: Noisy) -> Panel:
    values = {"student alone": noisy.alone.test, "teacher": noisy.teacher, "distilled": noisy.distilled.test}
    return bars(f"{NOISE:.0%} of the labels wrong, {NOISY_WIDTH} units", ACCURACY, values)
