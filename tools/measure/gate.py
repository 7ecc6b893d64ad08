# SPDX-License-Identifier: MIT
"""Measures how well the quality gate keeps its word: `python tools/measure/gate.py`, a minute or two.

By simulation, how often it raises an alarm in vain, and how soon after agreement fell by five points; and on digits,
what it says of drift that was made on purpose. Writes docs/evidence/results/gate.json and
docs/evidence/images/gate.png.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from minidistill import MLP, Cascade, Dataset, QualityGate, digits, distill, fit, use_backend  # noqa: E402
from minidistill.deployment.bounds import ODDS, add_evidence, alarm_level, evidence  # noqa: E402
from minidistill.deployment.gate import sampled  # noqa: E402
from minidistill.experiments.drift import noisy, rotated  # noqa: E402
from minidistill.experiments.pictures import gate_figure  # noqa: E402

RUNS, INPUTS, FALL, SOON, FALSE_ALARMS = 200, 100_000, 0.05, 2000, 0.05
CASES = [  # agreement, tolerated drop, share watched
    (0.99, 0.0, 0.05), (0.97, 0.0, 0.05), (0.95, 0.0, 0.05), (0.9, 0.0, 0.05),
    (0.99, 0.01, 0.05), (0.97, 0.01, 0.05), (0.95, 0.01, 0.05), (0.9, 0.01, 0.05),
    (0.97, 0.0, 1.0), (0.97, 0.01, 1.0),
]  # fmt: skip
STREAM, BEFORE, STEP, SHARE = 6000, 3000, 20, 0.25  # inputs in all, before the drift and a batch; those watched
ANGLE, NOISE, UNSEEN = 15.0, 0.3, 9  # degrees; standard deviation, of pixels from 0 to 1; the class
WANTED = (0.9, 0.92, 0.935)  # accuracies of a cascade


# ---------------------------------------------------------------------------------------------- by simulation


def simulate(agreement: float, drop: float, share: float, runs: int = RUNS, inputs: int = INPUTS) -> dict[str, Any]:
    """Runs of that agreement for so many inputs, watched or not, and then of one five points lower.

    An alarm before the fall is false, one after it comes so many watched inputs late.
    """
    random = np.random.default_rng(0)
    watched = np.array([sampled(0, inputs, share, seed).sum() for seed in range(runs)])     # (runs,) before the fall
    level = alarm_level(share * inputs, FALSE_ALARMS)
    log_R = np.full((runs, len(ODDS)), -np.inf)
    alarm = np.full(runs, -1)
    for n in range(watched.max() + SOON):
        agreed = random.random(runs) < np.where(n < watched, agreement, agreement - FALL)   # (runs,)
        log_R = add_evidence(log_R, agreed, agreement - drop)
        alarm[(alarm < 0) & (evidence(log_R) >= level)] = n
    false = (alarm >= 0) & (alarm < watched)
    delay = np.where(alarm < 0, np.inf, alarm - watched + 1)[~false]                        # in watched inputs
    late = np.quantile(delay, 0.95)
    return {
        "agreement": agreement, "drop": drop, "share": share, "false_alarms": float(false.mean()),
        "alarms_soon": float((delay <= SOON).mean()), "median_delay": float(np.median(delay)),
        "delay_p95": float(late) if np.isfinite(late) else None,
    }  # fmt: skip


# ---------------------------------------------------------------------------------------------- on digits


def on_digits() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What the gate says of each drift, and its evidence as the stream goes on; and what cascades are worth."""
    training, test = digits()
    fitted, held_out = training.split(797)
    teacher = MLP((64, 256, 10), dropout=0.3)
    fit(teacher, fitted, epochs=30)
    distilled, labelled, small = MLP((64, 32, 10)), MLP((64, 32, 10)), MLP((64, 12, 10))
    without = fitted.subset(fitted.y != UNSEEN)
    distill(teacher, distilled, without, epochs=100)
    fit(labelled, without, epochs=100)
    distill(teacher, small, fitted.take(150), epochs=100)

    known = test.x[test.y != UNSEEN]
    drifts = {
        "no drift": (distilled, known),
        f"turned by {ANGLE:g} degrees": (distilled, rotated(known, ANGLE)),
        f"noise of {NOISE:g}": (distilled, noisy(known, NOISE)),
        f"{UNSEEN}s, never seen": (distilled, test.x),
        f"{UNSEEN}s, student taught by labels": (labelled, test.x),
    }
    reference = held_out.subset(held_out.y != UNSEEN)
    found, curves = [], {}
    for name, (student, after) in drifts.items():
        gate = QualityGate.from_validation(student, teacher, reference, sample_rate=SHARE)
        curves[name] = stream(gate, known, after)
        late = None if gate.alarm_index is None else gate.alarm_index + 1 - BEFORE
        agreement = [float((student.predict(x) == teacher.predict(x)).mean()) for x in (known, after)]
        found.append({
            "drift": name, "promised": gate.min_agreement, "before": agreement[0], "after": agreement[1],
            "verdict": gate.verdict, "inputs": late,
            "watched": None if late is None else int(sampled(BEFORE, late, SHARE, 0).sum()),
        })  # fmt: skip
    settings = {"reference": len(reference), "share": SHARE, "level": gate.level}
    return {**settings, "drifts": found, "cascades": cascades(small, teacher, held_out, test)}, curves


def stream(gate: QualityGate, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The evidence, step by step, of a gate that watches images drawn from what there is before and after the drift."""
    random, levels = np.random.default_rng(1), []
    for n in range(0, STREAM, STEP):
        pool = before if n < BEFORE else after
        gate.update(pool[random.integers(len(pool), size=STEP)])
        levels.append(float(evidence(gate.log_evidence)))
    return np.array(levels)


def cascades(student: MLP, teacher: MLP, validation: Dataset, test: Dataset) -> dict[str, Any]:
    """For several accuracies that are wanted, what was planned and what came of it on test images."""
    rows = []
    for wanted in WANTED:
        made = Cascade.for_accuracy(student, teacher, validation, wanted)
        accuracy = float((made.predict(test.x) == test.y).mean())
        cost = student.multiply_adds + made.deferral_rate * teacher.multiply_adds
        rows.append({
            "wanted": wanted, "planned": made.operating_point.accuracy, "accuracy": accuracy,
            "share": made.deferral_rate, "cost": cost / teacher.multiply_adds,
        })  # fmt: skip
    alone = [float((model.predict(test.x) == test.y).mean()) for model in (student, teacher)]
    return {"validation": len(validation), "student": alone[0], "teacher": alone[1], "rows": rows}


def measure() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """All figures of the page, and the curves of its picture."""
    by_digits, curves = on_digits()
    settings = {
        "command": "python tools/measure/gate.py", "runs": RUNS, "inputs": INPUTS, "fall": FALL, "soon": SOON,
        "promised_false_alarms": FALSE_ALARMS,
    }  # fmt: skip
    return {"settings": settings, "simulated": [simulate(*case) for case in CASES], "digits": by_digits}, curves


if __name__ == "__main__":
    use_backend("numpy")
    figures, evidence_of = measure()
    (ROOT / "docs" / "evidence" / "results" / "gate.json").write_text(json.dumps(figures, indent=1) + "\n")
    gate_figure(evidence_of, figures["digits"]["level"], BEFORE, STREAM, ROOT / "docs" / "evidence" / "images" /
    "gate.png")
