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

from ...data import Dataset
from ...network import MLP
from .claims import Claim, Curve, Findings, Panel, always_above, at_least, differences
from .study import Budget, Study, accuracies, accuracy, alone, distilled, jittered_teacher, on_all_cores

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
    """What students made of some images: accuracies on the test images in percent, one a seed."""

    images: int
    rate: float
    trial: tuple[float, float]
    alone: list[float]
    distilled: list[float]

    @property
    def gains(self) -> list[float]:
        """What the teacher's answers added to each seed's accuracy, in points."""
        return differences(self.distilled, self.alone)


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
        "chosen": {name: (found.rate, *found.trial) for name, found in outcomes.items()},
        "seeds": study.seeds,
    }  # fmt: skip
    return Findings(_claims(outcomes), [_panel(outcomes, full)], settings)


def _sizes(all_images: int) -> dict[str, int]:
    """How many images the students see, the fewest first."""
    sizes = {f"{share:.0%}": round(share * all_images) for share in SHARES}
    sizes[f"{IMAGES:,} images"] = IMAGES
    return dict(sorted(sizes.items(), key=lambda size: size[1]))


def _learn(shared: tuple[Study, MLP], images: int) -> Outcome:
    study, teacher = shared
    epochs = max(FEWEST_EPOCHS, STEPS * BATCH // images)
    if study.quick:
        epochs = max(1, epochs // 10)

    def seen(seed: int) -> Dataset:
        return study.training if images == len(study.training) else study.training.take(images, seed=seed)

    def by_labels(seed: int, rate: float) -> MLP:
        return alone(seen(seed), HIDDEN, Budget(epochs, rate, BATCH), seed)

    def by_teacher(seed: int, T: float, rate: float) -> MLP:
        data = seen(seed)
        return distilled(teacher.logits(data.x), data, HIDDEN, Budget(epochs, rate, BATCH), seed, T, ALPHA)

    (rate,), hard = study.selected([(rate,) for rate in RATES], by_labels)
    trial, soft = study.selected(TRIALS, by_teacher)
    return Outcome(images, rate, trial, accuracies(hard, study.test), accuracies(soft, study.test))


def _claims(outcomes: dict[str, Outcome]) -> list[Claim]:
    few, all_of_it = outcomes["3%"], outcomes["100%"]
    full = float(np.mean(all_of_it.alone))
    more = differences(outcomes["1%"].gains, all_of_it.gains)
    return [
        always_above("gain_3_percent", 0, "points gained by soft targets from 3% of the images",
                     few.gains, PAPER_SOFT - PAPER_ALONE, 1),
        always_above("gain_1_percent", 0, "points gained by soft targets from 1% of the images",
                     outcomes["1%"].gains, decimals=1),
        at_least(f"gain_{IMAGES}_images", 3, f"points gained from {IMAGES:,} images",
                 outcomes[f"{IMAGES:,} images"].gains, decimals=1),
        always_above("gain_10_percent", 0, "points gained from 10% of the images", outcomes["10%"].gains, decimals=1),
        at_least("accuracy_share_3_percent", 95,
                 "of what labels reach with all images, soft targets reach with 3% (percent)",
                 [100 * soft / full for soft in few.distilled], 100 * PAPER_SOFT / PAPER_FULL, 1),
        always_above("extra_gain_1_percent", 0, "the fewer, the more: points gained from 1% less those from all images",
                     more, decimals=1),
    ]  # fmt: skip


def _panel(outcomes: dict[str, Outcome], teacher: float) -> Panel:
    images = [found.images for found in outcomes.values()]
    curves = [
        Curve("teacher, from all images", [images[0], images[-1]], [[teacher], [teacher]]),
        Curve("student alone", images, [found.alone for found in outcomes.values()]),
        Curve("student distilled", images, [found.distilled for found in outcomes.values()]),
    ]
    return Panel("MNIST, 128 hidden units", "images seen", "accuracy on test images, %", curves, logarithmic=True)
