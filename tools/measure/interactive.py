# SPDX-License-Identifier: MIT
"""Measures what docs/guides/interactive.md lets one play with: `python tools/measure/interactive.py`, a few seconds.

A teacher's logits for eight test images, and those of one small student: untrained, trained alone on few images, and
distilled from the same images with the same budget. Writes docs/_static/interactive_logits.js, a script and no JSON, so
that the page also works where it is opened as a file.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from minidistill import MLP, SGD, CosineSchedule, SoftTarget, digits, distill, fit, use_backend  # noqa: E402

TEACHER_SIZES, STUDENT_SIZES = (64, 128, 10), (64, 32, 10)
IMAGES_SEEN, SEED, RATE, T, ALPHA = 150, 0, 0.1, 4.0, 0.9
DTYPE = np.float64  # so that other machines, which round elsewhere, get the same digits
DECIMALS = 4
ROWS = (45, 30, 138, 338, 441, 382, 2, 176)  # a 0, 1, 2, 3, 4, 6, 7 and 9: 3 and 6 are doubtful, the 9 looks like a 5

BEGINNING = """\
// SPDX-License-Identifier: MIT
// Written by `python tools/measure/interactive.py`: {rows} test images and what the networks say of them.
// The images are by E. Alpaydin and C. Kaynak, CC BY 4.0: see minidistill/data/optical_digits.md.
const MEASURED = """


def measure() -> dict[str, Any]:
    """The images and their logits, and how the networks were trained."""
    training, test = digits()
    teacher = MLP(TEACHER_SIZES, dropout=0.3, seed=SEED, dtype=DTYPE)
    fit(teacher, training, epochs=30, seed=SEED)

    seen = training.take(IMAGES_SEEN, seed=SEED)
    budget: dict[str, Any] = {"epochs": 200, "batch_size": 30, "optimizer": SGD(CosineSchedule(RATE)), "seed": SEED}
    students = {name: MLP(STUDENT_SIZES, seed=SEED, dtype=DTYPE) for name in ("untrained", "alone", "distilled")}
    fit(students["alone"], seen, **budget)
    distill(teacher, students["distilled"], seen, SoftTarget(T, ALPHA), **budget)

    x = test.x[list(ROWS)]                                        # (8,64)
    t = logits(teacher, x)                                        # (8,10)
    s = {name: logits(student, x) for name, student in students.items()}
    return {
        "settings": {
            "command": "python tools/measure/interactive.py",
            "seed": SEED,
            "teacher": TEACHER_SIZES,
            "student": STUDENT_SIZES,
            "images_seen": IMAGES_SEEN,
            "epochs": budget["epochs"],
            "learning_rate": RATE,
            "temperature": T,
            "alpha": ALPHA,
        },
        "images": [
            {
                "row": row,
                "ink": (16 * x[i]).astype(int).tolist(),          # (64,)  0 (paper) to 16
                "y": int(test.y[row]),
                "t": t[i],
                "s": {name: s[name][i] for name in students},
            }
            for i, row in enumerate(ROWS)
        ],
    }


def logits(network: MLP, x: np.ndarray) -> list[list[float]]:
    """What a network says of x (B,I), rounded: (B,C) as lists."""
    rounded: list[list[float]] = network.logits(x).round(DECIMALS).tolist()
    return rounded


def as_script(found: dict[str, Any]) -> str:
    """The figures as a line of JavaScript for each image."""
    settings = json.dumps(found["settings"])
    images = ",\n".join(json.dumps(image, separators=(",", ":")) for image in found["images"])
    return f'{BEGINNING.format(rows=len(ROWS))}{{"settings": {settings}, "images": [\n{images}\n]}};\n'


def from_script(text: str) -> dict[str, Any]:
    """The figures of what `as_script` wrote."""
    found: dict[str, Any] = json.loads(text[text.index("{") :].rstrip(";\n"))
    return found


if __name__ == "__main__":
    use_backend("numpy")
    (ROOT / "docs" / "_static" / "interactive_logits.js").write_text(as_script(measure()))
