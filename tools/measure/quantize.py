# SPDX-License-Identifier: MIT
"""Measures what whole numbers cost in accuracy and save in bytes and time: `python tools/measure/quantize.py`.

On digits, MNIST and Fashion-MNIST, distilled students of several seeds are rounded after training and while they learn
on, from labels alone and from their teacher; beside them stands the student that learned on for as long in floats, or
the extra epochs would count for the rounding. Times are those of one thread, the float and the integer kernels in turn.
A few minutes. Writes docs/evidence/results/quantize.json.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numba
import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from minidistill import (  # noqa: E402
    MLP,
    SGD,
    CosineSchedule,
    Dataset,
    QuantizationAwareMLP,
    SoftTarget,
    digits,
    distill,
    fashion_mnist,
    fit,
    mnist,
    quantize,
    use_backend,
)
from minidistill.deployment.quantization.calibration import METHODS  # noqa: E402
from minidistill.distillation.soft_targets import SoftTargets, soft_targets  # noqa: E402
from minidistill.experiments.bench import processor  # noqa: E402
from minidistill.kernels.cpu.simd import BYTE_PRODUCTS  # noqa: E402

SEEDS, CALIBRATION = 5, 1000
RATE, RATE_ON = 0.1, 0.02  # of learning, and of learning on
LOSS = SoftTarget(4.0, alpha=0.9)
CLASSROOMS: dict[str, Any] = {  # data, teacher, student, batch size, epochs of both and of learning on
    "digits": (digits, (64, 128, 10), (64, 32, 10), 32, 40, 10),
    "MNIST": (mnist, (784, 300, 10), (784, 32, 10), 128, 15, 4),
    "Fashion-MNIST": (fashion_mnist, (784, 300, 10), (784, 32, 10), 128, 15, 4),
}
TIMED = (((1200, 1200), 128), ((784, 1200, 1200, 10), 128), ((784, 1200, 1200, 10), 1), ((64, 32, 10), 1))
ROUNDS, SECONDS_A_ROUND = 15, 0.02


# ---------------------------------------------------------------------------------------------- accuracy


def measure_classroom(name: str) -> dict[str, Any]:
    """Accuracies on the test images, {form: [one a seed]}, and the bytes of each form."""
    load, teacher_sizes, sizes, batch_size, epochs, epochs_on = CLASSROOMS[name]
    training, test = load()
    options = {"batch_size": batch_size, "epochs": epochs, "optimizer": SGD(CosineSchedule(RATE))}
    teacher = MLP(teacher_sizes, dropout=0.2)
    fit(teacher, training, **options)
    answers = soft_targets(teacher, training, teacher_sizes[-1])
    accuracies: dict[str, list[float]] = {}
    sizes_in_bytes: dict[str, int] = {}
    for seed in range(SEEDS):
        student = MLP(sizes, seed=seed)
        distill(answers, student, training, LOSS, seed=seed, **options)
        on = {"seed": seed, "batch_size": batch_size, "epochs": epochs_on, "optimizer": SGD(CosineSchedule(RATE_ON))}
        for form, model in forms(student, answers, training, on).items():
            accuracies.setdefault(form, []).append(float((model.predict(test.x) == test.y).mean()))
            sizes_in_bytes[form] = model.nbytes
    return {
        "teacher_sizes": teacher_sizes, "sizes": sizes, "epochs": epochs, "epochs_on": epochs_on,
        "batch_size": batch_size, "teacher": float((teacher.predict(test.x) == test.y).mean()),
        "accuracies": accuracies, "bytes": sizes_in_bytes,
    }  # fmt: skip


def forms(student: MLP, answers: SoftTargets, training: Dataset, on: dict[str, Any]) -> dict[str, Any]:
    """All forms of one student: as it is, rounded, and after learning on with and without rounding."""
    some = training.take(CALIBRATION).x
    longer = student.copy()
    distill(answers, longer, training, LOSS, **on)
    made: dict[str, Any] = {"float": student, "float, learned on": longer}
    for method in METHODS:
        made[f"8 bits, {method}"] = quantize(student, some, method=method)
    made["8 bits, row by row"] = quantize(student)
    made["4 bits, mse"] = quantize(student, some, 4)
    for bits in (8, 4):
        alone, taught = (QuantizationAwareMLP(student, some, bits) for _ in range(2))
        fit(alone, training, **on)
        distill(answers, taught, training, LOSS, **on)
        made[f"{bits} bits, learned on from labels"] = quantize(alone)
        made[f"{bits} bits, learned on from the teacher"] = quantize(taught)
    return made


# ---------------------------------------------------------------------------------------------- time


def measure_time(sizes: tuple[int, ...], rows: int) -> dict[str, Any]:
    """Seconds of one call of the kernels, floats and whole numbers in turn; the quickest round of each."""
    x = np.random.default_rng(0).random((rows, sizes[0]), dtype=np.float32)
    network = MLP(sizes)
    integers = quantize(network, np.random.default_rng(1).random((CALIBRATION, sizes[0]), dtype=np.float32))
    assert network.passes is not None
    assert integers.compiled is not None
    calls = {"float": network.passes.logits, "int8": integers.compiled.logits}
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS):
        for name, call in calls.items():
            call(x)
            start, count = time.perf_counter(), 0
            while time.perf_counter() - start < SECONDS_A_ROUND:
                call(x)
                count += 1
            best[name] = min(best[name], (time.perf_counter() - start) / count)
    return {"sizes": sizes, "rows": rows, "seconds": best, "ratio": best["float"] / best["int8"]}


def measure() -> dict[str, Any]:
    start = time.perf_counter()
    timed = [measure_time(*case) for case in TIMED]
    classrooms = {name: measure_classroom(name) for name in CLASSROOMS}
    return {
        "settings": {
            "command": "python tools/measure/quantize.py", "seeds": list(range(SEEDS)), "calibration": CALIBRATION,
            "rate": RATE, "rate_on": RATE_ON, "temperature": LOSS.temperature, "alpha": LOSS.alpha,
        },
        "machine": {"processor": processor(), "byte_products": BYTE_PRODUCTS},
        "classrooms": classrooms,
        "timed": timed,
        "seconds": time.perf_counter() - start,
    }  # fmt: skip


if __name__ == "__main__":
    use_backend("cpu")
    numba.set_num_threads(1)
    (ROOT / "docs" / "evidence" / "results" / "quantize.json").write_text(json.dumps(measure(), indent=1) + "\n")
