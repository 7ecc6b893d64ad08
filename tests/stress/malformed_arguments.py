# SPDX-License-Identifier: MIT
"""Malformed calls of the public functions, made from right ones, from a fixed seed.

One argument of a right call gets an odd value. The call may succeed, or be refused with a ValueError or a TypeError
that the package raises. Any other exception is a fault, except one of a function that the caller passed.
"""

import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

import minidistill
from minidistill import (
    MLP,
    SGD,
    Adam,
    Cascade,
    CrossEntropy,
    Dataset,
    Ensemble,
    LabelNoise,
    Mixup,
    QualityGate,
    RandomShift,
    SoftTarget,
    SoftTargets,
    TopK,
    TopKTarget,
    TrainingDiverged,
    compare,
    distill,
    fit,
    mutual_learning,
    prune_weights,
    pseudo_label,
    quantize,
    remove_units,
    self_train,
    with_label_noise,
)

PACKAGE = str(Path(minidistill.__file__).parent)
ROWS = np.random.default_rng(0).standard_normal((40, 9)).astype(np.float32)
LABELS = np.arange(40) % 3
LOGITS = np.eye(3)[LABELS] * 3 + ROWS[:, :3]
TEACHER = MLP((9, 5, 3), seed=1, backend="numpy")
QUICK = {"epochs": 1, "batch_size": 20}


def student():
    return MLP((9, 4, 3), backend="numpy")


def data():
    return Dataset(ROWS, LABELS)


CALLS = [  # a function that makes the arguments of a right call, and the function that is called
    (lambda: {"sizes": (9, 4, 3), "activation": "tanh", "dropout": 0.1, "seed": 1, "dtype": np.float32}, MLP),
    (lambda: {"x": ROWS, "y": LABELS}, Dataset),
    (lambda: {"network": student(), "data": data(), "loss": CrossEntropy(0.1), **QUICK, "optimizer": Adam(),
              "seed": 1, "validation": data(), "patience": 1, "augment": [RandomShift(1)], "callbacks": []}, fit),
    (lambda: {"network": student(), "data": data(), "loss": SoftTarget(), "targets": LOGITS, **QUICK}, fit),
    (lambda: {"teacher": LOGITS, "student": student(), "data": data(), "loss": SoftTarget(2.0, 0.5), **QUICK}, distill),
    (lambda: {"teacher": [TEACHER, TEACHER], "student": student(), "data": data(), **QUICK, "augment": Mixup(3),
              "validation": data(), "patience": 2}, distill),
    (lambda: {"x": ROWS}, TEACHER.logits),
    (lambda: {"x": ROWS, "temperature": 2.0}, TEACHER.predict_proba),
    (lambda: {"x": ROWS}, TEACHER.outputs),
    (lambda: {"temperature": 2.0, "alpha": 0.3}, SoftTarget),
    (lambda: {"s": LOGITS, "t": LOGITS, "y": LABELS}, SoftTarget()),
    (lambda: {"logits": LOGITS, "k": 2, "temperature": 2.0}, TopK.of),
    (lambda: {"indices": np.array([[0, 1]]), "log_p": np.array([[-1.0, -1.0]]), "temperature": 2.0}, TopK),
    (lambda: {"s": LOGITS, "t": TopK.of(LOGITS, 2, 2.0), "y": LABELS}, TopKTarget(2.0)),
    (lambda: {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.0, "clip_norm": 1.0, "max_weight_norm": 2.0},
     SGD),
    (lambda: {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8}, Adam),
    (lambda: {"logits": LOGITS, "data": data()}, SoftTargets.of),
    (lambda: {"members": [TEACHER, TEACHER], "weights": [1, 2], "classes": 3}, Ensemble),
    (lambda: {"student": student(), "teacher": TEACHER, "threshold": 0.5, "temperature": 1.0, "classes": 3}, Cascade),
    (lambda: {"student": student(), "teacher": TEACHER, "validation": data(), "cost": 70.0}, Cascade.for_cost),
    (
        lambda: {"student": student(), "teacher": TEACHER, "min_agreement": 0.3, "sample_rate": 0.5, "horizon": 100},
        QualityGate,
    ),
    (lambda: {"network": TEACHER, "calibration": ROWS, "bits": 8, "method": "mse", "percentile": 99.0}, quantize),
    (lambda: {"network": student(), "data": data(), "share": 0.5, "teacher": TEACHER, **QUICK}, prune_weights),
    (lambda: {"network": TEACHER, "keep": 2, "data": data(), "by": "variance"}, remove_units),
    (lambda: {"networks": [student(), MLP((9, 4, 3), seed=2)], "data": data(), "loss": SoftTarget(), **QUICK},
     mutual_learning),
    (lambda: {"teacher": TEACHER, "unlabelled": Dataset(ROWS), "classes": 3, "threshold": 0.1}, pseudo_label),
    (lambda: {"teacher": TEACHER, "student": student(), "labelled": data(), "unlabelled": Dataset(ROWS),
              "threshold": 0.1, **QUICK}, self_train),
    (lambda: {"data": data(), "share": 0.2, "seed": 1, "classes": 3}, with_label_noise),
    (lambda: {"share": 0.2, "classes": 3}, LabelNoise),
    (lambda: {"pixels": 1, "shape": (3, 3)}, RandomShift),
    (lambda: {"teacher": TEACHER, "students": {"one": [student()]}, "data": data()}, compare),
]  # fmt: skip

ENDLESS = 2**70
ODD = [
    None, 0, -1, 1e400, float("nan"), 0.5, ENDLESS, "", "three", b"bytes", True, (), [], {}, object(), [[]], [None],
    int, MLP, SoftTarget, lambda *arguments: None, lambda *arguments: 1 / 0, np.array(3), np.zeros(0), np.zeros((0, 9)),
    np.zeros((40, 0)), np.zeros((2, 3, 4)), np.full((40, 9), np.nan), np.full((40, 3), 1 / 3), np.array(["a", "b"]),
    np.array([None, {}]), np.ones((40, 9), complex), np.ones((40, 9), "datetime64[s]"), np.zeros(40, int) - 100,
    LABELS + 0.5, LABELS.reshape(-1, 1), ROWS[:, :4], ROWS[:7], ROWS.tolist(), [1, [2, 3]], range(3), iter([1]), {1: 2},
    Dataset(ROWS), Dataset(ROWS[:, :4], LABELS), Dataset(ROWS, LABELS + 5), MLP((4, 3)), MLP((9, 2)), CrossEntropy(),
    SGD(0.1), Adam, [TEACHER, 3], ["a"], [ROWS], np.float32(0.1), np.int8(2), slice(3), "numpy", ...,
]  # fmt: skip


def make_malformed_calls(count, seed=0):
    """The number of calls by outcome, "done" or "refused", and a description of each fault."""
    random = np.random.default_rng(seed)
    outcomes, faults = Counter(), []
    for number in range(count):
        make, function = CALLS[number % len(CALLS)]
        arguments = make()
        name = str(random.choice(list(arguments)))
        odd = ODD[random.integers(len(ODD))]
        if name == "epochs" and odd is ENDLESS:
            continue  # it is right, and never ends
        outcome = outcome_of(function, arguments | {name: odd})
        if outcome not in ("done", "refused") and callable(odd) and not isinstance(odd, type):
            outcome = "refused"  # by the function that was passed, or because of what it returns
        outcomes[outcome if outcome in ("done", "refused") else "fault"] += 1
        if outcome not in ("done", "refused"):
            faults.append(f"{getattr(function, '__name__', function)}({name}={odd!r}): {outcome}")
    return outcomes, faults


def outcome_of(function, arguments):
    """ "done", "refused", or a description of the fault."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            function(**arguments)
        except (ValueError, TypeError, TrainingDiverged) as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            by_us = frame.filename.startswith(PACKAGE) and "raise" in (frame.line or "")
            return "refused" if by_us else f"{type(error).__name__} in {frame.filename}:{frame.lineno}: {error}"
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            return f"{type(error).__name__} in {frame.filename}:{frame.lineno}: {error}"
    return "done"
