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
from ...training.loop import fit
from ...training.optim import SGD
from ...training.schedules import CosineSchedule
from .claims import Claim, Curve, Findings, Panel, always_above, differences
from .study import Budget, Study, accuracy, alone, best, distilled, on_all_cores

SOURCE = "Cho and Hariharan 2019; Mirzadeh et al. 2020"
DATA = "fashion-mnist"
SEEDS = 3

WIDTHS = (8, 16, 64, 256)
TEMPERATURES = (1.0, 2.0, 4.0, 8.0)
RATES = (0.01, 0.03, 0.1)  # tried alone and at each temperature
ALPHA = 0.9
NOISE, NOISY_WIDTH, NOISY_T = 0.4, 128, 2.0
NOISY_RATES = (0.003, 0.01, 0.02, 0.05, 0.1, 0.2)                         # tried for students alone,
NOISY_TRIALS = tuple(product((0.01, 0.03, 0.1), (0.5, 0.9)))  # and for distilled ones, alphas beside the rates


def run(study: Study, say: Callable[[str], None]) -> Findings:
    epochs = 2 if study.quick else 15
    say("training the teacher ...")
    teacher = _teacher(study.training, epochs)
    widths = WIDTHS[:: len(WIDTHS) - 1] if study.quick else WIDTHS
    say(f"training students of {', '.join(map(str, widths))} hidden units, and some on wrong labels ...")
    with on_all_cores(Classroom(study, teacher, epochs)) as run:
        noisy, *students = run([(Classroom.of_noise,), *((Classroom.of_width, width) for width in widths)])
    found = dict(zip(widths, students, strict=True))
    settings = {
        "teacher": repr(teacher), "teacher_accuracy": accuracy(teacher, study.test), "epochs": epochs, "alpha": ALPHA,
        "rates": {width: {"alone": outcome.rate_alone} | outcome.rates for width, outcome in found.items()},
        "noisy": {"width": NOISY_WIDTH, "rate_alone": noisy.rate_alone, "rate": noisy.rate, "alpha": noisy.alpha},
        "seeds": study.seeds,
    }  # fmt: skip
    return Findings([*_claims_of_widths(found), *_claims_of_noise(noisy)], [*_panels(found), _panel(noisy)], settings)


@dataclass(frozen=True)
class Classroom:
    """A teacher and students of several widths. Each kind of student has as many trials on the validation images."""

    study: Study
    teacher: MLP
    epochs: int

    def of_width(self, width: int) -> "Width":
        study, hidden = self.study, (width,)
        answers = self.teacher.logits(study.training.x)                         # (N,C)

        def by_labels(seed: int, rate: float) -> MLP:
            return alone(study.training, hidden, Budget(self.epochs, rate), seed)

        def by_teacher(seed: int, rate: float, T: float) -> MLP:
            return distilled(answers, study.training, hidden, Budget(self.epochs, rate), seed, T, ALPHA)

        rate = best(RATES, lambda rate: accuracy(by_labels(0, rate), study.validation))
        trials = {T: {rate: accuracy(by_teacher(0, rate, T), study.validation) for rate in RATES} for T in TEMPERATURES}
        rates = {T: best(RATES, trials[T].__getitem__) for T in TEMPERATURES}
        hard = [accuracy(by_labels(seed, rate), study.test) for seed in study.seeds]
        students = {T: [by_teacher(seed, rates[T], T) for seed in study.seeds] for T in TEMPERATURES}
        seen = {T: [accuracy(student, study.validation) for student in found] for T, found in students.items()}
        soft = {T: [accuracy(student, study.test) for student in found] for T, found in students.items()}
        temperatures = [max(seen, key=lambda T: seen[T][k]) for k in range(len(study.seeds))]
        return Width(rate, rates, hard, soft, temperatures)

    def of_noise(self) -> "Noisy":
        """Of training and validation images many labels are wrong, and everyone has the same ones."""
        study, hidden = self.study, (NOISY_WIDTH,)
        training, validation = (with_label_noise(part, NOISE, seed=0) for part in (study.training, study.validation))
        teachers = [_teacher(training, self.epochs, seed) for seed in study.seeds]
        answers = [teacher.logits(training.x) for teacher in teachers]

        def by_labels(seed: int, rate: float) -> MLP:
            return alone(training, hidden, Budget(self.epochs, rate), seed)

        def by_teacher(seed: int, rate: float, alpha: float) -> MLP:
            return distilled(answers[seed], training, hidden, Budget(self.epochs, rate), seed, NOISY_T, alpha)

        rate_alone = best(NOISY_RATES, lambda rate: accuracy(by_labels(0, rate), validation))
        rate, alpha = best(NOISY_TRIALS, lambda trial: accuracy(by_teacher(0, *trial), validation))
        hard = [by_labels(seed, rate_alone) for seed in study.seeds]
        soft = [by_teacher(seed, rate, alpha) for seed in study.seeds]
        figures = ([accuracy(network, study.test) for network in group] for group in (teachers, hard, soft))
        return Noisy(rate_alone, rate, alpha, *figures)


# ------------------------------------------------------------------------------------------ width and temperature


@dataclass(frozen=True)
class Width:
    """What students of one width reached on the test images, in percent, one figure a seed."""

    rate_alone: float
    rates: dict[float, float]            # by temperature
    alone: list[float]
    distilled: dict[float, list[float]]  # by temperature
    temperatures: list[float]            # the best on the validation images, for each seed

    def gains(self, T: float) -> list[float]:
        return differences(self.distilled[T], self.alone)

    @property
    def gains_at_best(self) -> list[float]:
        """At the temperature that each seed's validation images speak for."""
        return [self.gains(T)[k] for k, T in enumerate(self.temperatures)]


def _claims_of_widths(widths: dict[int, Width]) -> list[Claim]:
    narrow, wide = widths[WIDTHS[0]], widths[WIDTHS[-1]]
    harm = [-gain for gain in narrow.gains(TEMPERATURES[-1])]
    room = differences(wide.gains(TEMPERATURES[-1]), narrow.gains(TEMPERATURES[-1]))
    warmer = differences(wide.temperatures, narrow.temperatures)
    hot = f"T={TEMPERATURES[-1]:g}"
    return [
        always_above(0, f"points that {WIDTHS[0]} hidden units lose by distilling at {hot}", harm, decimals=1),
        always_above(0, f"points by which {WIDTHS[-1]} units gain more at {hot} than {WIDTHS[0]} do", room, decimals=1),
        always_above(0, f"points that {WIDTHS[-1]} units gain at their best T", wide.gains_at_best, decimals=2),
        always_above(0, f"best T of {WIDTHS[-1]} units less that of {WIDTHS[0]}", warmer),
    ]


def _panels(widths: dict[int, Width]) -> list[Panel]:
    curves = [
        Curve(f"{width} units", list(TEMPERATURES), [found.gains(T) for T in TEMPERATURES])
        for width, found in widths.items()
    ]
    return [Panel("Fashion-MNIST: what distilling adds", "temperature", "points of accuracy", curves, logarithmic=True)]


# ------------------------------------------------------------------------------------------------------ noisy labels


@dataclass(frozen=True)
class Noisy:
    """What came of noisy labels: accuracies on clean test images, in percent, one a seed."""

    rate_alone: float
    rate: float
    alpha: float
    teacher: list[float]
    alone: list[float]
    distilled: list[float]


def _claims_of_noise(noisy: Noisy) -> list[Claim]:
    over_teacher = differences(noisy.distilled, noisy.teacher)
    over_alone = differences(noisy.distilled, noisy.alone)
    wrong = f"{NOISE:.0%} of the labels wrong"
    return [
        always_above(0, f"{wrong}: points of the student over its teacher", over_teacher, decimals=1),
        always_above(0, f"{wrong}: points of the student over one alone", over_alone, decimals=1),
    ]


def _panel(noisy: Noisy) -> Panel:
    names = ["student alone", "teacher", "distilled"]
    curve = Curve("", names, [noisy.alone, noisy.teacher, noisy.distilled])
    return Panel(f"{NOISE:.0%} of the labels wrong, {NOISY_WIDTH} units", "", "accuracy on test images, %", [curve])


def _teacher(data: Dataset, epochs: int, seed: int = 0) -> MLP:
    teacher = MLP((data.x.shape[1], 512, 512, data.classes), dropout=0.2, seed=seed)
    fit(teacher, data, epochs=epochs, batch_size=128, optimizer=SGD(CosineSchedule(0.1)), seed=seed)
    return teacher
