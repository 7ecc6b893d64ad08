# SPDX-License-Identifier: MIT
"""Measures which floor under a teacher's probabilities makes the best students: `python tools/measure/floor.py`.

A forest, a tree and nearest neighbors give many classes a probability of exactly 0, whose logarithm is no logit. Each
floor eps replaces p by (p + eps/C) / (1 + eps). On seven data sets and for several seeds, students learn from each of
these teachers at each temperature; the floor with the highest mean accuracy on validation rows is chosen. It is
compared with the logit -1e4 for probability 0 ("none"), and on a logistic regression, whose probabilities have no
zeros. At the end students of a forest are measured on the test images of digits. Needs scikit-learn, and MNIST as
`minidistill.mnist` finds it. About three minutes. Writes docs/evidence/results/floor.json.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from sklearn.datasets import load_breast_cancer, load_wine, make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from minidistill import MLP, Dataset, SoftTarget, SoftTargets, digits, distill, mnist, spirals  # noqa: E402
from minidistill.distillation.teachers import FLOOR  # noqa: E402
from minidistill.experiments.bench.machine import processor  # noqa: E402

FLOORS = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
TEMPERATURES = (2.0, 4.0, 8.0, 20.0)
ALPHAS = (0.5, 0.9)
SEEDS = 5
NO_FLOOR = -1e4  # the logit of probability 0 under the rule "none"
HIDDEN, EPOCHS, MNIST_ROWS = 32, 20, 2000
TEACHERS: dict[str, Callable[[int], Any]] = {
    "forest": lambda seed: RandomForestClassifier(random_state=seed),
    "tree": lambda seed: DecisionTreeClassifier(random_state=seed),
    "3-NN": lambda seed: KNeighborsClassifier(3),
}
SMOOTH: dict[str, Callable[[int], Any]] = {
    "logistic regression": lambda seed: LogisticRegression(max_iter=300),
}


def _table(loaded: Any) -> Dataset:
    return Dataset(loaded.data.astype(np.float32), loaded.target)


def _synthetic() -> Dataset:
    x, y = make_classification(1500, 20, n_informative=8, n_classes=5, n_clusters_per_class=2, random_state=0)
    return Dataset(x.astype(np.float32), y)


def _many_classes() -> Dataset:
    """100 classes, each a Gaussian around a mean of its own."""
    random = np.random.default_rng(0)
    y = random.integers(0, 100, 3000)
    x = random.standard_normal((100, 20))[y] + 0.7 * random.standard_normal((3000, 20))
    return Dataset(x.astype(np.float32), y)


DATA: dict[str, Callable[[], Dataset]] = {
    "digits": lambda: digits()[0],
    "breast cancer": lambda: _table(load_breast_cancer()),
    "wine": lambda: _table(load_wine()),
    "synthetic": _synthetic,
    "100 classes": _many_classes,
    "spirals": lambda: spirals(600, seed=0),
    "MNIST": lambda: mnist()[0].take(MNIST_ROWS),
}
TABLES = ("breast cancer", "wine", "synthetic")  # whose columns are standardized


def measure_teacher(data: Dataset, standardized: bool, make: Callable[[int], Any]) -> list[dict[str, Any]]:
    """The students of one kind of teacher: accuracy on validation rows by each rule, the mean over the seeds."""
    found: dict[tuple[float, float], dict[str, list[float]]] = {}
    for seed in range(SEEDS):
        training, validation = data.split(0.7, seed=seed)
        if standardized:
            statistics = training.mean_std()
            training, validation = training.standardize(*statistics), validation.standardize(*statistics)
        teacher = make(seed).fit(training.x, training.y)
        p = teacher.predict_proba(training.x)                                   # (N,C)
        for T in TEMPERATURES:
            for alpha in ALPHAS:
                accuracies = found.setdefault((T, alpha), {})
                for name, logits in floored(p).items():
                    accuracy = taught(logits, training, validation, SoftTarget(T, alpha), seed)
                    accuracies.setdefault(name, []).append(accuracy)
    return [{"temperature": T, "alpha": alpha, "accuracies": means(found[T, alpha])} for T, alpha in found]


def taught(logits: np.ndarray, training: Dataset, test: Dataset, loss: SoftTarget, seed: int) -> float:
    """The accuracy of a student of these logits (N,C) of the training rows; 0 where its training diverges."""
    student = MLP((training.x.shape[1], HIDDEN, logits.shape[1]), seed=seed)
    options = {"epochs": EPOCHS, "seed": seed, "progress": False, "check_teacher": False}
    try:
        distill(SoftTargets.of(logits, training), student, training, loss, **options)
    except ArithmeticError:
        return 0.0
    return float((student.predict(test.x) == test.y).mean())


def means(accuracies: dict[str, list[float]]) -> dict[str, float]:
    return {rule: round(float(np.mean(values)), 5) for rule, values in accuracies.items()}


def measure_test_images() -> list[dict[str, Any]]:
    """Students of a forest by either rule at each temperature, on the test images of digits: mean and deviation."""
    training, test = digits()
    found = []
    for T in TEMPERATURES:
        row: dict[str, Any] = {"temperature": T}
        for rule in ("none", f"{FLOOR:g}"):
            accuracies = []
            for seed in range(SEEDS):
                forest = TEACHERS["forest"](seed).fit(training.x, training.y)
                logits = floored(forest.predict_proba(training.x))[rule]
                accuracies.append(taught(logits, training, test, SoftTarget(T), seed))
            row[rule] = {"mean": float(np.mean(accuracies)), "std": float(np.std(accuracies, ddof=1))}
        found.append(row)
    return found


def floored(p: np.ndarray) -> dict[str, np.ndarray]:
    """The logits (N,C) of p (N,C) by each rule."""
    with np.errstate(divide="ignore"):
        logits = {"none": np.maximum(np.log(p), NO_FLOOR)}
    return logits | {f"{floor:g}": np.log((p + floor / p.shape[1]) / (1 + floor)) for floor in FLOORS}


def mean_accuracies(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The mean accuracy by each rule over data, temperatures, alphas and seeds."""
    rules = rows[0]["accuracies"]
    return means({rule: [row["accuracies"][rule] for row in rows] for rule in rules})


def main() -> None:
    rows, smooth = [], []
    for name, load in DATA.items():
        data = load()
        for kinds, place in ((TEACHERS, rows), (SMOOTH, smooth)):
            for teacher, make in kinds.items():
                found = measure_teacher(data, name in TABLES, make)
                print(name, teacher, mean_accuracies(found))
                place += [{"data": name, "teacher": teacher, **row} for row in found]
    overall = mean_accuracies(rows)
    found = {
        "settings": {
            "command": "python tools/measure/floor.py", "seeds": list(range(SEEDS)), "hidden": HIDDEN, "epochs": EPOCHS,
            "temperatures": TEMPERATURES, "alphas": ALPHAS, "data": list(DATA), "tables": TABLES,
            "teachers": list(TEACHERS), "smooth": list(SMOOTH), "validation": 0.3, "mnist_rows": MNIST_ROWS,
        },
        "chosen": max(FLOORS, key=lambda floor: overall[f"{floor:g}"]),
        "means": overall,
        "by_temperature": [
            {"temperature": T, **mean_accuracies([row for row in rows if row["temperature"] == T])}
            for T in TEMPERATURES
        ],
        "by_data": [
            {"data": name, **mean_accuracies([row for row in rows if row["data"] == name])} for name in DATA
        ],
        "smooth": mean_accuracies(smooth),
        "test_images": measure_test_images(),
        "rows": rows,
        "versions": {"numpy": np.__version__, "scikit-learn": sklearn.__version__},
        "machine": {"processor": processor()},
    }  # fmt: skip
    path = ROOT / "docs" / "evidence" / "results" / "floor.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({name: part for name, part in found.items() if name != "rows"}, indent=1))


if __name__ == "__main__":
    main()
