# SPDX-License-Identifier: MIT
"""Measures what distilling, rounding and pruning keep and cost: `python tools/measure/compress.py`, some ten minutes.

`compress` makes students of large teachers small on digits, MNIST and Fashion-MNIST. Writes
docs/evidence/results/compress.json and a picture of each data set.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from minidistill import MLP, SGD, CosineSchedule, compress, digits, fashion_mnist, fit, mnist, use_backend  # noqa: E402
from minidistill.experiments.bench import processor  # noqa: E402

SEEDS, TEACHER_EPOCHS, DROPOUT, RATE = 5, 20, 0.3, 0.1
CASES: dict[str, Any] = {  # data, hidden units of teacher and student, batch size, epochs of the student
    "digits": (digits, (512, 512), (32,), 32, 100),
    "MNIST": (mnist, (1200, 1200), (64,), 128, 30),
    "Fashion-MNIST": (fashion_mnist, (1200, 1200), (64,), 128, 30),
}


def measure(name: str) -> dict[str, Any]:
    """A table of `compress`, and the picture."""
    load, teacher_hidden, hidden, batch_size, epochs = CASES[name]
    training, test = load()
    teacher = MLP((training.x.shape[1], *teacher_hidden, training.classes), dropout=DROPOUT)
    fit(teacher, training, epochs=TEACHER_EPOCHS, batch_size=batch_size, optimizer=SGD(CosineSchedule(RATE)))
    found = compress(teacher, training, test, hidden, epochs=epochs, batch_size=batch_size, seeds=SEEDS)
    found.plot(ROOT / "docs" / "evidence" / "images" / f"compress-{name.lower()}.png")
    return found.to_dict()


if __name__ == "__main__":
    use_backend("cpu")
    start = time.perf_counter()
    tables = {name: measure(name) for name in CASES}
    settings = {
        "command": "python tools/measure/compress.py", "teacher_epochs": TEACHER_EPOCHS, "teacher_dropout": DROPOUT,
        "teacher_rate": RATE,
    }  # fmt: skip
    results = {"settings": settings, "machine": {"processor": processor()}, "seconds": time.perf_counter() - start}
    (ROOT / "docs" / "evidence" / "results" / "compress.json").write_text(json.dumps({**results, "tables": tables},
    indent=1) + "\n")
