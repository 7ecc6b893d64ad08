# SPDX-License-Identifier: MIT
"""compress(): a small student in several forms beside its teacher, by what each kept and what it costs.

The student learns from labels alone, and distilled; the distilled one then loses half of its hidden units, and its
weights become whole numbers of eight bits, with and without learning on. A teacher that is one network is rounded as
well. One table answers which of these pays.
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
from ..training.evaluation import Report, Row, compare
from ..training.loop import fit
from ..training.optim import SGD, Cosine
from ..training.selection import best
from .prune import remove_units
from .quantization import QuantizationAwareMLP, quantize

RATES = (0.01, 0.03, 0.1, 0.3)        # tried for the student alone and, at USUAL_T, for the distilled one,
TEMPERATURES = (1.0, 2.0, 4.0, 8.0)   # for which these are tried then
USUAL_T, ALPHA = 4.0, 0.9
LEARNING_ON = 0.5                     # of the epochs, from this share of the rate, after units or digits are gone
VALIDATION = 0.2                      # of the rows, in trials
CALIBRATION = 1000                    # rows that tell how large activations become
A_MILLION = 1_000_000


def cost_of_a_million(row: Row, price: float) -> float:
    """What a million predictions take of one core, at the price of a core-hour, in its currency."""
    return price * A_MILLION / row.throughput / 3600


@dataclass(frozen=True)
class Compression:
    """What became of a student; print it, plot it, or take `to_dict()`."""

    report: Report  # the teacher first
    price: float    # of a core-hour, in any currency
    settings: dict[str, Any]
    seconds: float

    def cost(self, row: Row) -> float:
        """Of a million predictions on one core."""
        return cost_of_a_million(row, self.price)

    @property
    def front(self) -> list[str]:
        """The models that no other beats in accuracy and latency at once, the quickest first (Pareto)."""
        kept: list[Row] = []
        for row in sorted(self.report.rows, key=lambda row: (row.latency_us, -row.accuracy_mean)):
            if not kept or row.accuracy_mean > kept[-1].accuracy_mean:
                kept.append(row)
        return [row.name for row in kept]

    def to_dict(self) -> dict[str, Any]:
        costs = {row.name: self.cost(row) for row in self.report.rows}
        models = {name: {**row, "cost_of_a_million": costs[name]} for name, row in self.report.to_dict().items()}
        return {"models": models, "front": self.front, "settings": self.settings, "seconds": self.seconds}

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Accuracy by latency and size as a matplotlib figure, saved where a path is given."""
        return compression_figure(self, path)

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
    teacher: Any,
    training: Dataset,
    test: Dataset,
    hidden: Sequence[int] = (32,),
    *,
    epochs: int = 100,
    batch_size: int = 32,
    seeds: int = 3,
    seed: int = 0,
    price: float = 0.05,
    log: Callable[[str], None] = lambda line: None,
) -> Compression:
    """Students of `hidden` units a layer, in five forms, beside the teacher that teaches four of them.

    teacher   whoever may teach in `distill` and has `predict_proba`; a single MLP stands in the table as int8 as well
    training  the rows that students learn from; a fifth of them choose the learning rates of the student alone and of
              the distilled one, and its temperature, and are learned from in the end
    test      what is measured on, once
    epochs    of the first training; units that go and numbers that become coarse cost half as many once more
    seeds     students of each form, from `seed` on
    price     of a core-hour, at least 0
    log       receives a line per stage

    Raises ValueError for settings that are none, and for data without labels.
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

    log("choosing rates and temperature on validation rows ...")
    validation, learning = training.split(VALIDATION, seed=first)
    trial = _Classroom(sizes, learning, soft_targets(teacher, learning, classes), epochs, batch_size)

    def score(network: MLP) -> float:
        return float((network.predict(validation.x) == validation.y).mean())

    rate_alone = best(RATES, lambda rate: score(trial.alone(first, rate)))
    rate = best(RATES, lambda rate: score(trial.distilled(first, rate, USUAL_T)))
    T = best(TEMPERATURES, lambda T: score(trial.distilled(first, rate, T)))

    room = _Classroom(sizes, training, soft_targets(teacher, training, classes), epochs, batch_size)
    log(f"training {seeds} students of each form ...")
    distilled = [room.distilled(k, rate, T) for k in students]
    some = training.x[:CALIBRATION]
    forms: dict[str, list[Any]] = {"teacher int8": [quantize(teacher, some)]} if isinstance(teacher, MLP) else {}
    forms |= {
        "alone": [room.alone(k, rate_alone) for k in students],
        "distilled": distilled,
        "pruned": [room.pruned(network, rate, T) for network in distilled],
        "int8": [quantize(network, some) for network in distilled],
        "int8-aware": [room.int8_aware(network, rate, T) for network in distilled],
    }
    log("measuring ...")
    with one_thread(default_backend()):
        report = compare(teacher, forms, test)
    settings = {
        "hidden": list(hidden), "kept_units": list(forms["pruned"][0].sizes[1:-1]), "rows": len(training),
        "epochs": epochs, "batch_size": batch_size, "seeds": list(students), "rate_alone": rate_alone, "rate": rate,
        "temperature": T, "alpha": ALPHA, "price": price,
    }  # fmt: skip
    return Compression(report, price, settings, time.perf_counter() - start)


@dataclass(frozen=True)
class _Classroom:
    """Students of one shape, the rows that they see and what the teacher says of these."""

    sizes: tuple[int, ...]
    data: Dataset
    answers: SoftTargets
    epochs: int
    batch_size: int

    def alone(self, seed: int, rate: float) -> MLP:
        student = MLP(self.sizes, seed=seed)
        fit(student, self.data, **self._options(seed, rate, self.epochs))
        return student

    def distilled(self, seed: int, rate: float, T: float) -> MLP:
        student = MLP(self.sizes, seed=seed)
        distill(self.answers, student, self.data, SoftTarget(T, ALPHA), **self._options(seed, rate, self.epochs))
        return student

    def pruned(self, network: MLP, rate: float, T: float) -> MLP:
        """Half of the units of each layer, which learn on."""
        half = [-(-width // 2) for width in network.sizes[1:-1]]
        return self._learnt_on(remove_units(network, half, self.data), rate, T)

    def int8_aware(self, network: MLP, rate: float, T: float) -> Any:
        """A network that felt the rounding while it learned on, as whole numbers."""
        return quantize(self._learnt_on(QuantizationAwareMLP(network, self.data.x[:CALIBRATION]), rate, T))

    def _learnt_on(self, student: MLP, rate: float, T: float) -> MLP:
        options = self._options(student.seed, LEARNING_ON * rate, max(1, round(LEARNING_ON * self.epochs)))
        distill(self.answers, student, self.data, SoftTarget(T, ALPHA), **options)
        return student

    def _options(self, seed: int, rate: float, epochs: int) -> dict[str, Any]:
        return {"epochs": epochs, "batch_size": self.batch_size, "optimizer": SGD(Cosine(rate)), "seed": seed}


FORMS = {  # of compress(): colour and marker
    "teacher": (TEACHER, "o"), "teacher int8": (TEACHER, "s"), "alone": (ALONE, "o"), "distilled": (DISTILLED, "o"),
    "pruned": (DISTILLED, "v"), "int8": (DISTILLED, "s"), "int8-aware": (DISTILLED, "D"),
}  # fmt: skip


def compression_figure(compression: "Compression", path: str | os.PathLike[str] | None = None) -> Any:
    """Accuracy by latency, a mark a model, its bytes in the legend; the line joins those that no other beats."""
    from matplotlib.ticker import LogLocator, StrMethodFormatter

    figure, axes = new_figure(columns=1, width=7.0, height=4.0)
    ax = axes[0, 0]
    for row in compression.report.rows:
        colour, marker = FORMS.get(row.name, (INK, "o"))
        spread = 100 * row.accuracy_std if len(row.accuracies) > 1 else None
        size = "" if row.bytes is None else f", {row.bytes:,} bytes"
        ax.errorbar(row.latency_us, 100 * row.accuracy_mean, spread, color=colour, marker=marker, markersize=7,
                    alpha=0.7, markeredgewidth=0, linewidth=0, elinewidth=1, label=row.name + size)  # fmt: skip
    front = [compression.report[name] for name in compression.front]
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
