# SPDX-License-Identifier: MIT
"""sweep(): students over a grid of temperature, alpha, width and seed, on all cores or on a Dask cluster.

Which temperature suits depends on the width of the student and on the data, so it is tried, not known. What is tried is
judged on validation data, never on test data: the best of many settings owes some of its figure to luck, and only rows
that had no part in the choice can tell how much. Measure the one that you choose on test data, once.

A point of the grid is one student, trained by `distill`. Its result depends on its settings and its seed alone, not on
where and in which order points are trained. From top to bottom:

    1  what is found    Point, Summary (the seeds of a setting), Sweep
    2  a point          Common: what all points share; it trains one
    3  the file         of finished points: a sweep that was stopped goes on from there
    4  the workers      processes of our own (workers.py), a Dask cluster, or any executor
    5  sweep()
"""

import hashlib
import json
import os
import re
import socket
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np

from ...data import Dataset
from ...data.dataset import check_dataset
from ...data.scaling import warn_if_badly_scaled
from ...distillation.soft_targets import SoftTargets, soft_targets
from ...distillation.student import distill
from ...distillation.teacher_checks import diagnose
from ...kernels import default_backend, one_thread
from ...losses import SoftTarget
from ...network import MLP
from ...support.checks import TEMPERATURES, check_labels, check_number, check_rows, check_seed, check_whole
from ...support.files import check_place, check_same_run, digest, replacing
from ...support.processes import own_processes, usable_cores
from ...support.progress import with_bar
from ...support.text import aligned, plural, sample_std
from ...training.optim import SGD, Optimizer

# ---------------------------------------------------------------------------------------------- 1  what is found


class Setting(NamedTuple):
    """A place in the grid."""

    width: int
    temperature: float
    alpha: float
    seed: int


@dataclass(frozen=True)
class Point:
    """One student: its setting, and what became of it on the validation data; fractions."""

    width: int
    temperature: float
    alpha: float
    seed: int
    accuracy: float | None     # None where the training failed
    agreement: float | None    # with the teacher; None also where the teacher could not be asked
    seconds: float
    reason: str | None = None  # why the training failed

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "Point":
        """The point with these fields; TypeError or ValueError where one is missing, unknown or out of its range."""
        point = cls(**fields)
        check_whole("width", point.width)
        check_number("temperature", point.temperature, TEMPERATURES)
        check_number("alpha", point.alpha, "[0, 1]")
        check_seed(point.seed)
        check_number("seconds", point.seconds, "[0, inf)")
        for name, figure in (("accuracy", point.accuracy), ("agreement", point.agreement)):
            if figure is not None:
                check_number(name, figure, "[0, 1]")
        if (point.accuracy is None) != isinstance(point.reason, str):
            raise ValueError(f"a point has an accuracy or a reason, got {point.accuracy} and {point.reason!r}")
        return point

    @property
    def setting(self) -> Setting:
        return Setting(self.width, self.temperature, self.alpha, self.seed)


@dataclass(frozen=True)
class Summary:
    """A setting's students of all seeds, on the validation data; fractions, None where no student has the figure."""

    width: int
    temperature: float
    alpha: float
    accuracy_mean: float | None
    accuracy_std: float | None  # between seeds, of the sample; 0 where there is one
    accuracies: list[float]     # a seed each, without those that failed
    agreement: float | None
    seconds: float              # mean
    failed: int                 # seeds

    @classmethod
    def of(cls, points: Sequence[Point]) -> "Summary":
        accuracies = [point.accuracy for point in points if point.accuracy is not None]
        agreements = [point.agreement for point in points if point.agreement is not None]
        return cls(
            *points[0].setting[:-1],
            accuracy_mean=float(np.mean(accuracies)) if accuracies else None,
            accuracy_std=sample_std(accuracies) if accuracies else None,
            accuracies=accuracies,
            agreement=float(np.mean(agreements)) if agreements else None,
            seconds=float(np.mean([point.seconds for point in points])),
            failed=len(points) - len(accuracies),
        )

    def cells(self) -> list[str]:
        """Its line in the table."""
        return [
            str(self.width), f"{self.temperature:g}", f"{self.alpha:g}",
            "-" if self.accuracy_mean is None else f"{self.accuracy_mean:.2%}",
            f"{100 * (self.accuracy_std or 0):.2f}" if len(self.accuracies) > 1 else "-",
            "-" if self.agreement is None else f"{self.agreement:.1%}",
            f"{self.seconds:.2f}", str(self.failed or ""),
        ]  # fmt: skip


@dataclass(frozen=True)
class Sweep:
    """What a sweep found; print it, plot it, or take `best()` or `to_dict()`."""

    points: list[Point]       # by width, temperature, alpha, seed
    settings: dict[str, Any]  # those that are not in the grid, with fingerprints of the data and of the teacher

    @property
    def summaries(self) -> list[Summary]:
        """A Summary for each width, temperature and alpha, in this order."""
        groups: dict[tuple[Any, ...], list[Point]] = {}
        for point in self.points:
            groups.setdefault(point.setting[:-1], []).append(point)
        return [Summary.of(points) for points in groups.values()]

    def best(self) -> Summary:
        """The setting of the highest mean accuracy on the validation data; the narrowest, where several have it.

        Only settings that no seed failed with are looked at; ValueError where there is none.
        """
        whole = [summary for summary in self.summaries if not summary.failed]
        if not whole:
            raise ValueError("there is no best setting: with each of them some student failed")
        return max(whole, key=lambda summary: (summary.accuracy_mean, -summary.width))

    def to_dict(self) -> dict[str, Any]:
        """Settings, best setting (None where there is none), summaries and points; accuracies are fractions."""
        summaries = self.summaries
        best = None if all(summary.failed for summary in summaries) else asdict(self.best())
        parts = {"summaries": [asdict(each) for each in summaries], "points": [asdict(each) for each in self.points]}
        return {"settings": self.settings, "best": best, **parts}

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Mean accuracies, a panel a width, as a matplotlib figure, saved where a path is given."""
        from ..pictures import sweep_figure

        return sweep_figure(self, path)

    def __str__(self) -> str:
        summaries = self.summaries
        table = [["width", "T", "alpha", "accuracy", "spread", "agreement", "seconds", "failed"]]
        lines = [aligned([*table, *(summary.cells() for summary in summaries)]), ""]
        if not all(summary.failed for summary in summaries):
            best = self.best()
            lines.append(
                f"Best on the validation data, mean of {plural(len(best.accuracies), 'seed')}: width {best.width}, "
                f"T {best.temperature:g}, alpha {best.alpha:g}. Measure it on test data, once."
            )
        failed = [point for point in self.points if point.reason is not None]
        if failed:
            first = failed[0]
            lines.append(
                f"{len(failed)} of {len(self.points)} students failed; the first, of width {first.width}, "
                f"T {first.temperature:g}, alpha {first.alpha:g}, seed {first.seed}: {first.reason}"
            )
        return "\n".join(lines)


# ---------------------------------------------------------------------------------------------- 2  a point


@dataclass(frozen=True)
class Common:
    """What all points share. It is arrays and settings alone, so that it can go to another process or machine."""

    training: Dataset            # float32, as the students are
    validation: Dataset
    targets: SoftTargets         # the teacher's logits (N,C) for the training rows
    answers: np.ndarray | None   # its classes (N,) for the validation rows
    hidden_layers: int
    activation: str
    dropout: float
    epochs: int
    batch_size: int
    optimizer: Optimizer
    patience: int | None
    backend: str

    def student(self, width: int, seed: int = 0) -> MLP:
        sizes = (self.training.x.shape[1], *[width] * self.hidden_layers, self.targets.logits.shape[1])
        return MLP(sizes, self.activation, self.dropout, seed, backend=self.backend)

    def train(self, setting: Setting) -> Point:
        """The point at `setting`: a student distilled and measured, on one thread. One that diverges has failed."""
        start = time.perf_counter()
        student, loss = self.student(setting.width, setting.seed), SoftTarget(setting.temperature, setting.alpha)
        options: dict[str, Any] = {"epochs": self.epochs, "batch_size": self.batch_size, "optimizer": self.optimizer}
        if self.patience is not None:
            options |= {"validation": self.validation, "patience": self.patience}
        with one_thread(self.backend):
            try:
                distill(
                    self.targets, student, self.training, loss, seed=setting.seed, progress=False, check_teacher=False,
                    **options,
                )  # fmt: skip
            except ArithmeticError as error:
                return Point(*setting, None, None, time.perf_counter() - start, str(error))
            said = student.predict(self.validation.x)                           # (N,)
        accuracy = float((said == self.validation.y).mean())
        agreement = None if self.answers is None else float((said == self.answers).mean())
        return Point(*setting, accuracy, agreement, time.perf_counter() - start)

    def fingerprint(self) -> dict[str, Any]:
        """What tells this sweep from others, whose points would not belong to its own."""
        return {
            "training": digest(self.training.x, self.training.y),
            "validation": digest(self.validation.x, self.validation.y),
            "teacher": digest(self.targets.logits, self.answers),
            "hidden_layers": self.hidden_layers,
            "activation": self.activation,
            "dropout": self.dropout,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "optimizer": repr(self.optimizer),
            "patience": self.patience,
            "backend": self.backend,
        }


# ---------------------------------------------------------------------------------------------- 3  the file


class _Results:
    """Finished points and, where there is a path, their file: a line that tells the sweep from others, a line a point.

    The file begins to exist, whole, with its first point. A line is whole once its newline is there: what a run that
    was killed left of its last line is cut off before the next one is written. Each line is JSON and ends in a hash of
    itself and of the first line: a changed byte, or a line of another sweep, is refused.
    """

    def __init__(self, path: str | os.PathLike[str] | None, fingerprint: dict[str, Any]) -> None:
        self.path, self.header = path, {"minidistill": "sweep", **fingerprint}
        self.first = _sealed(self.header)  # line of the file
        self.points: dict[Setting, Point] = {}
        self.length = 0     # of the whole lines, in bytes
        self.torn = False   # something that is no whole line follows them
        if path is not None:
            check_place("file", path)
            if os.path.exists(path):
                self._read(path)

    def _read(self, path: str | os.PathLike[str]) -> None:
        if not os.path.isfile(path):
            raise FileExistsError(f"file: cannot keep points in {path}: it is no regular file")
        with open(path, "r+b") as stream:  # for writing too: where that is not allowed, we hear of it now
            content = stream.read()
        if not content:
            return
        first, *lines = content.split(b"\n")
        self._check_header(first if lines else b"")
        rest = lines.pop()  # behind the last newline
        for number, line in enumerate(lines, 2):
            self._read_point(line, number)
        if _unsealed(rest[:-1], first) is not None:
            raise ValueError(f"{path} is damaged: line {len(lines) + 2} is whole, but does not end in a newline")
        self.length, self.torn = len(content) - len(rest), rest != b""

    def _read_point(self, line: bytes, number: int) -> None:
        fields = _unsealed(line, self.first)
        try:
            if fields is None:
                raise ValueError("its checksum is not that of its content")
            point = Point.of(fields)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.path} is damaged: line {number} is no point of this sweep: {error}") from None
        self.points[point.setting] = point

    def _check_header(self, first: bytes) -> None:
        found = _json(first)
        if found.get("minidistill") != "sweep":
            raise ValueError(f"{self.path} does not hold the points of a sweep; give another file")
        if SEAL not in found:
            raise ValueError(f"{self.path} was written by an earlier version, without checksums; give another file")
        if _unsealed(first) is None:
            raise ValueError(f"{self.path} is damaged: line 1: its checksum is not that of its content")
        del found[SEAL]
        own = {**dict.fromkeys(found), **self.header}
        check_same_run(f"{self.path} holds the points of another sweep", found, own)

    def add(self, point: Point) -> None:
        """Keeps a point; in the file before this returns."""
        self.points[point.setting] = point
        if self.path is None:
            return
        line = _sealed(asdict(point), self.first) + b"\n"
        if self.length == 0:
            line = self.first + b"\n" + line
            with replacing(self.path) as stream:
                stream.write(line)
        else:
            if self.torn:
                os.truncate(self.path, self.length)
                self.torn = False
            with open(self.path, "ab") as stream:
                stream.write(line)
        self.length += len(line)


SEAL = "sha256"  # the last field of each line: the beginning of the hash of the first line and of all before this field


def _sealed(fields: dict[str, Any], first: bytes = b"") -> bytes:
    """A line with these fields and its seal; `first` is the first line of the file, for every other line."""
    body = json.dumps(fields).encode().removesuffix(b"}")
    return body + f', "{SEAL}": "{_seal(body, first)}"}}'.encode()


def _unsealed(line: bytes, first: bytes = b"") -> dict[str, Any] | None:
    """The fields of a line; None where a byte of it was changed."""
    body, _, seal = line.rpartition(f', "{SEAL}": "'.encode())
    return _json(body + b"}") if seal == f'{_seal(body, first)}"}}'.encode() else None


def _seal(body: bytes, first: bytes) -> str:
    return hashlib.sha256(first + body).hexdigest()[:16]


def _json(line: bytes) -> dict[str, Any]:
    """The object that a line holds; an empty one where it holds none."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


# ---------------------------------------------------------------------------------------------- 4  the workers

Submit = Callable[[Setting], "Future[Point]"]
CONNECTING = 5  # seconds that a Dask scheduler has to answer, and then its workers


@contextmanager
def _workers(executor: Executor | str | None, common: Common, points: int) -> Iterator[Submit]:
    """What trains points: a function from a setting to the future of its point."""
    if executor is None:
        executor = f"processes:{min(usable_cores(), points)}"
    if isinstance(executor, Executor):
        yield lambda setting: executor.submit(Common.train, common, setting)
        return
    kind, _, rest = executor.partition(":") if isinstance(executor, str) else ("", "", "")
    if kind == "processes" and rest.isdecimal() and int(rest) > 0:
        workers = _processes(int(rest), common)
    elif kind == "dask" and re.fullmatch(r"//[^/\s]+:\d+", rest):
        workers = _dask(rest.removeprefix("//"), common)
    else:
        raise ValueError(
            f"executor must be 'processes:N', 'dask://HOST:PORT' or a concurrent.futures.Executor, got {executor!r}"
        )
    with workers as submit:
        yield submit


@contextmanager
def _dask(address: str, common: Common) -> Iterator[Submit]:
    """The workers of a Dask cluster, to each of which `common` is sent once."""
    try:
        from distributed import Client
    except ImportError:
        raise ImportError("executor 'dask://...' needs Dask: pip install 'minidistill[dask]'") from None
    try:
        host, port = address.rsplit(":", 1)
        with socket.create_connection((host.strip("[]"), port), CONNECTING) as greeting:
            if not greeting.recv(1):  # a scheduler speaks first; for a server that is none, Client would wait for ever
                raise ConnectionResetError("the connection was closed")
        client = Client(f"tcp://{address}", timeout=CONNECTING, set_as_default=False)
    except OSError as error:
        raise ConnectionError(f"executor: no Dask scheduler answers at {address}: {error}") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECTING)
        except TimeoutError:
            raise ConnectionError(f"executor: the Dask scheduler at {address} has no workers") from None
        sent = client.scatter(common, broadcast=True, hash=False)
        pool = client.get_executor(pure=False)
        yield lambda setting: pool.submit(Common.train, sent, setting)


@contextmanager
def _processes(count: int, common: Common) -> Iterator[Submit]:
    with own_processes(count, common) as submit:
        yield lambda setting: submit(_train_without_warnings, setting)


def _train_without_warnings(common: Common, setting: Setting) -> Point:
    """The point at `setting`, in a process of our own: the one that started it has given the warnings."""
    warnings.simplefilter("ignore", UserWarning)
    return common.train(setting)


def _train_all(settings: Sequence[Setting], submit: Submit, finish: Callable[[Point], None], bar: bool | None) -> None:
    """Hands out the settings, and takes each point as soon as it is there."""
    waiting, futures = iter(settings), list[Future[Point]]()
    done: SimpleQueue[Future[Point]] = SimpleQueue()
    try:
        for _ in with_bar(range(len(settings)), bar, "point"):
            while done.empty() and (setting := next(waiting, None)) is not None:
                futures.append(submit(setting))
                futures[-1].add_done_callback(done.put)
            finish(done.get().result())
    finally:
        for future in futures:
            future.cancel()


# ---------------------------------------------------------------------------------------------- 5  sweep()


def sweep(
    teacher: Any,
    training: Dataset,
    validation: Dataset,
    *,
    temperatures: Iterable[float] = (1, 2, 4, 8),
    alphas: Iterable[float] = (0.5, 0.9),
    widths: Iterable[int] = (32,),
    seeds: Iterable[int] = range(3),
    hidden_layers: int = 1,
    activation: str = "relu",
    dropout: float = 0.0,
    epochs: int = 20,
    batch_size: int = 32,
    optimizer: Optimizer | None = None,
    patience: int | None = None,
    classes: int | None = None,
    validation_targets: Any = None,
    check_teacher: bool = True,
    executor: Executor | str | None = None,
    file: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Sweep:
    """Distils a student for each temperature, alpha, width and seed, and measures all of them on the validation data.

    teacher             as in `distill`; it is asked once, here
    training            what the students learn from; its labels may be missing where all alphas are 1
    validation          labelled rows to judge the settings by. Never the test data
    widths              of the students' hidden layers, of which each has `hidden_layers`
    seeds               of weights, dropout and the order of the rows
    activation, dropout of the students, as in `MLP`
    epochs, batch_size, optimizer, patience     as in `fit`
    classes             where the labels lack the last ones
    validation_targets  the teacher's kept answers to the validation rows, where it cannot be asked: without them there
                        is no agreement to tell of
    check_teacher       whether to warn, once, of a teacher that is likely to mislead the students, as in `distill`
    executor            'processes:N', by default on as many as there are cores; 'dask://HOST:PORT', the scheduler of a
                        Dask cluster on which minidistill is installed; or any concurrent.futures.Executor, which is
                        left open, and to which the data goes anew with each point
    file                keeps each point as soon as it is finished. A sweep that was stopped goes on from its file, and
                        a larger grid takes from it what it has; a sweep of other data or settings is refused, and so
                        is a file with a changed byte, or of an earlier version, which had no checksums.
                        It serves one sweep at a time
    progress            a progress bar; by default on long runs in a terminal
    say                 hears of what is done

    A student that diverges has failed; it is recorded as such, and does not stop the others. On Ctrl-C and on errors
    no further point begins, processes of our own end at once, and what is finished stays in the file.

    Processes import the script that started them, which must therefore call this below `if __name__ == "__main__":`.

    Raises ValueError or TypeError for what cannot be trained, and for a file of something else; OSError where the file
    cannot be written; ConnectionError where no scheduler answers; ChildProcessError where a worker ended before its
    point did.
    """
    grid = _grid(temperatures, alphas, widths, seeds)
    optimizer = SGD() if optimizer is None else optimizer
    _check(training, validation, optimizer)
    if classes is None:
        classes = max(data.classes for data in (training, validation) if data.y is not None)
    check_labels("validation.y", validation.y, len(validation), check_whole("classes", classes, minimum=2))
    logits = soft_targets(teacher, training, classes).logits_for(training)
    if validation_targets is None and not isinstance(teacher, SoftTargets | np.ndarray):
        validation_targets = teacher
    answers = None
    if validation_targets is not None:
        answers = soft_targets(validation_targets, validation, classes).logits_for(validation).argmax(axis=1)
    training, validation = _single("training.x", training), _single("validation.x", validation)
    common = Common(
        training=training,
        validation=validation,
        targets=SoftTargets.of(check_rows("teacher logits", logits, dtype=np.float32), training),
        answers=answers,
        hidden_layers=check_whole("hidden_layers", hidden_layers),
        activation=activation,
        dropout=check_number("dropout", dropout, "[0, 1)"),
        epochs=check_whole("epochs", epochs),
        batch_size=check_whole("batch_size", batch_size),
        optimizer=optimizer,
        patience=None if patience is None else check_whole("patience", patience),
        backend=default_backend(),
    )
    for width in {setting.width for setting in grid}:
        student = common.student(width)  # says what is wrong with it, if anything is
    results = _Results(file, common.fingerprint())
    missing = [setting for setting in grid if setting not in results.points]
    if missing and check_teacher:
        diagnose(common.targets.logits, student, training)
    if missing:
        warn_if_badly_scaled(training, optimizer=optimizer)

    def finished() -> str:
        count = sum(setting in results.points for setting in grid)
        return f"{count} of {len(grid)} points are finished" + (f" and kept in {file}" if count and file else "")

    try:
        if missing:
            with _workers(executor, common, len(missing)) as submit:
                say(f"{len(grid)} students, {len(grid) - len(missing)} of them finished before ...")
                _train_all(missing, submit, results.add, progress)
    except KeyboardInterrupt:
        say(f"stopped; {finished()}")
        raise
    except (ValueError, TypeError, ArithmeticError, OSError, ImportError, MemoryError):  # as a point itself may raise
        raise
    except Exception as error:
        raise ChildProcessError(
            f"workers were lost: {error!r}. Was one killed, or out of memory? Can all of them import minidistill? Does "
            f'the script call sweep() below `if __name__ == "__main__":`? {finished()}'
        ) from error
    return Sweep([results.points[setting] for setting in grid], common.fingerprint())


def _grid(
    temperatures: Iterable[float], alphas: Iterable[float], widths: Iterable[int], seeds: Iterable[int]
) -> list[Setting]:
    """All settings, each once; ValueError or TypeError for one that no student can have."""
    columns: dict[str, list[Any]] = {
        "widths": [check_whole("each of widths", width) for width in _listed("widths", widths)],
        "temperatures": [SoftTarget(temperature=T).temperature for T in _listed("temperatures", temperatures)],
        "alphas": [SoftTarget(alpha=alpha).alpha for alpha in _listed("alphas", alphas)],
        "seeds": [check_seed(seed) for seed in _listed("seeds", seeds)],
    }
    for name, values in columns.items():
        if not values or len(set(values)) < len(values):
            raise ValueError(f"{name} must hold at least one number, and none twice, got {values}")
    return [Setting(*values) for values in product(*columns.values())]


def _listed(name: str, values: Any) -> list[Any]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a list of numbers, got {values!r}")
    return list(values)


def _check(training: Dataset, validation: Dataset, optimizer: Optimizer) -> None:
    for name, data in (("training", training), ("validation", validation)):
        check_dataset(name, data)
    if validation.y is None:
        raise ValueError("validation must have labels: the settings are judged by them")
    if validation.x.shape[1] != training.x.shape[1]:
        raise ValueError(f"validation.x must have {training.x.shape[1]} columns, got shape {validation.x.shape}")
    if not isinstance(optimizer, Optimizer) or " at 0x" in repr(optimizer):
        raise TypeError(
            "optimizer must be an optimizer, such as SGD(CosineSchedule(0.1)), whose schedule can be told from "
            f"others and sent to other processes, got {optimizer!r}"
        )


def _single(name: str, data: Dataset) -> Dataset:
    """The data in float32, in which the students are trained."""
    return Dataset(check_rows(name, data.x, dtype=np.float32), data.y)
