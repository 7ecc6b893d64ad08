# SPDX-License-Identifier: MIT
"""Measures what each exhibit of the bug zoo does to the figures: `python tools/measure/zoo.py`, a minute or two.

Of a loss, how large its gradient is beside the right one's and where it points; of all, the accuracy of a small student
that saw few images, taught by the wrong code and by the right code with the same budget. Writes
docs/evidence/results/zoo.json.
"""

import functools
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "material")]

from zoo import loops  # noqa: E402
from zoo.exhibits import EXHIBITS, Exhibit, T  # noqa: E402

from minidistill import MLP, Dataset, SoftTarget, digits, fit, use_backend  # noqa: E402

TEACHER_SIZES, STUDENT_SIZES = (64, 128, 10), (64, 32, 10)
IMAGES_SEEN, SEEDS, ALPHA = 150, 5, 0.9
DROPOUT = 0.2  # of the students of the loops; those of the losses have none
TEMPERATURES = (1.0, 4.0, 20.0)
B, C = 32, 10


def measure() -> dict[str, Any]:
    """All figures of the page."""
    start = time.perf_counter()
    training, test = digits()
    teacher = MLP(TEACHER_SIZES, dropout=0.3)
    fit(teacher, training, epochs=30)
    room = Classroom(teacher, training, test)
    exhibits = [
        {
            "number": exhibit.number,
            "mistake": exhibit.mistake.name,
            "gradient": gradients(exhibit) if exhibit.has_loss else None,
            "wrong": room.wrong(exhibit),
            "right": room.right(exhibit),
            **diagnosis(exhibit),
        }
        for exhibit in EXHIBITS
    ]
    return {
        "settings": {
            "command": "python tools/measure/zoo.py",
            "seeds": list(range(SEEDS)),
            "images_seen": IMAGES_SEEN,
            "epochs": loops.EPOCHS,
            "learning_rate": loops.RATE,
            "temperature": T,
            "alpha": ALPHA,
            "student_dropout_of_loops": DROPOUT,
        },
        "teacher": room.accuracy(teacher),
        "alone": room.each(loops.right, SoftTarget(T, 0.0), 0.0),
        "exhibits": exhibits,
        "seconds": time.perf_counter() - start,
    }


def gradients(exhibit: Exhibit) -> list[dict[str, float]]:
    """The norm of a wrong loss's gradient over the right one's, and the cosine between them, at each temperature."""
    s, t = 1.5 * np.random.default_rng(0).standard_normal((2, B, C))
    y = np.arange(B) % C
    rows = []
    for temperature in TEMPERATURES:
        ds = exhibit.wrong_loss(temperature, exhibit.alpha)(s, t, y)[1]
        right = exhibit.right(temperature, exhibit.alpha)(s, t, y)[1]
        size, full = np.linalg.norm(ds), np.linalg.norm(right)
        cosine = float((ds * right).sum() / (size * full)) if size > 0 else 0.0
        rows.append({"temperature": temperature, "ratio": float(size / full), "cosine": cosine})
    return rows


def diagnosis(exhibit: Exhibit) -> dict[str, Any]:
    """Which check finds it, what it breaks, and what was seen where the mistake was recognised."""
    found = exhibit.diagnosis()
    seen = next(finding.seen for finding in found.findings if exhibit.mistake in finding.mistakes)
    return {"check": "check_loss" if exhibit.has_loss else "check_training", "broken": list(found.broken), "seen": seen}


class Classroom:
    """A teacher, and students of several seeds who each see a few images of their own."""

    def __init__(self, teacher: MLP, images: Dataset, test: Dataset) -> None:
        self.teacher, self.images, self.test = teacher, images, test

    def accuracy(self, network: MLP) -> float | None:
        """Of the test images; None where the parameters are no longer finite."""
        if not np.isfinite(network.parameters).all():
            return None
        return float((network.predict(self.test.x) == self.test.y).mean())

    def wrong(self, exhibit: Exhibit) -> list[float | None]:
        if exhibit.loop is not None:
            return self.each(exhibit.loop, SoftTarget(T, ALPHA), DROPOUT)
        return self.each(loops.right, exhibit.wrong_loss(T, ALPHA), 0.0)

    def right(self, exhibit: Exhibit) -> list[float | None]:
        if exhibit.loop is not None:
            return self.each(loops.right, SoftTarget(T, ALPHA), DROPOUT)
        return self.each(loops.right, exhibit.right(T, ALPHA), 0.0)

    @functools.cache  # noqa: B019  # most have the same right loss
    def each(self, loop: Any, loss: Any, dropout: float) -> list[float | None]:
        return [self.taught(seed, loop, loss, dropout) for seed in range(SEEDS)]

    def taught(self, seed: int, loop: Any, loss: Any, dropout: float) -> float | None:
        """The accuracy of a student of a seed; the teacher is a copy, for a loop may harm it."""
        student, teacher = MLP(STUDENT_SIZES, dropout=dropout, seed=seed), MLP(TEACHER_SIZES, dropout=0.3)
        teacher.parameters[:] = self.teacher.parameters
        with np.errstate(all="ignore"):
            loop(student, teacher, self.images.take(IMAGES_SEEN, seed=seed), loss)
        return self.accuracy(student)


if __name__ == "__main__":
    use_backend("numpy")
    (ROOT / "docs" / "evidence" / "results" / "zoo.json").write_text(json.dumps(measure(), indent=1) + "\n")
