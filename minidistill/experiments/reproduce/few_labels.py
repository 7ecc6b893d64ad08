# SPDX-License-Identifier: MIT
"""Few labels: what a teacher's softened answers are worth to a student that sees a part of the images.

Hinton, Vinyals and Dean 2015, section 6, trained a speech model on 3% of its data: labels alone brought it to 44.5% of
the frames, the soft targets of a model that had seen everything to 57.0%, when that model itself had 58.9%. Here the
student sees 1%, 3%, 10% or all of MNIST, or 1,000 images, and the teacher has seen all of it.

Both students have the same images, as many steps and as many trials on the validation images: the one that learns
alone tries four learning rates, the distilled one two temperatures with two rates each.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...network import MLP
from .claims import ACCURACY, Claim, Curve, Findings, Panel, above_zero, at_least, differences
from .study import Study, Taught, Trainer, accuracy, jittered_teacher, on_all_cores

SOURCE = "Hinton, Vinyals and Dean 2015, section 6"
DATA = "mnist"
SEEDS = 5

SHARES = (0.01, 0.03, 0.1, 1.0)
IMAGES = 1_000  # a number that one would label by hand
TEACHER, HIDDEN = (800, 800), (128,)
ALPHA = 0.9
RATES = (0.02, 0.05, 0.1, 0.2)                                        # tried for the student alone
TRIALS = ((4.0, 0.05), (4.0, 0.1), (20.0, 0.01), (20.0, 0.03))  # for the distilled one: temperature and rate
BATCH = 50
STEPS, FEWEST_EPOCHS = 5_000, 20       # of each student, whichever is more

PAPER_ALONE, PAPER_SOFT, PAPER_FULL = 44.5, 57.0, 58.9  # percent of frames: 3% of the data, and all of it


@dataclass(frozen=True)
class Outcome:
    """What students made of some images."""

    images: int
    alone: Taught
    distilled: Taught

    @property
    def gains(self) -> list[float]:
        return self.distilled.over(self.alone)


def run(study: Study, log: Callable[[str], None]) -> Findings:
    log("training the teacher ...")
    teacher = jittered_teacher(study.training, (100, 100) if study.quick else TEACHER, epochs=4 if study.quick else 15)
    sizes = _sizes(len(study.training))
    log(f"training students that see {', '.join(f'{images:,}' for images in sizes.values())} images ...")
    with on_all_cores((study, teacher)) as run:
        outcomes = dict(zip(sizes, run((_learn, images) for images in sizes.values()), strict=True))
    full = accuracy(teacher, study.test)
    settings = {
        "teacher": repr(teacher), "teacher_accuracy": full, "student": HIDDEN, "alpha": ALPHA, "batch_size": BATCH,
        "chosen": {name: (*found.alone.trial, *found.distilled.trial) for name, found in outcomes.items()},
        "seeds": study.seeds,
    }  # fmt: skip
    return _claims(outcomes), [_panel(outcomes, full)], settings


def _sizes(all_images: int) -> dict[str, int]:
    """How many images the students see, the fewest first."""
    sizes = {f"{share:.0%}": round(share * all_images) for share in SHARES}
    sizes[f"{IMAGES:,} images"] = IMAGES
    return dict(sorted(sizes.items(), key=lambda size: size[1]))


def _learn(shared: tuple[Study, MLP], images: int) -> Outcome:
    study, teacher = shared
    epochs = max(FEWEST_EPOCHS, STEPS * BATCH // images) // (10 if study.quick else 1)

    def trainer(seed: int) -> Trainer:
        seen = study.training if images == len(study.training) else study.training.take(images, seed=seed)
        return Trainer(study, seen, HIDDEN, epochs, BATCH)

    def by_labels(seed: int, rate: float) -> MLP:
        return trainer(seed).alone(seed, rate)

    def by_teacher(seed: int, T: float, rate: float) -> MLP:
        room = trainer(seed)
        return room.distilled(teacher.logits(room.data.x), seed, T, ALPHA, rate)

    return Outcome(images, study.taught(zip(RATES), by_labels), study.taught(TRIALS, by_teacher))


def _claims(outcomes: dict[str, Outcome]) -> list[Claim]:
    few, all_of_it = outcomes["3%"], outcomes["100%"]
    full = float(np.mean(all_of_it.alone.test))
    return [
        above_zero("gain_3_percent", "points gained by soft targets from 3% of the images", few.gains, 1,
                   paper=PAPER_SOFT - PAPER_ALONE),
        above_zero("gain_1_percent", "points gained by soft targets from 1% of the images", outcomes["1%"].gains, 1),
        at_least(f"gain_{IMAGES}_images", 3, f"points gained from {IMAGES:,} images",
                 outcomes[f"{IMAGES:,} images"].gains, 1),
        above_zero("gain_10_percent", "points gained from 10% of the images", outcomes["10%"].gains, 1),
        at_least("accuracy_share_3_percent", 95,
                 "of what labels reach with all images, soft targets reach with 3% (percent)",
                 [100 * soft / full for soft in few.distilled.test], 1, paper=100 * PAPER_SOFT / PAPER_FULL),
        above_zero("extra_gain_1_percent", "the fewer, the more: points gained from 1% less those from all images",
                   differences(outcomes["1%"].gains, all_of_it.gains), 1),
    ]  # fmt: skip


def _panel(outcomes: dict[str, Outcome], teacher: float) -> Panel:
    images = [found.images for found in outcomes.values()]
    curves = [
        Curve("teacher, from all images", [images[0], images[-1]], [[teacher], [teacher]]),
        Curve("student alone", images, [found.alone.test for found in outcomes.values()]),
        Curve("student distilled", images, [found.distilled.test for found in outcomes.values()]),
    ]
    return Panel("MNIST, 128 hidden units", "images seen", ACCURACY, curves, logarithmic=True)
