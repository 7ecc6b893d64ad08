# SPDX-License-Identifier: MIT
"""Into production: a large network hands its work to a small one, helps it out, and keeps watch over it.

It reproduces no paper. Each step is measured, in the accuracy that it keeps and in what it costs:

    1. a teacher, 2x1200 units, too slow for what it is wanted for
    2. a student, the narrowest that keeps enough of it on images held out
    3. the same student in whole numbers of eight bits
    4. a cascade: the student answers where it is sure, and the teacher the rest
    5. a quality gate: of one live image in twenty the teacher is asked too, and says when the student has lost its way

`deploy` has steps 3 to 5. One half of the images held out chooses the student; on the other half cascade and gate are
calibrated.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np

from ...data import Dataset
from ...data.mnist import FASHION_MNIST, is_at_hand
from ...deployment import Cascade, QualityGate
from ...deployment.bounds import evidence
from ...deployment.compression import CALIBRATION, cost_of_a_million
from ...deployment.quantization import quantize
from ...kernels import default_backend, one_thread
from ...network import MLP
from ...training.evaluation import Report, compare
from ...training.optim import Adam
from ..drift import noisy, rotated
from .claims import Claim, Curve, Findings, Panel, at_least, at_most
from .study import Budget, Study, accuracy, alone, described, distilled, on_all_cores

SOURCE = "no paper, but what the library set itself beforehand"
DATA = "fashion-mnist" if is_at_hand(FASHION_MNIST) else "digits"  # of which no download is needed
SEEDS = 3

TEACHER, DROPOUT = (1200, 1200), 0.25
ENOUGH = 98.5                   # percent of the teacher's accuracy, for a student
PRICE = 0.05                    # of a core-hour
BUDGETS = (0.1, 0.2, 0.4)       # of the teacher's multiply-adds, for an image by the cascade;
AFFORDED = BUDGETS[1]           # the one that goes into production
ANGLE, NOISE = 15.0, 0.3        # degrees; standard deviation, of pixels from 0 to 1
INPUTS, DRIFT, BATCH = 100_000, 5_000, 250  # of a stream; before the drift; at a time
CALM = "no drift"


@dataclass(frozen=True)
class Settings:
    """How large the experiment is. Rates and epochs were chosen on images held out of training."""

    by_labels: Budget                # of the teacher
    widths: tuple[int, ...]          # of the student's hidden layer, from narrow to wide,
    temperatures: tuple[float, ...]  # and temperatures to try with each
    by_teacher: Budget


PHOTOGRAPHS = Settings(Budget(25), (32, 64, 128), (1.0, 2.0, 4.0), Budget(30, 0.002, optimizer=Adam))
DIGITS = Settings(Budget(60, batch_size=32), (16, 32, 64), (2.0, 4.0, 8.0), Budget(150, batch_size=32))
QUICK = Settings(Budget(3), (32, 64), (2.0,), Budget(4, 0.002, optimizer=Adam))
FULL = {"fashion-mnist": PHOTOGRAPHS, "digits": DIGITS}


def run(study: Study, log: Callable[[str], None]) -> Findings:
    settings = QUICK if study.quick else FULL[DATA]
    choosing, proving = study.validation.split(0.5)
    log(f"{DATA}: training the teacher on {len(study.training):,} images ...")
    teacher = alone(study.training, TEACHER, settings.by_labels, 0, DROPOUT)
    room = Classroom(study.training, choosing, teacher.logits(study.training.x), settings.by_teacher)
    log(f"choosing a student of {', '.join(map(str, settings.widths))} units, and training {len(study.seeds)} ...")
    trials = list(product(settings.widths, settings.temperatures))
    with on_all_cores(room) as run:
        scores = run((Classroom.score, *trial) for trial in trials)
        width, T = narrowest(trials, scores, ENOUGH / 100 * accuracy(teacher, choosing))
        students = run((Classroom.student, width, T, seed) for seed in study.seeds)
    log("deploying and measuring, on one thread ...")
    with one_thread(default_backend()):
        streams = drifts(study.test.x)
        found = [deploy(teacher, student, study.training, proving, study.test, streams) for student in students]
    chosen = {"data": DATA, "teacher": repr(teacher), "width": width, "temperature": T, "seeds": study.seeds}
    return _claims(found), _panels(found), described(settings) | chosen | _figures(found)


@dataclass(frozen=True)
class Classroom:
    """The images, what the teacher says of them, and the students that learn from that."""

    training: Dataset
    choosing: Dataset
    answers: np.ndarray  # (N,C)
    budget: Budget

    def student(self, width: int, T: float, seed: int) -> MLP:
        return distilled(self.answers, self.training, (width,), self.budget, seed, T)

    def score(self, width: int, T: float) -> float:
        return accuracy(self.student(width, T, seed=0), self.choosing)


def narrowest(trials: list[tuple[int, float]], scores: list[float], enough: float) -> tuple[int, float]:
    """Width and T of the best student of the narrowest width that is good enough; of all, where none is.

    trials of width and T with an accuracy each, and the accuracy that is enough, all in percent.
    """
    passed = [width for (width, _), score in zip(trials, scores, strict=True) if score >= enough]
    ranked = sorted(zip(scores, trials, strict=True), key=lambda pair: -pair[0])
    return next(trial for _, trial in ranked if not passed or trial[0] == min(passed))


# ---------------------------------------------------------------------------------------------- into production


@dataclass(frozen=True)
class Course:
    """What a gate made of a stream."""

    promised: float         # agreement
    evidence: list[float]   # against that, in logarithms, after each batch until the alarm
    level: float            # of evidence, at which it is an alarm
    alarmed_at: int | None  # number of the image, from 0

    @property
    def inputs(self) -> int:
        """From the drift to the alarm, that of the alarm included; all that there were, where none came."""
        return (INPUTS if self.alarmed_at is None else self.alarmed_at + 1) - DRIFT


@dataclass(frozen=True)
class Deployed:
    """What one student and its helpers came to on the test images."""

    report: Report              # teacher, student, int8, and a cascade for each of BUDGETS
    courses: dict[str, Course]  # of the gate, by drift

    def kept(self, name: str) -> float:
        """Of the teacher's accuracy, in percent."""
        return 100 * self.report[name].retention

    def cost(self, name: str) -> float:
        """Of a million predictions."""
        return cost_of_a_million(self.report[name], PRICE)

    def cost_share(self, name: str) -> float:
        """Of the teacher's cost, in percent."""
        return 100 * self.cost(name) / self.cost("teacher")

    def speed(self, name: str) -> float:
        """How many times lower than the teacher's the latency of one image is."""
        return self.report.teacher.latency_us / self.report[name].latency_us


def deploy(
    teacher: MLP, student: MLP, training: Dataset, validation: Dataset, test: Dataset, streams: dict[str, np.ndarray]
) -> Deployed:
    """A distilled student in whole numbers, with the teacher behind it for doubtful images, and a gate before it.

    training    images that both learned from: some show how large activations become
    validation  images that neither learned from, and that chose nothing: they prove what is promised
    test        images to measure on, as they come in at first
    streams     images as they may come in later, by name; the gate sees no labels
    """
    small = quantize(student, training.x[:CALIBRATION])
    cascades = {
        cascade_of(budget): Cascade.for_cost(small, teacher, validation, budget * teacher.multiply_adds)
        for budget in BUDGETS
    }
    report = compare(teacher, {"student": student, "int8": small, **cascades}, test)
    courses = {
        name: watched(QualityGate.from_validation(small, teacher, validation), test.x, after)
        for name, after in streams.items()
    }
    return Deployed(report, courses)


def cascade_of(budget: float) -> str:
    return f"cascade for {budget:.0%}"


def drifts(x: np.ndarray) -> dict[str, np.ndarray]:
    """What live images x (N,I) may become, by name."""
    return {CALM: x, f"turned by {ANGLE:g} degrees": rotated(x, ANGLE), f"noise of {NOISE:g}": noisy(x, NOISE)}


def watched(gate: QualityGate, before: np.ndarray, after: np.ndarray) -> Course:
    """A gate's course over images drawn from what there is before and after the drift, until it raises an alarm."""
    random, levels = np.random.default_rng(0), []
    while gate.n_seen < INPUTS and gate.alarm_index is None:
        pool = before if gate.n_seen < DRIFT else after
        gate.update(pool[random.integers(len(pool), size=BATCH)])
        levels.append(float(evidence(gate.log_evidence)))
    return Course(gate.min_agreement, levels, gate.level, gate.alarm_index)


# ---------------------------------------------------------------------------------------------- what was claimed


def _claims(found: list[Deployed]) -> list[Claim]:
    def each(figure: Callable[[Deployed, str], float], name: str) -> list[float]:
        return [figure(deployed, name) for deployed in found]

    cascade = cascade_of(AFFORDED)
    lost = [100 * (one.report["student"].accuracy_mean - one.report["int8"].accuracy_mean) for one in found]
    vain = [float(one.courses[CALM].alarmed_at is not None) for one in found]
    return [
        at_least("int8_speedup", 10, "times lower latency of one image, in int8", each(Deployed.speed, "int8")),
        at_most("int8_cost_percent", 20, "cost in int8, percent of the teacher's",
                each(Deployed.cost_share, "int8"), 1),
        at_least("int8_accuracy_percent", 97, "accuracy in int8, percent of the teacher's",
                 each(Deployed.kept, "int8"), 1),
        at_most("int8_accuracy_loss", 0.3, "points of accuracy that int8 loses against floats", lost, 2),
        at_least("cascade_accuracy_percent", 99.5, "accuracy of the cascade, percent of the teacher's",
                 each(Deployed.kept, cascade), 1),
        at_most("cascade_cost_percent", 25, "cost of the cascade, percent of the teacher's",
                each(Deployed.cost_share, cascade), 1),
        at_most("false_alarms", 0, f"alarms of the gate in {INPUTS:,} images without drift", vain),
        *(
            at_most(f"images_until_alarm_{name.split()[0]}", 2000, f"images until the alarm, {name}",
                    [float(one.courses[name].inputs) for one in found])
            for name in found[0].courses if name != CALM
        ),
    ]  # fmt: skip


def _figures(found: list[Deployed]) -> dict[str, object]:
    """Means over the students of what is not a claim."""
    names = [row.name for row in found[0].report.rows]

    def means(figure: Callable[[Deployed, str], float]) -> dict[str, float]:
        return {name: float(np.mean([figure(each, name) for each in found])) for name in names}

    return {
        "accuracy": means(lambda each, name: 100 * each.report[name].accuracy_mean),
        "latency_us": means(lambda each, name: each.report[name].latency_us),
        "cost_of_a_million": means(Deployed.cost),
        "price": PRICE,
        "promised_agreement": float(np.mean([each.courses[CALM].promised for each in found])),
    }


def _panels(found: list[Deployed]) -> list[Panel]:
    def curve(label: str, names: Iterable[str]) -> Curve:
        places = {name: float(np.mean([each.cost_share(name) for each in found])) for name in names}
        accuracies = [[100 * each.report[name].accuracy_mean for each in found] for name in places]
        return Curve(label, list(places.values()), accuracies)

    costs = [curve(name, [name]) for name in ("teacher", "student", "int8")]
    costs.append(curve("cascade, by what it may cost", map(cascade_of, BUDGETS)))
    courses = [_course(name, course) for name, course in found[0].courses.items()]
    level = found[0].courses[CALM].level
    courses.append(Curve("alarm", [0, 2 * DRIFT], [[level], [level]]))
    share = "cost of a prediction, % of the teacher's"
    return [
        Panel("What each keeps and costs", share, "accuracy on test images, %", costs),
        Panel("The gate, over the live images", f"images; drift from {DRIFT:,} on", "evidence, logarithm", courses),
    ]


def _course(name: str, course: Course) -> Curve:
    shown = course.evidence[: 2 * DRIFT // BATCH]
    return Curve(name, [BATCH * (k + 1) for k in range(len(shown))], [[level] for level in shown])
