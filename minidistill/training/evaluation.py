# SPDX-License-Identifier: MIT
"""compare(): what a student kept of its teacher, and what it costs, in one table.

Accuracy alone does not tell whether a student learnt from its teacher: a student can be right where the teacher errs
and wrong elsewhere. Agreement does (Stanton et al. 2021); so it stands beside accuracy, over several seeds.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..data import Dataset
from ..support.checks import check_labels, check_probabilities, check_whole
from ..support.text import aligned, sample_std
from .baselines import warn_if_inaccurate
from .probabilities import number_of_classes, predict_proba

TIMING_SECONDS = 0.05  # how long each model is called for each of its two timings, in each round,
FEWEST_CALLS = 5
MOST_RETENTION = 1.05  # above it, the teacher was probably used wrongly
ROUNDS = 5             # in which models that are compared take turns
COSTS = {  # field of a row: its title in the table, and its format
    "parameters": ("parameters", ",d"),
    "bytes": ("bytes", ",d"),
    "multiply_adds": ("multiply-adds", ",d"),
    "latency_us": ("latency of one, us", ",.1f"),
    "throughput": ("throughput, 1/s", ",.0f"),
}


def accuracy(probabilities: np.ndarray, y: np.ndarray) -> float:
    """The share of rows (N,C) whose likeliest class is the label (N,)."""
    return float((probabilities.argmax(axis=1) == y).mean())


def agreement(student: np.ndarray, teacher: np.ndarray) -> float:
    """The share of rows where two models' probabilities (N,C) name the same class (Stanton et al. 2021, section 3)."""
    return float((student.argmax(axis=1) == teacher.argmax(axis=1)).mean())


def expected_calibration_error(probabilities: np.ndarray, y: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error, a fraction: the distance of confidence from accuracy, averaged over `bins` of equal
    width (Guo et al. 2017, equation 3). Each bin holds its upper edge and not its lower one, (lo, hi], as in the paper.
    """
    probabilities = check_probabilities("probabilities", probabilities)
    y = check_labels("y", y, len(probabilities), probabilities.shape[1])
    confidence = probabilities.max(axis=1)                                      # (N,)
    right = probabilities.argmax(axis=1) == y                                   # (N,)
    edges = np.arange(1, check_whole("bins", bins)) / bins                      # (bins-1,) between the bins
    which = np.searchsorted(edges.astype(confidence.dtype), confidence)         # (N,)  edges[k-1] < p <= edges[k]
    gaps = np.bincount(which, weights=right - confidence, minlength=bins)       # (bins,) sums within each bin
    return float(np.abs(gaps).sum() / len(y))


def seconds_per_call(model: Any, x: np.ndarray) -> float:
    """The median time of the model's own predict_proba(x), warm and without the checks of ours, in seconds."""
    call = (lambda x: predict_proba(model, x)) if isinstance(model, list | tuple) else model.predict_proba
    call(x)
    times: list[float] = []
    end = time.perf_counter() + TIMING_SECONDS
    while len(times) < FEWEST_CALLS or time.perf_counter() < end:
        start = time.perf_counter()
        call(x)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


@dataclass(frozen=True)
class ReportRow:
    """One model, or the same model trained from several seeds; fractions unless the name says otherwise."""

    name: str
    accuracy_mean: float
    accuracy_std: float       # between seeds, of the sample; 0 where there is one
    accuracies: list[float]   # a seed each
    retention: float          # accuracy_mean over the teacher's
    agreement: float          # with the teacher, mean over seeds
    calibration_error: float  # expected calibration error, mean over seeds
    parameters: int | None    # None for models that cannot tell, such as a forest
    bytes: int | None
    multiply_adds: int | None  # a sample
    latency_us: float         # one sample, microseconds
    throughput: float         # samples a second, in one call over the data

    @property
    def suspicious(self) -> bool:
        """Whether the retention is above 105%."""
        return self.retention > MOST_RETENTION

    def ratios_to(self, teacher: "ReportRow") -> dict[str, float | None]:
        """Each cost as a share of the teacher's."""
        pairs = {name: (getattr(self, name), getattr(teacher, name)) for name in COSTS}
        return {name: mine / theirs if mine and theirs else None for name, (mine, theirs) in pairs.items()}


@dataclass(frozen=True)
class Report:
    """The figures of a teacher and its students; print it, or take `to_dict()`."""

    rows: list[ReportRow]

    @property
    def teacher(self) -> ReportRow:
        return self.rows[0]

    def __getitem__(self, name: str) -> ReportRow:
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"no row {name!r}: there are {', '.join(row.name for row in self.rows)}")

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """{name: {figure: value}}, each row with whether it is `suspicious` and its `ratios` to the teacher."""
        more = {row.name: {"suspicious": row.suspicious, "ratios": row.ratios_to(self.teacher)} for row in self.rows}
        return {row.name: asdict(row) | more[row.name] for row in self.rows}

    def __str__(self) -> str:
        lines = {
            "accuracy": lambda row: f"{row.accuracy_mean:.2%}",
            "  spread over seeds": lambda row: f"{100 * row.accuracy_std:.2f}" if len(row.accuracies) > 1 else "-",
            "retention": lambda row: f"{row.retention:.1%}" + " (suspicious)" * row.suspicious,
            "agreement with teacher": lambda row: f"{row.agreement:.1%}",
            "calibration error": lambda row: f"{row.calibration_error:.3f}",
        }
        table = [["", *(row.name for row in self.rows)]]
        table += [[title, *(show(row) for row in self.rows)] for title, show in lines.items()]
        for name, (title, form) in COSTS.items():
            table.append([title, *(self._with_ratio(row, name, form) for row in self.rows)])
        return aligned(table)

    def _with_ratio(self, row: ReportRow, name: str, form: str) -> str:
        value, ratio = getattr(row, name), row.ratios_to(self.teacher)[name]
        if value is None:
            return "-"
        shown = format(value, form)
        if row is self.teacher or ratio is None:
            return shown
        return f"{shown} ({ratio:.1f}x)" if ratio > 0.5 else f"{shown} (1/{1 / ratio:.0f})"


def compare(teacher: Any, students: Mapping[str, Any], data: Dataset, *, check_teacher: bool = True) -> Report:
    """Measures a teacher and its students on labelled data that none of them was trained on.

    teacher   an MLP, an object with predict_proba, or a list of either (their mean probability)
    students  {name: model, or list of the models that several seeds gave}: {"alone": [...], "distilled": [...]}

    Gives a UserWarning where the teacher is less accurate than trivial classifiers, unless `check_teacher` is False. A
    retention above 105% is marked as suspicious.
    """
    if not isinstance(students, Mapping) or not students or "teacher" in students:
        raise ValueError("students must be a dictionary from names, other than 'teacher', to models, and not empty")
    y = _labels(data)
    classes = _classes(teacher, data, "teacher")
    if number_of_classes(teacher) is None:  # it may lack some that the students state
        classes = max(classes, number_of_classes(list(students.values())) or 0)
    rows = [measure("teacher", teacher, data, classes=classes)]
    taught = predict_proba(teacher, data.x, classes)                            # (N,C)
    if check_teacher:
        warn_if_inaccurate(taught.argmax(axis=1), data.x, y)
    rows += [measure(name, models, data, taught) for name, models in students.items()]
    timed = [teacher, *(_first(models) for models in students.values())]
    for _ in range(ROUNDS - 1):  # in turns: what slows the machine for a while must not slow one of them alone
        rows = [_quicker(row, model, data) for row, model in zip(rows, timed, strict=True)]
    return Report(rows)


def measure(
    name: str, models: Any, data: Dataset, taught: np.ndarray | None = None, *, classes: int | None = None
) -> ReportRow:
    """The figures of one model, or of those that several seeds gave, beside a teacher's probabilities (N,C).

    Without those the model is its own teacher: it agrees with itself and keeps all of its accuracy. `classes` is its
    number of classes where that is not the one that the model states or the data show.
    """
    y = _labels(data)
    alone = taught is None
    models = list(models) if isinstance(models, list | tuple) and not alone else [models]
    if not models:
        raise ValueError(f"{name} is an empty list: at least one model is needed")
    if taught is not None:
        classes = taught.shape[1]
    elif classes is None:
        classes = _classes(models[0], data, name)
    answers = [predict_proba(model, data.x, classes, name) for model in models]             # each (N,C)
    taught = answers[0] if taught is None else taught
    check_labels("data.y", y, len(data), classes)
    accuracies = [accuracy(answer, y) for answer in answers]
    mean, reference = float(np.mean(accuracies)), accuracy(taught, y)
    first = models[0]
    return ReportRow(
        name=name,
        accuracy_mean=mean,
        accuracy_std=sample_std(accuracies),
        accuracies=accuracies,
        retention=mean / reference if reference > 0 else float("nan"),
        agreement=float(np.mean([agreement(answer, taught) for answer in answers])),
        calibration_error=float(np.mean([expected_calibration_error(answer, y) for answer in answers])),
        parameters=size_of(first, "num_parameters"),
        bytes=size_of(first, "nbytes"),
        multiply_adds=size_of(first, "multiply_adds"),
        latency_us=_latency_us(first, data),
        throughput=_throughput(first, data),
    )


def _labels(data: Any) -> np.ndarray:
    if not isinstance(data, Dataset) or data.y is None:
        raise ValueError("data must be a Dataset with labels")
    return data.y


def _first(models: Any) -> Any:
    return models[0] if isinstance(models, list | tuple) else models


def _latency_us(model: Any, data: Dataset) -> float:
    return 1e6 * seconds_per_call(model, data.x[:1])


def _throughput(model: Any, data: Dataset) -> float:
    return len(data) / seconds_per_call(model, data.x)


def _quicker(row: ReportRow, model: Any, data: Dataset) -> ReportRow:
    """The row with the times of another round where those are shorter; a call longer than a round is not made again."""
    latency, throughput = row.latency_us, row.throughput
    if latency / 1e6 < TIMING_SECONDS:
        latency = min(latency, _latency_us(model, data))
    if len(data) / throughput < TIMING_SECONDS:
        throughput = max(throughput, _throughput(model, data))
    return replace(row, latency_us=latency, throughput=throughput)


def _classes(model: Any, data: Dataset, name: str) -> int:
    """The number of classes that the model states or gives; where `classes_` may lack some, those of the data count."""
    stated = number_of_classes(model)
    if stated is not None:
        return stated
    columns = int(predict_proba(model, data.x[:1], name=name).shape[1])
    return max(columns, data.classes) if hasattr(_first(model), "classes_") else columns


def size_of(model: Any, name: str) -> int | None:
    """A size that the model states itself; an ensemble's is the sum of its members'."""
    if isinstance(model, list | tuple):
        sizes = [size_of(member, name) for member in model]
        return None if None in sizes else sum(size for size in sizes if size is not None)
    size = getattr(model, name, None)
    return None if size is None else int(size)
