# SPDX-License-Identifier: MIT
"""Hinton, Vinyals and Dean 2015 (arXiv 1503.02531), section 3: what the teacher of MNIST hands on.

A large teacher learns from shifted images with dropout; a smaller student, with neither, learns from labels or from
the teacher's softened answers. Then the student's images lack every 3, or are nothing but 7s and 8s: it still reads
digits that it has never seen, once the biases of its output layer are mended.

The teacher is asked about nine views of each image, shifted by at most a pixel, as it has learned to read them; the
student sees the image alone, with the mean answer. One student learns from the answers to the images as they are.

The paper chose those biases by the test images. `offsets_by_teacher` needs neither them nor a label; the paper's way
is followed as well, and named as such.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ... import ops
from ...network import MLP
from ...training.optim import Adam
from .claims import Claim, Curve, Findings, Panel, above_zero, at_most, bars, differences
from .study import Budget, Study, alone, described, distilled, errors, jittered_teacher, on_all_cores

SOURCE = "Hinton, Vinyals and Dean 2015, section 3"
DATA = "mnist"
SEEDS = 3

T, T_OF_FEW = 8.0, 20.0  # of students with all digits, and with some missing
ERRORS = "test errors of 10,000"
THREES = [3]                             # left out of one transfer set,
ALL_BUT_TWO = [0, 1, 2, 3, 4, 5, 6, 9]   # and of the other
NARROW, MIDDLE, WIDE = 30, 300, 800      # units a layer, for the table of temperatures


@dataclass(frozen=True)
class Settings:
    """How large the experiment is. Rates and epochs were chosen on images held out of training."""

    teacher: tuple[int, ...]
    teacher_epochs: int
    student: tuple[int, ...]
    by_labels: Budget
    by_teacher: Budget
    no_threes: Budget
    two_digits: Budget
    by_width: Budget
    temperatures: dict[int, tuple[float, ...]]  # by units a layer


FULL = Settings(
    teacher=(1200, 1200), teacher_epochs=100, student=(800, 800), by_labels=Budget(15),
    by_teacher=Budget(40, 0.001, optimizer=Adam), no_threes=Budget(20, 0.002, optimizer=Adam),
    two_digits=Budget(60, 0.002, optimizer=Adam), by_width=Budget(12, 0.002, optimizer=Adam),
    temperatures={NARROW: (1.0, 2.5, 4.0, 8.0, 20.0), MIDDLE: (2.5, 8.0, 20.0), WIDE: (8.0, 20.0)},
)  # fmt: skip
QUICK = Settings(
    teacher=(100, 100), teacher_epochs=4, student=(100, 100), by_labels=Budget(4),
    by_teacher=Budget(8, 0.002, optimizer=Adam), no_threes=Budget(8, 0.002, optimizer=Adam),
    two_digits=Budget(20, 0.002, optimizer=Adam), by_width=Budget(2, 0.002, optimizer=Adam),
    temperatures={NARROW: (2.5, 8.0, 20.0), MIDDLE: (8.0, 20.0)},
)  # fmt: skip


class Unseen(NamedTuple):
    """Errors of students trained without some digits, one per seed: all, on those digits, and with corrected biases."""

    plain: list[float]
    by_rule: list[float]  # by the teacher's answers to altered images
    by_test: list[float]  # by the test images, as the paper did
    on_unseen: list[float]
    by_rule_on_unseen: list[float]


Table = dict[int, dict[float, list[float]]]  # errors by units a layer and temperature, one a seed


def run(study: Study, log: Callable[[str], None]) -> Findings:
    settings, seeds = QUICK if study.quick else FULL, study.seeds
    log(f"training the teacher on {len(study.whole):,} images ...")
    teacher = jittered_teacher(study.whole, settings.teacher, settings.teacher_epochs)
    answers = answers_to_views(teacher, study.whole.x)
    room = Classroom(study, settings.student, teacher, answers, teacher.logits(study.whole.x))
    log(f"training students of {len(seeds)} seeds, taught by labels and by the teacher, by few digits, by T ...")
    jobs: dict[Any, list[tuple[Any, ...]]] = {
        "soft": [(Classroom.by_teacher, settings.student, T, settings.by_teacher, seed) for seed in seeds],
        "one view": [(Classroom.by_teacher, settings.student, T, settings.by_teacher, seeds[0], True)],
        "no threes": [(Classroom.without, THREES, settings.no_threes, seed) for seed in seeds],
        "hard": [(Classroom.by_labels, settings.by_labels, seed) for seed in seeds],
        "two digits": [(Classroom.without, ALL_BUT_TWO, settings.two_digits, seed) for seed in seeds],
    }
    for units, temperatures in settings.temperatures.items():
        few = seeds[:1] if units == WIDE else seeds  # the widest take the longest
        for temperature in temperatures:
            one = (Classroom.by_teacher, (units, units), temperature, settings.by_width)
            jobs[units, temperature] = [(*one, seed) for seed in few]
    with on_all_cores(room) as run:  # all at once: no core waits for the end of a group
        results = iter(run(job for group in jobs.values() for job in group))
    found = {name: [next(results) for _ in group] for name, group in jobs.items()}
    hard, soft = found["hard"], found["soft"]
    threes, digits = (Unseen(*map(list, zip(*found[name], strict=True))) for name in ("no threes", "two digits"))
    table = {units: {T: found[units, T] for T in temperatures} for units, temperatures in settings.temperatures.items()}

    taught = errors(teacher.logits(study.test.x), study.test)
    by_views = errors(answers_to_views(teacher, study.test.x), study.test)
    claims = [
        *_claims_of_students(taught, by_views, hard, soft, found["one view"]), *_claims_of_unseen(threes, digits),
        *_claims_of_temperatures(table),
    ]  # fmt: skip
    shown = {"temperature": T, "temperature_of_few": T_OF_FEW, "alpha": 1.0, "seeds": seeds}
    return claims, _panels(taught, hard, soft, threes, digits, table), described(settings) | shown


@dataclass(frozen=True)
class Classroom:
    """A teacher, what it says about all images to learn from, and the students that hear it."""

    study: Study
    student: tuple[int, ...]  # widths of the hidden layers
    teacher: MLP
    answers: np.ndarray   # (N,C) logits, the mean over views of each image
    one_view: np.ndarray  # (N,C) those to the images alone

    def by_labels(self, budget: Budget, seed: int) -> float:
        student = alone(self.study.whole, self.student, budget, seed)
        return errors(student.logits(self.study.test.x), self.study.test)

    def by_teacher(
        self, hidden: tuple[int, ...], temperature: float, budget: Budget, seed: int, one_view: bool = False
    ) -> float:
        answers = self.one_view if one_view else self.answers
        student = distilled(answers, self.study.whole, hidden, budget, seed, temperature)
        return errors(student.logits(self.study.test.x), self.study.test)

    def without(self, unseen: list[int], budget: Budget, seed: int) -> tuple[float, ...]:
        """The errors of Unseen, of a student whose images lack the digits `unseen`."""
        rows = ~np.isin(np.asarray(self.study.whole.y), unseen)
        images, test = self.study.whole.subset(rows), self.study.test
        student = distilled(self.answers[rows], images, self.student, budget, seed, T_OF_FEW)
        s = student.logits(test.x)                                              # (N,C)
        mended = s + offsets_by_teacher(student, self.teacher, images.x, unseen, seed)      # (N,C)
        rare = np.isin(np.asarray(test.y), unseen)                                    # (N,)
        by_test = min(errors(s + offsets, test) for offsets in _equal_offsets(unseen, s.shape[1]))
        return errors(s, test), errors(mended, test), by_test, errors(s, test, rare), errors(mended, test, rare)


def answers_to_views(teacher: MLP, x: np.ndarray) -> np.ndarray:
    """The teacher's logits (N,C) for square images x (N,I): the mean over each image shifted by -1, 0 and 1 pixel."""
    N, side = len(x), int(np.sqrt(x.shape[1]))
    wide = np.pad(x.reshape(N, side, side), ((0, 0), (1, 1), (1, 1)))           # (N,side+2,side+2)
    shifts = [(down, right) for down in range(3) for right in range(3)]
    views = (wide[:, down : down + side, right : right + side] for down, right in shifts)
    mean: np.ndarray = np.mean([teacher.logits(view.reshape(N, -1)) for view in views], axis=0)        # (N,C)
    return mean


# ---------------------------------------------------------------------------------------------- mending the biases

ALTERED = 20_000  # images to ask the teacher about
SHARP = 0.25      # the temperature at which probabilities are nearly a count of answers
ROUNDS = 100


def offsets_by_teacher(student: MLP, teacher: MLP, x: np.ndarray, unseen: list[int], seed: int) -> np.ndarray:
    """What to add to the student's logits (C,), or biases, of classes that it never saw. No label is looked at.

    x (N,I) are the images that it did see. Altered, some of them look like a digit that it did not, an 8 without its
    left side like a 3; the teacher says so, and the student too rarely. The offsets are those at which it gives each
    class of `unseen`, over all altered images, as much probability as the teacher does.
    """
    images = with_a_hole(x, ALTERED, seed)                                      # (ALTERED,I)
    s, t = student.logits(images), teacher.logits(images)                       # (ALTERED,C)
    wanted = _share_of_each(t)                                                  # (C,)
    offsets = np.zeros(s.shape[1], s.dtype)                                     # (C,)
    for _ in range(ROUNDS):
        offsets[unseen] += SHARP * np.log(wanted / _share_of_each(s + offsets))[unseen]
    return offsets


def _share_of_each(logits: np.ndarray) -> np.ndarray:
    """The mean probability of each class (C,); at least that of one image in all, whose logarithm exists."""
    probabilities, _ = ops.softmax_forward(logits, SHARP)                       # (N,C)
    shares: np.ndarray = np.maximum(probabilities.mean(axis=0), 1 / len(logits))            # (C,)
    return shares


def with_a_hole(x: np.ndarray, count: int, seed: int) -> np.ndarray:
    """`count` of the square images in x (N,I), some of them more than once, each without a rectangle of its own."""
    random = np.random.default_rng(seed)
    chosen = x[random.integers(len(x), size=count)]                             # (count,I), a copy
    side = int(np.sqrt(x.shape[1]))
    corners, sizes = random.integers(side, size=(count, 2)), random.integers(side // 5, 3 * side // 4, size=(count, 2))
    for image, (top, left), (height, width) in zip(chosen.reshape(-1, side, side), corners, sizes, strict=True):
        image[top : top + height, left : left + width] = 0
    return chosen


def _equal_offsets(unseen: list[int], classes: int) -> list[np.ndarray]:
    """The same for each unseen class, from -15 to 15 in steps of 0.1: what the paper chose by the test images."""
    at_unseen = np.isin(np.arange(classes), unseen)                             # (C,)
    return [np.float32(offset) * at_unseen for offset in np.linspace(-15, 15, 301)]


# ---------------------------------------------------------------------------------------------------- what was claimed


def _claims_of_students(
    teacher: float, by_views: float, hard: list[float], soft: list[float], one_view: list[float]
) -> list[Claim]:
    return [
        at_most("teacher_errors", 75, "errors of the teacher", [teacher], paper=67),
        at_most("student_errors_labels", 161, "errors of the student taught by labels", hard, paper=146),
        at_most("student_errors_soft_targets", 90, "errors of the student taught by soft targets", soft, paper=74),
        above_zero("errors_saved_soft_targets", "errors that soft targets spare", differences(hard, soft),
                   paper=146 - 74),
        above_zero("errors_saved_nine_views_teacher", "errors that nine views spare the teacher", [teacher - by_views]),
        above_zero("errors_saved_nine_views_student", "errors that they spare a student",
                   differences(one_view, soft[: len(one_view)])),
    ]  # fmt: skip


def _claims_of_unseen(threes: Unseen, digits: Unseen) -> list[Claim]:
    plain, by_rule, by_test, *_ = ([count / 100 for count in counts] for counts in digits)  # percent
    return [
        at_most("errors_unseen_3", 206, "errors of a student that never saw a 3", threes.plain, paper=206),
        at_most("bias_corrected_errors_unseen_3", 115, "... its bias mended, by a rule without labels", threes.by_rule,
                paper=109),
        at_most("test_bias_errors_unseen_3", 109, "... its bias chosen by the test images", threes.by_test, paper=109),
        at_most("errors_on_3_unseen_3", 133, "of its errors those on threes", threes.on_unseen, paper=133),
        at_most("bias_corrected_errors_on_3_unseen_3", 14, "... its bias mended, by that rule",
                threes.by_rule_on_unseen, paper=14),
        at_most("error_percent_only_7_and_8", 47.3, "percent wrong of a student that saw 7s and 8s alone", plain, 1,
                paper=47.3),
        at_most("bias_corrected_error_percent_only_7_and_8", 13.2, "... its biases mended, by a rule without labels",
                by_rule, 1, paper=13.2),
        at_most("test_bias_error_percent_only_7_and_8", 13.2, "... its biases chosen by the test images", by_test, 1,
                paper=13.2),
    ]  # fmt: skip


def _claims_of_temperatures(table: Table) -> list[Claim]:
    best = min(table[NARROW], key=lambda T: np.mean(table[NARROW][T]))
    return [
        Claim(f"best_temperature_{NARROW}_units", f"best T of 2x{NARROW} units: below 8", [best], best < 8, 4, 1),
        *(
            at_most(f"error_change_t8_to_t20_{units}_units", 10,
                    f"percent by which errors of 2x{units} differ from T=8 to 20", _apart(table[units]), 1)
            for units in list(table)[1:]
        ),
    ]  # fmt: skip


def _apart(by_temperature: dict[float, list[float]]) -> list[float]:
    """How far the mean errors at T=8 and T=20 are from one another, in percent of the fewer."""
    warm, hot = (float(np.mean(by_temperature[T])) for T in (8.0, 20.0))
    return [100 * abs(warm - hot) / min(warm, hot)]


def _panels(
    teacher: float, hard: list[float], soft: list[float], threes: Unseen, digits: Unseen, table: Table
) -> list[Panel]:
    students = {"teacher": [teacher], "from labels": hard, "from soft targets": soft}
    widths = [Curve(f"2x{units} units", list(row), list(row.values())) for units, row in table.items()]
    return [
        bars("The same student, taught in two ways", ERRORS, students),
        _mended("Taught without a single 3", threes),
        _mended("Taught with 7s and 8s alone", digits),
        Panel("Temperature and width", "temperature", ERRORS, widths, logarithmic=True),
    ]


def _mended(title: str, found: Unseen) -> Panel:
    values = {"as trained": found.plain, "biases mended": found.by_rule, "mended by test": found.by_test}
    return bars(title, ERRORS, values)
