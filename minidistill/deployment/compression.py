# SPDX-License-Identifier: MIT
"""compress(): accuracy and cost of a small student in several forms, compared with its teacher.

The student is trained from labels alone, and distilled; half of the hidden units of the distilled one are removed, and
its weights become whole numbers of eight bits, with and without fine-tuning. A teacher that is one network is quantized
as well. One table has all of them.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import Dataset
from ..distillation.soft_targets import SoftTargets, soft_targets
from ..distillation.student import distill
from ..kernels import default_backend, one_thread
from ..losses import SoftTarget
from ..network import MLP
from ..support.checks import check_number, check_seed, check_whole
from ..support.deprecation import renamed_arguments
from ..support.figures import ALONE, DISTILLED, INK, TEACHER, new_figure, save, titled
from ..support.text import aligned
from ..training.evaluation import Report, ReportRow, compare
from ..training.loop import fit
from ..training.optim import SGD
from ..training.schedules import CosineSchedule
from ..training.selection import best
from .prune import remove_units
from .quantization import QuantizationAwareMLP, quantize

RATES = (0.01, 0.03, 0.1, 0.3)        # tried for the student alone and, at USUAL_T, for the distilled one,
TEMPERATURES = (1.0, 2.0, 4.0, 8.0)   # for which these are tried then
USUAL_T, ALPHA = 4.0, 0.9
FINE_TUNING = 0.5                     # of the epochs and of the learning rate, after pruning or quantization
VALIDATION = 0.2                      # of the rows, in trials
CALIBRATION = 1000                    # rows that determine the ranges of activations
FORMS = {  # of compress(): colour and marker
    "teacher": (TEACHER, "o"), "teacher int8": (TEACHER, "s"), "alone": (ALONE, "o"), "distilled": (DISTILLED, "o"),
    "pruned": (DISTILLED, "v"), "int8": (DISTILLED, "s"), "int8-aware": (DISTILLED, "D"),
}  # fmt: skip


def cost_of_a_million(row: ReportRow, price: float) -> float:
    """The cost of a million predictions on one core, at the price of a core-hour."""
    return price * 1_000_000 / row.throughput / 3600


@dataclass(frozen=True)
class Compression:
    """Accuracy and cost of each form of a student; print it, plot it, or take `to_dict()`."""

    report: Report  # the teacher first
    price: float    # of a core-hour, in any currency
    settings: dict[str, Any]
    seconds: float

    def cost(self, row: ReportRow) -> float:
        """Of a million predictions on one core."""
        return cost_of_a_million(row, self.price)

    @property
    def front(self) -> list[str]:
        """The models that no other beats in accuracy and latency at once, the quickest first (Pareto)."""
        kept: list[ReportRow] = []
        for row in sorted(self.report.rows, key=lambda row: (row.latency_us, -row.accuracy_mean)):
            if not kept or row.accuracy_mean > kept[-1].accuracy_mean:
                kept.append(row)
        return [row.name for row in kept]

    def to_dict(self) -> dict[str, Any]:
        costs = {row.name: self.cost(row) for row in self.report.rows}
        models = {name: {**row, "cost_of_a_million": costs[name]} for name, row in self.report.to_dict().items()}
        return {"models": models, "front": self.front, "settings": self.settings, "seconds": self.seconds}

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Accuracy by latency, a mark per model, as a matplotlib figure, saved where a path is given.

        The legend has the bytes of each; the line joins the models that no other beats.
        """
        from matplotlib.ticker import LogLocator, StrMethodFormatter

        figure, axes = new_figure(columns=1, width=7.0, height=4.0)
        ax = axes[0, 0]
        for row in self.report.rows:
            colour, marker = FORMS.get(row.name, (INK, "o"))
            spread = 100 * row.accuracy_std if len(row.accuracies) > 1 else None
            size = "" if row.bytes is None else f", {row.bytes:,} bytes"
            ax.errorbar(row.latency_us, 100 * row.accuracy_mean, spread, color=colour, marker=marker, markersize=7,
                        alpha=0.7, markeredgewidth=0, linewidth=0, elinewidth=1, label=row.name + size)  # fmt: skip
        front = [self.report[name] for name in self.front]
        ax.plot([row.latency_us for row in front], [100 * row.accuracy_mean for row in front], color=INK, linewidth=0.8,
                zorder=0)  # fmt: skip
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.xaxis.set_minor_locator(LogLocator(subs=()))
        ax.margins(0.15)
        titled(ax, "What each form keeps and costs", xlabel="latency of one row on one core, us",
                ylabel="accuracy on test rows, %")  # fmt: skip
        figure.legend(loc="outside right center", frameon=False, fontsize=8)
        return save(figure, path)

    def __str__(self) -> str:
        cheapest = min(map(self.cost, self.report.rows))
        digits = max(2, 1 - int(np.floor(np.log10(cheapest)))) if cheapest > 0 else 2
        costs = [["", *(row.name for row in self.report.rows)]]
        costs.append(["cost of a million", *(f"{self.cost(row):.{digits}f}" for row in self.report.rows)])
        return "\n".join([
            str(self.report), "", aligned(costs), "",
            f"Latency, throughput and cost are those of one core, at {self.price:g} a core-hour.",
            f"Not beaten in accuracy and latency at once: {', '.join(self.front)}.",
        ])  # fmt: skip


@renamed_arguments(say="log")
def compress(
    teacher: Any, training: Dataset, test: Dataset, hidden: Sequence[int] = (32,), *,
    epochs: int = 100, batch_size: int = 32, seeds: int = 3, seed: int = 0, price: float = 0.05,
    log: Callable[[str], None] = lambda line: None,
) -> Compression:  # fmt: skip
    """Students of `hidden` units per layer, in five forms, compared with the teacher that teaches four of them.

    teacher   any teacher of `distill` that has `predict_proba`; a single MLP stands in the table as int8 as well
    training  training rows; on a fifth of them the learning rates of both students and the temperature are chosen, and
              the final students are trained on all
    test      rows for the measurement, used once
    epochs    of the first training; fine-tuning after pruning or quantization takes half as many
    seeds     students of each form, from `seed` on
    price     of a core-hour, at least 0
    log       receives a line per stage

    Raises ValueError for hyperparameters out of range, and for data without labels.
    """
    for name, data in (("training", training), ("test", test)):
        if not isinstance(data, Dataset) or data.y is None:
            raise ValueError(f"{name} must be a Dataset with labels, got {data!r}")
    if len(hidden) == 0:
        raise ValueError("hidden must name at least one hidden layer: a network without any has no units to prune")
    check_whole("seeds", seeds)
    check_whole("epochs", epochs, minimum=2)
    check_whole("batch_size", batch_size)
    check_number("price", price, "[0, inf)")
    start, first = time.perf_counter(), check_seed(seed)
    students = range(first, first + seeds)
    classes = max(training.classes, test.classes)
    sizes = (training.x.shape[1], *hidden, classes)

    def trained(
        student: MLP, data: Dataset, targets: SoftTargets, rate: float, T: float | None = None, share: float = 1.0
    ) -> MLP:
        """`student`, distilled at temperature T or from labels alone, for a share of the epochs and of the rate."""
        options: dict[str, Any] = {
            "epochs": max(1, round(share * epochs)), "batch_size": batch_size, "seed": student.seed,
            "optimizer": SGD(CosineSchedule(share * rate)),
        }  # fmt: skip
        if T is None:
            fit(student, data, **options)
        else:
            distill(targets, student, data, SoftTarget(T, ALPHA), **options)
        return student

    log("choosing rates and temperature on validation rows ...")
    validation, learning = training.split(VALIDATION, seed=first)
    targets = soft_targets(teacher, learning, classes)

    def score(rate: float, T: float | None = None) -> float:
        network = trained(MLP(sizes, seed=first), learning, targets, rate, T)
        return float((network.predict(validation.x) == validation.y).mean())

    rate_alone = best(RATES, score)
    rate = best(RATES, lambda rate: score(rate, USUAL_T))
    T = best(TEMPERATURES, lambda T: score(rate, T))

    log(f"training {seeds} students of each form ...")
    everything = training, soft_targets(teacher, training, classes)
    distilled = [trained(MLP(sizes, seed=k), *everything, rate, T) for k in students]
    half = [-(-width // 2) for width in distilled[0].sizes[1:-1]]
    pruned = [remove_units(network, half, training) for network in distilled]
    some = training.x[:CALIBRATION]
    aware = [QuantizationAwareMLP(network, some) for network in distilled]
    forms: dict[str, list[Any]] = {"teacher int8": [quantize(teacher, some)]} if isinstance(teacher, MLP) else {}
    forms |= {
        "alone": [trained(MLP(sizes, seed=k), *everything, rate_alone) for k in students],
        "distilled": distilled,
        "pruned": [trained(network, *everything, rate, T, FINE_TUNING) for network in pruned],
        "int8": [quantize(network, some) for network in distilled],
        "int8-aware": [quantize(trained(network, *everything, rate, T, FINE_TUNING)) for network in aware],
    }
    log("measuring ...")
    with one_thread(default_backend()):
        report = compare(teacher, forms, test)
    settings = {
        "hidden": list(hidden), "kept_units": half, "rows": len(training), "epochs": epochs, "batch_size": batch_size,
        "seeds": list(students), "rate_alone": rate_alone, "rate": rate, "temperature": T, "alpha": ALPHA,
        "price": price,
    }  # fmt: skip
    return Compression(report, price, settings, time.perf_counter() - start)
