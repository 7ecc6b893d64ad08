# SPDX-License-Identifier: MIT
"""The command line: demo, train, distill, sweep, evaluate, predict, compress, gate, export, import, reproduce,
leaderboard, bench and info.

Figures go to stdout, all else to stderr. Exit status 0 for success, 2 for what the user can mend, 130 after Ctrl-C; and
3 where `gate` raises an alarm.
Each command imports what it needs when it runs, so that --help is quick.
"""

import argparse
import contextlib
import io
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from ..data import Dataset
    from ..deployment.quantization import QuantizedMLP
    from ..distillation.soft_targets import SoftTargets
    from ..network import MLP
    from ..training.optim import Optimizer

EPILOG = """\
a first walk, from the handwriting that comes with the package to a student of your own:

  minidistill demo
  minidistill train digits --hidden 512,512 --dropout 0.3 --epochs 40 --out teacher.npz
  minidistill distill digits --teacher teacher.npz --hidden 32 --out student.npz
  minidistill evaluate student.npz digits --teacher teacher.npz
"""

DATA_HELP = """\
a CSV file (one row a line, its last column the label, a whole number from 0), an NPZ file with arrays x (N,I) and
y (N,), or a pipe with the content of either, such as /dev/stdin; or a word: digits for the handwriting that comes with
the package, mnist or fashion-mnist for 70,000 images, from a folder that MINIDISTILL_DATA names, or downloaded once
"""
EXPORT_FORMATS = ("c", "onnx", "safetensors", "pt")
IMPORT_FORMATS = ("onnx", "safetensors", "pt")
ALARM = 3  # the exit status of a gate that no longer lets its student through
DATA_WORDS = ("digits", "mnist", "fashion-mnist")
FIGURES = ("", ".png", ".svg", ".pdf")
# {argument that holds paths: its name in errors}, of networks and tables that are read and of files that are written.
# Existing files of the last three outputs are read as well.
NETWORKS = {"model": "model", "student": "student", "file": "file", "teacher": "--teacher"}
TABLES = {"data": "data", "batches": "batch", "reference": "--reference"}
OUTPUTS = {name: f"--{name}" for name in ("out", "figure", "checkpoint", "results", "state")}
TEACHER_HELP = "a saved network, or several: their mean probability"


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit status."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for file names that its encoding cannot represent
    options = _parser().parse_args(arguments)
    try:
        _check_files(options)
        if options.backend is not None:
            from ..kernels import use_backend

            with _naming("--backend"):
                use_backend(options.backend)
        status = options.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, TypeError, ArithmeticError, OSError, ImportError, MemoryError) as error:
        print(f"minidistill {options.command}: error: {_in_one_line(error)}", file=sys.stderr)
        return 2
    return status or 0


def _check_files(options: argparse.Namespace) -> None:
    """Refuses, before anything is read or written, files that are missing, and outputs that would overwrite others."""
    from ..support.files import check_apart, check_place

    networks, tables, outputs = (_named_paths(options, names) for names in (NETWORKS, TABLES, OUTPUTS))
    for name, path in networks + tables:
        if not os.path.exists(path):
            raise FileNotFoundError(f"{name}: no such file: {path}")
        if os.path.isdir(path):
            raise IsADirectoryError(f"{name}: expected a file, got a folder: {path}")
    for name, path in networks:
        if not os.path.isfile(path):
            raise ValueError(f"{name}: expected a regular file, got a pipe or a device: {path}")
    for name, path in outputs:
        check_place(name, path)
        if name not in ("--out", "--figure") and os.path.exists(path) and not os.path.isfile(path):
            raise ValueError(f"{name}: expected a regular file, got a pipe or a device: {path}")
        if name == "--figure" and os.path.splitext(path)[1].lower() not in FIGURES:
            raise ValueError(f"{name}: must end in .png, .svg or .pdf, got {path}")
    check_apart(outputs, networks + tables)


def _named_paths(options: argparse.Namespace, names: dict[str, str]) -> list[tuple[str, Any]]:
    """The paths that the command was given for these arguments, each with the name that errors give to it."""
    given = [(name, getattr(options, argument, None)) for argument, name in names.items()]
    listed = [(name, path) for name, value in given for path in (value if isinstance(value, list) else [value])]
    no_files = (None, *DATA_WORDS) if names is TABLES else (None,)
    return [(name, path) for name, path in listed if path not in no_files and (name, path) != ("--figure", "")]


@contextmanager
def _naming(option: str) -> Iterator[None]:
    """Puts the option before the message of an error that its value causes."""
    try:
        yield
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(f"{option}: {_in_one_line(error)}") from None


def _in_one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.strerror}: {error.filename}"
    return " ".join(str(error).split()) or type(error).__name__


# ---------------------------------------------------------------------------------------------- the commands


def demo(options: argparse.Namespace) -> None:
    from ..experiments.demo import run_demo

    _show(options, options.figure, lambda: run_demo(options.seeds, options.seed, say=_say))


def train(options: argparse.Namespace) -> None:
    from ..training.loop import fit

    data = _data(options)[0]
    if data.y is None:
        raise ValueError(f"{options.data} has no labels to learn from")
    if options.classes is not None and options.classes < data.classes:
        raise ValueError(f"--classes must be at least the {data.classes} that the labels need, got {options.classes}")
    lesson = _Lesson(options, data, max(2, options.classes or data.classes))
    lesson.run(lambda: fit(lesson.network, lesson.training, **lesson.fit_options()))


def distill(options: argparse.Namespace) -> None:
    from ..distillation import student as distillation
    from ..distillation.teachers import as_teacher
    from ..losses import SoftTarget

    teacher, classes = _networks(options.teacher)
    loss = SoftTarget(options.temperature, options.alpha)
    lesson = _Lesson(options, _data(options, {"--teacher": teacher})[0], classes)
    if lesson.augment:
        logits = as_teacher(teacher, classes)
        teacher = lambda x: logits(x * lesson.scale + lesson.mean)  # noqa: E731  of the student's rows in raw units
    else:
        teacher = _told(teacher, lesson.raw_training, lesson.training, classes)
    lesson.run(lambda: distillation.distill(teacher, lesson.network, lesson.training, loss, **lesson.fit_options()))


def sweep(options: argparse.Namespace) -> None:
    from ..experiments.sweep import sweep as run_sweep

    teacher, classes = _networks(options.teacher)
    raw_training, raw_validation = _split(options, _data(options, {"--teacher": teacher})[0])
    if raw_validation is None:
        raise ValueError("a sweep needs validation rows: labels, and --validation above 0")
    mean, scale = raw_training.mean_std()
    training, validation = raw_training.standardize(mean, scale), raw_validation.standardize(mean, scale)
    found = run_sweep(
        _told(teacher, raw_training, training, classes), training, validation,
        temperatures=options.temperatures, alphas=options.alphas, widths=options.widths,
        seeds=range(options.seed, options.seed + options.seeds),
        hidden_layers=options.layers, activation=options.activation, dropout=options.dropout, epochs=options.epochs,
        batch_size=options.batch_size, optimizer=_optimizer(options), patience=options.patience,
        classes=classes, validation_targets=_told(teacher, raw_validation, validation, classes),
        executor=options.executor, file=options.results, say=_say,
    )  # fmt: skip
    _print(options, found.to_dict(), str(found))
    if options.figure:
        found.plot(options.figure)
        _say(f"saved {options.figure}")


def evaluate(options: argparse.Namespace) -> None:
    from ..training.evaluation import Report, compare, measure

    model = _floats_or_integers("model", options.model)
    teacher = _networks(options.teacher)[0] if options.teacher else None
    data = _data(options, {"model": model, "--teacher": [] if teacher is None else teacher})[1]
    if teacher is not None:
        report = compare(teacher, {"student": model}, data)
    else:
        report = Report([measure("network", model, data)])
    _print(options, report.to_dict(), str(report))


def predict(options: argparse.Namespace) -> None:
    model = _floats_or_integers("model", options.model)
    x = _data(options, {"model": model})[1].x
    probabilities = model.predict_proba(x, options.temperature)                 # (N,C)
    labels = probabilities.argmax(axis=1)                                       # (N,)
    if options.out is not None:
        _write_predictions(options.out, labels, probabilities, options.proba)
        _say(f"saved {options.out}")
    lines = (",".join(f"{p:.6g}" for p in row) for row in probabilities) if options.proba else map(str, labels)
    result = {"labels": labels.tolist()} | ({"probabilities": probabilities.tolist()} if options.proba else {})
    if options.json or options.out is None:
        _print(options, result, "\n".join(lines) if not options.json else "")


def export(options: argparse.Namespace) -> None:
    from .. import export as room

    form = _format(options, options.out, EXPORT_FORMATS)
    if options.name is not None and form != "c":
        raise ValueError(f"--name is for the functions of a C file, not for {form}")
    write = getattr(room, f"to_{form}")
    network = _floats_or_integers("model", options.model)
    write(network, options.out, **({} if options.name is None else {"name": options.name}))
    _tell_of_file(options, network, form)


def import_(options: argparse.Namespace) -> None:
    from .. import export as room

    form = _format(options, options.file, IMPORT_FORMATS)
    if form == "onnx" and options.activation is not None:
        raise ValueError(f"--activation is for files that do not state it, and onnx does: {options.file}")
    with _naming("file"):
        if form == "onnx":
            network = room.from_onnx(options.file, options.dtype)
        else:
            read = room.from_safetensors if form == "safetensors" else room.from_pt
            network = read(options.file, options.activation, options.dtype)
    network.save(options.out)
    _tell_of_file(options, network, form)


def compress(options: argparse.Namespace) -> None:
    from ..deployment.compression import compress as run_compression

    networks = _models(options.teacher)
    data, test = _data(options, {"--teacher": networks})
    if data is test:  # one file
        test, data = data.split(options.test, seed=options.seed)
    if options.rows is not None:
        data = data.take(min(options.rows, len(data)), seed=options.seed)
    mean, scale = data.mean_std()
    teachers = [_of_standardised(network, mean, scale) for network in networks]
    teacher = teachers[0] if len(teachers) == 1 else teachers
    _show(options, options.figure, lambda: run_compression(
        teacher, data.standardize(mean, scale), test.standardize(mean, scale), options.hidden, epochs=options.epochs,
        batch_size=options.batch_size, seeds=options.seeds, seed=options.seed, price=options.price, say=_say,
    ))  # fmt: skip


def gate(options: argparse.Namespace) -> int:
    from ..deployment.gate import QualityGate, promise
    from ..deployment.pair import Pair

    if (options.promised is None) == (options.reference is None):
        raise ValueError("either --promised or --reference must say what agreement is promised")
    student, teacher = _floats_or_integers("student", options.student), _networks(options.teacher)[0]
    models = {"student": student, "--teacher": teacher}
    promised = options.promised
    if promised is None:
        reference = _named("--reference", options.reference, options.label, models)[1]
        promised = promise(Pair(student, teacher), reference, options.drop, 0.05)
    one = QualityGate(
        student, teacher, promised, options.share, false_alarm_rate=options.false_alarms, horizon=options.horizon,
        seed=options.seed, file=options.state,
    )  # fmt: skip
    _say(f"promised agreement {promised:.2%}; {one.n_sampled} of {one.n_seen} inputs watched before")
    batches = []
    for name in options.batches:
        seen = one.update(_named("batch", name, options.label, models)[1].x)
        low, high = seen.interval
        batches.append({
            "batch": name, "inputs": len(seen.labels), "watched": seen.n_sampled, "agreed": seen.n_agreed,
            "interval": [low, high], "verdict": seen.verdict,
        })  # fmt: skip
        if not options.json:  # a line says that the batch is counted, and kept in the file
            agreed = f"{seen.n_agreed} of {seen.n_sampled} watched agree"
            print(f"{name}: {agreed}; so far between {low:.2%} and {high:.2%}: {seen.verdict}", flush=True)
    if options.json:
        _print(options, {"promised": promised, "batches": batches, "verdict": one.verdict}, "")
    if one.alarm_index is not None:
        _say(f"alarm since input {one.alarm_index + 1} of {one.n_seen}: agreement is below the promised {promised:.2%}")
        return ALARM
    return 0


def reproduce(options: argparse.Namespace) -> None:
    from ..experiments import reproduce as experiments
    from ..support.files import check_place

    figure = f"minidistill-{options.name}.png" if options.figure is None else options.figure
    if figure:
        check_place("--figure", figure)
    settings = options.name, options.seeds, options.quick, options.held_out
    _show(options, figure, lambda: experiments.reproduce(*settings, say=_say))


def leaderboard(options: argparse.Namespace) -> None:
    from ..experiments.leaderboard import NAMES, names_at_hand
    from ..experiments.leaderboard import leaderboard as run_leaderboard
    from ..support.checks import check_choice

    names = [check_choice("DATA", name, NAMES) for name in dict.fromkeys(options.names)] or names_at_hand(_say)
    boards = []
    for name in names:
        boards.append(run_leaderboard(name, options.seeds, options.quick, say=_say))
        _print(options, boards[-1].to_dict(), f"{boards[-1]}\n")
    if options.figure:
        from ..experiments.pictures import leaderboard_figure

        leaderboard_figure(boards, options.figure)
        _say(f"saved {options.figure}")


def bench(options: argparse.Namespace) -> None:
    from ..experiments.bench import run_bench

    _show(options, options.figure, lambda: run_bench(options.quick, say=_say))


def compile_kernels() -> None:
    """Compiles what training and prediction in float32 need, which takes about half a minute; it stays on disk."""
    import numpy as np

    from ..data import Dataset
    from ..kernels import load_backend
    from ..network import MLP
    from ..training.loop import fit

    with contextlib.suppress(ImportError):  # numba is missing or cannot start: `describe` says so
        load_backend("cpu")
        data = Dataset(np.eye(4, dtype=np.float32), np.arange(4) % 2)
        network = MLP((4, 3, 2), backend="cpu")
        fit(network, data, epochs=1, batch_size=2, validation=data)
        network.predict_proba(data.x)


def info(options: argparse.Namespace) -> None:
    if options.compile:
        _say("compiling the kernels for this machine, once ...")
        compile_kernels()
    from .. import __version__
    from ..kernels import describe

    found = {"minidistill": __version__, **describe()}
    width = max(map(len, found))
    _print(options, found, "\n".join(f"{name.replace('_', ' '):{width}}  {value}" for name, value in found.items()))


# ---------------------------------------------------------------------------------------------- training from a file


class _Lesson:
    """A network, and the data from a file split and scaled for it.

    Where the rows are augmented they are scaled afterwards, batch by batch: a pixel that moves takes no column's scale
    along, and the zeros that move in are those of the file.
    """

    def __init__(self, options: argparse.Namespace, data: "Dataset", classes: int) -> None:
        from ..data.augmentation import Mixup, RandomShift, with_label_noise
        from ..network import MLP

        self.options = options
        self.raw_training, self.validation = _split(options, data)
        sizes = (data.x.shape[1], *options.hidden, classes)
        self.network = MLP(sizes, options.activation, options.dropout, options.seed)
        self.finished_epochs = 0
        if options.label_noise:
            self.raw_training = with_label_noise(self.raw_training, options.label_noise, options.seed, classes)
        self.mean, self.scale = self._column_statistics()
        self.augment: list[Any] = []
        if options.jitter:
            self.augment.append(RandomShift(options.jitter))
        if options.mixup is not None:
            self.augment.append(Mixup(classes, options.mixup))
        if self.augment:
            self.training = self.raw_training
            self.augment.append(self.scaled)
        else:
            self.training = self.raw_training.standardize(self.mean, self.scale)
        if self.validation is not None:
            self.validation = self.validation.standardize(self.mean, self.scale)

    def _column_statistics(self) -> tuple[Any, Any]:
        """Mean and scale of each column; one of each for all where pixels move from column to column."""
        from ..data import Dataset

        if not self.options.jitter:
            return self.raw_training.mean_std()
        columns = self.raw_training.x.shape[1]
        mean, scale = Dataset(self.raw_training.x.reshape(-1, 1)).mean_std()
        return mean.repeat(columns), scale.repeat(columns)

    def scaled(self, x: Any, y: Any, generator: Any) -> tuple[Any, Any]:
        """The last augmentation: standardises what the others left."""
        return ((x - self.mean) / self.scale).astype(x.dtype), y

    def fit_options(self) -> dict[str, Any]:
        options = self.options
        return {
            "epochs": options.epochs,
            "batch_size": options.batch_size,
            "optimizer": _optimizer(options),
            "seed": options.seed,
            "validation": self.validation,
            "patience": options.patience,
            "augment": self.augment,
            "checkpoint": options.checkpoint,
            "callbacks": (self._count,),
        }

    def _count(self, network: "MLP", history: Any) -> None:
        self.finished_epochs = len(history.epochs)

    def run(self, training: Any) -> None:
        """Trains, saves the network and tells of it; after Ctrl-C the best one so far is saved before we leave."""
        _say(f"training {self.network} on {len(self.training)} rows ...")
        if self.options.checkpoint and os.path.exists(self.options.checkpoint):
            _say(f"going on from {self.options.checkpoint}")
        try:
            history = training()
        except KeyboardInterrupt:
            if self.finished_epochs:
                self._save()
                _say(f"stopped after {self.finished_epochs} epochs; saved the best network to {self.options.out}")
            else:
                _say("stopped before the first epoch was over; nothing was saved")
            raise
        self._save()
        last = history.epochs[-1]
        best = history.best if self.options.patience is not None else last
        result = {
            "network": repr(self.network), "out": self.options.out, "epochs": last.epoch, "loss": last.loss,
            "validation_accuracy": best.validation_accuracy, "validation_loss": best.validation_loss,
            "best_epoch": best.epoch, "seconds": float(history.column("seconds").sum()),
        }
        text = f"{last.epoch} epochs in {result['seconds']:.1f} s, training loss {last.loss:.4f}"
        if self.validation is not None:
            text += f", validation accuracy {best.validation_accuracy:.2%} (epoch {best.epoch})"
        _print(self.options, result, f"{text}\nsaved {self.options.out}")

    def _save(self) -> None:
        self.network.fold_standardization(self.mean, self.scale)  # the file takes rows as they come
        self.network.save(self.options.out)


def _split(options: argparse.Namespace, data: "Dataset") -> tuple["Dataset", "Dataset | None"]:
    """Rows to train on, and those to validate on, where they are asked for and labelled."""
    share = options.validation
    return data.split(1 - share, seed=options.seed) if share > 0 and data.y is not None else (data, None)


def _told(teacher: Any, raw: "Dataset", scaled: "Dataset", classes: int) -> "SoftTargets":
    """The teacher's answers to rows as they came, kept for the same rows, scaled."""
    from ..distillation.soft_targets import SoftTargets, soft_targets

    return SoftTargets.of(soft_targets(teacher, raw, classes).logits, scaled)


def _optimizer(options: argparse.Namespace) -> "Optimizer":
    from ..training.optim import SGD, Adam
    from ..training.schedules import CosineSchedule

    rate = options.learning_rate
    if options.optimizer == "adam":
        return Adam(CosineSchedule(0.003 if rate is None else rate))
    return SGD(CosineSchedule(0.1 if rate is None else rate), clip_norm=1.0)  # a rare column, standardised, can be huge


# ---------------------------------------------------------------------------------------------- reading and writing


def _data(options: argparse.Namespace, models: dict[str, Any] | None = None) -> tuple["Dataset", "Dataset"]:
    return _named("data", options.data, options.label, models or {})


def _named(
    option: str, name: str, label: str | int | None, models: dict[str, Any]
) -> tuple["Dataset", "Dataset"]:
    """Data to train on and to test on, in float32. A file serves as both; the sets of DATA_WORDS have two parts.

    models  {option: network, or a list of them} that must take rows of as many columns
    """
    import numpy as np

    from ..data import Dataset, digits, fashion_mnist, load_table, mnist
    from ..support.checks import check_rows

    if name in DATA_WORDS:
        training, test = dict(zip(DATA_WORDS, (digits, mnist, fashion_mnist), strict=True))[name]()
    else:
        with _naming(option):
            data = load_table(name, label)
            training = test = Dataset(check_rows(f"x of {name}", data.x, dtype=np.float32), data.y)
    columns = test.x.shape[1]
    for other, model in models.items():
        for network in model if isinstance(model, list) else [model]:
            if network.sizes[0] != columns:
                hint = "; if the last one is the label, pass --label -1" if label is None else ""
                raise ValueError(f"{option}: {name} has {columns} columns, and {other} takes {network.sizes[0]}{hint}")
    return training, test


def _networks(paths: list[str]) -> tuple[Any, int]:
    """One network, or the list that is an ensemble; and the number of its classes."""
    networks = _models(paths)
    return networks[0] if len(networks) == 1 else networks, networks[0].sizes[-1]


def _models(paths: list[str]) -> list["MLP"]:
    from ..network import MLP

    with _naming("--teacher"):
        networks = [MLP.load(path) for path in paths]
        classes = {network.sizes[-1] for network in networks}
        if len(classes) > 1:
            raise ValueError(f"teachers must have the same number of classes, got {sorted(classes)}")
    return networks


def _floats_or_integers(option: str, path: str) -> "MLP | QuantizedMLP":
    from ..deployment.quantization import KIND, QuantizedMLP
    from ..network import MLP
    from ..support.files import read_arrays

    with _naming(option):
        return QuantizedMLP.load(path) if str(read_arrays(path).get("kind")) == KIND else MLP.load(path)


def _of_standardised(network: "MLP", mean: Any, scale: Any) -> "MLP":
    """The same network, for rows (x - mean) / scale in place of x."""
    network.fold_standardization(-mean / scale, 1 / scale)
    return network


def _write_predictions(path: str, labels: Any, probabilities: Any, proba: bool) -> None:
    import numpy as np

    from ..support.files import replacing

    with replacing(path) as stream:
        if path.endswith(".npz"):
            np.savez(stream, labels=labels, probabilities=probabilities)
        elif proba:
            np.savetxt(stream, probabilities, fmt="%.6g", delimiter=",")
        else:
            np.savetxt(stream, labels, fmt="%d")


def _format(options: argparse.Namespace, path: str, formats: tuple[str, ...]) -> str:
    """The format that --format names, or else the suffix of the file in it."""
    form = options.format or os.path.splitext(path)[1].removeprefix(".")
    if form not in formats:
        raise ValueError(f"{path} should end in {', '.join('.' + known for known in formats)}, or --format name one of "
                         "them")  # fmt: skip
    return str(form)


def _tell_of_file(options: argparse.Namespace, network: "MLP | QuantizedMLP", form: str) -> None:
    size = os.path.getsize(options.out)
    result = {"network": repr(network), "format": form, "out": options.out, "bytes": size}
    _print(options, result, f"{network}\nsaved {options.out} ({size:,} bytes)")


def _show(options: argparse.Namespace, figure: str, run: Callable[[], Any]) -> None:
    """Runs what takes a while, prints what it found, and saves its picture where one is wanted."""
    found = run()
    _print(options, found.to_dict(), str(found))
    if figure:
        found.plot(figure)
        _say(f"saved {figure}")


def _print(options: argparse.Namespace, result: dict[str, Any], text: str) -> None:
    print(json.dumps(_without_nan(result)) if options.json else text)


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: what was not measured is null."""
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# ---------------------------------------------------------------------------------------------- the options


def _widths(text: str) -> tuple[int, ...]:
    """'512,512' as (512, 512); the empty text is a network without hidden layers."""
    widths = text.split(",") if text else []
    if not all(width.isdecimal() and int(width) > 0 for width in widths):
        raise argparse.ArgumentTypeError(f"widths must be whole numbers parted by commas, as in 512,512, got {text!r}")
    return tuple(map(int, widths))


def _number(interval: str) -> Callable[[str], float]:
    """The argparse type of a number in `interval`, as in `check_number`; argparse names the option in errors."""

    def read(text: str) -> float:
        from ..support.checks import check_number

        try:
            return check_number("", float(text), interval)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a number in {interval}, got {text!r}") from None

    return read


def _whole(minimum: int) -> Callable[[str], int]:
    """The argparse type of a whole number from `minimum`, below 2^63."""

    def read(text: str) -> int:
        if not text.isdecimal() or len(text) > 19 or not minimum <= int(text) < 2**63:
            raise argparse.ArgumentTypeError(f"must be a whole number from {minimum}, below 2^63, got {text!r}")
        return int(text)

    return read


def _numbers(interval: str) -> Callable[[str], tuple[float, ...]]:
    """The argparse type of several numbers in `interval`, such as 1,2.5."""
    read_one = _number(interval)

    def read(text: str) -> tuple[float, ...]:
        try:
            return tuple(map(read_one, text.split(",")))
        except argparse.ArgumentTypeError:
            raise argparse.ArgumentTypeError(
                f"must be numbers in {interval} separated by commas, as in 0.5,0.9, got {text!r}"
            ) from None

    return read


def _column(text: str) -> str | int | None:
    if text == "none":
        return None
    try:
        return int(text)
    except ValueError:
        return text


COUNT, NATURAL, POSITIVE = _whole(1), _whole(0), _number("(0, inf)")
TEMPERATURES = "[1e-6, 1e6)"  # as in checks.py, which imports NumPy
OPEN, CLOSED = _number("(0, 1)"), _number("[0, 1]")
BELOW_1, ABOVE_0 = _number("[0, 1)"), _number("(0, 1]")


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage of the command, which --help prints."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    from .. import __version__

    form = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="minidistill", epilog=EPILOG, formatter_class=form,
        description="Knowledge distillation: turn a slow classifier into a small fast one, and see what it kept.",
    )
    parser.add_argument("--version", action="version", version=f"minidistill {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(run: Any, text: str, more: str) -> argparse.ArgumentParser:
        name = run.__name__.rstrip("_")  # Python keeps the word import for itself
        added = commands.add_parser(name, help=text, description=f"{text}.\n\n{more}", formatter_class=form)
        added.set_defaults(run=run)
        added.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")
        added.add_argument("--backend", metavar="NAME", help="who does the arithmetic: numpy, cpu, cuda, or auto")
        return added

    added = command(demo, "train a teacher on real handwriting and distil it", """\
A student that sees 150 images learns alone, and again with the softened answers of a teacher that saw 1,297. The
settings are chosen on validation images; the table is of test images. It takes under half a minute.""")
    added.add_argument("--seeds", type=COUNT, default=5, metavar="N", help="students to train (default 5)")
    added.add_argument("--seed", type=NATURAL, default=0, metavar="S", help="of teacher and first student (default 0)")
    added.add_argument("--figure", default="minidistill-demo.png", metavar="FILE",
                       help="the picture; '' for none (default %(default)s)")

    added = command(train, "train a network on labelled rows", """\
Columns are standardised; the saved network takes rows as they come all the same, for the scaling is folded into its
first layer. Ctrl-C keeps the best network so far.""")
    _add_data(added)
    added.add_argument("--classes", type=COUNT, metavar="C",
                       help="number of classes, where the data lacks the last ones")
    _add_training(added)

    added = command(distill, "train a student on a teacher's softened answers", """\
The student minimises (1 - alpha) CE(s, y) + alpha T^2 KL(softmax(t/T) || softmax(s/T)), where s and t are the
student's and the teacher's logits and y the labels. T shows more or less of what the teacher thinks of the wrong
answers; try 2 to 8, and compare on validation data. Distilling pays where labels are few or noisy and the student has
spare capacity. With --alpha 1 no labels are needed (--label none).""")
    _add_data(added)
    added.add_argument("--teacher", required=True, nargs="+", metavar="FILE", help=TEACHER_HELP)
    added.add_argument("--temperature", type=_number(TEMPERATURES), default=4.0, metavar="T",
                       help="softens both sides (default 4)")  # fmt: skip
    added.add_argument("--alpha", type=CLOSED, default=0.5, metavar="A", help="the teacher's weight (default 0.5)")
    _add_training(added)

    added = command(sweep, "try temperatures, weights of the teacher and widths, over seeds", """\
Distils a student for each of them and for each seed, on all cores, and shows mean and spread. Settings are judged on
validation rows alone, held out of the data. Choose one by them, then distil it and evaluate it on test data, once.""")
    _add_data(added)
    added.add_argument("--teacher", required=True, nargs="+", metavar="FILE", help=TEACHER_HELP)
    added.add_argument("--temperatures", type=_numbers(TEMPERATURES), default=(1, 2, 4, 8), metavar="T,T,...",
                       help="default 1,2,4,8")
    added.add_argument("--alphas", type=_numbers("[0, 1]"), default=(0.5, 0.9), metavar="A,A,...",
                       help="weights of the teacher (default 0.5,0.9)")
    added.add_argument("--widths", type=_widths, default=(32,), metavar="W,W,...",
                       help="of students: a student for each, all its hidden layers of that width (default 32)")
    added.add_argument("--layers", type=COUNT, default=1, metavar="N", help="hidden layers of a student (default 1)")
    added.add_argument("--seeds", type=COUNT, default=3, metavar="N", help="students a setting (default 3)")
    added.add_argument("--executor", metavar="WHERE",
                       help="processes:N, or dask://HOST:PORT for a Dask cluster (default: a process for each core)")
    added.add_argument("--results", metavar="FILE",
                       help="keeps finished students; the same command goes on from there when it was stopped")
    added.add_argument("--figure", default="", metavar="FILE", help="draw the mean accuracies")
    _add_fitting(added)

    added = command(evaluate, "measure a network, beside its teacher or alone", """\
Accuracy, agreement with the teacher, calibration, size, multiply-adds, latency and throughput. Use data that the
network was not trained on; of digits, mnist and fashion-mnist, the test images are taken.""")
    added.add_argument("model", help="a saved network, of floats or quantised")
    _add_data(added)
    added.add_argument("--teacher", nargs="+", metavar="FILE", help=TEACHER_HELP)

    added = command(predict, "label rows with a saved network", """\
Prints a label a line, or with --proba the probabilities of the classes. Of digits, mnist and fashion-mnist, the test
images are taken.""")
    added.add_argument("model", help="a saved network, of floats or quantised")
    _add_data(added, label=None)
    added.add_argument("--proba", action="store_true", help="probabilities instead of labels")
    added.add_argument("--temperature", type=_number("[1e-6, inf)"), default=1.0, metavar="T",
                       help="softens them (default 1)")  # fmt: skip
    added.add_argument("--out", metavar="FILE", help="write to a .csv, or to an .npz with labels and probabilities")

    added = command(export, "write a network for other programs", """\
A C file has the weights and one function, and needs nothing but a compiler; ONNX and safetensors need the extra
minidistill[export], PyTorch's .pt needs torch. All but C can be imported again; dropout and seed stay behind. What
`quantize` made becomes C only, with weights of a byte or half a byte and the same logits to the last bit.""")
    added.add_argument("model", help="a saved network, of floats or quantised")
    added.add_argument("--out", required=True, metavar="FILE", help="a .c, .onnx, .safetensors or .pt file")
    added.add_argument("--format", choices=EXPORT_FORMATS, help="where the suffix does not say it")
    added.add_argument("--name", help="what the names in a C file begin with (default mlp: mlp_predict)")

    added = command(import_, "take a network that another program trained", """\
ONNX must be a chain of Gemm, or MatMul and Add, and one activation; safetensors and .pt must hold the weights of linear
layers with numbered names, as a state_dict of PyTorch's nn.Sequential does. Nothing in a file is run. The network can
then teach, learn on, be evaluated and be exported.""")
    added.add_argument("file", help="an .onnx, .safetensors or .pt file")
    added.add_argument("--out", required=True, metavar="FILE", help="where the network goes, an .npz file")
    added.add_argument("--format", choices=IMPORT_FORMATS, help="where the suffix does not say it")
    added.add_argument("--activation", choices=("relu", "tanh", "gelu"), help="of hidden layers, where a file does not "
                       "say it")  # fmt: skip
    added.add_argument("--dtype", choices=("float32", "float64"), help="of the weights (default: as in the file)")

    added = command(compress, "make a student small in several ways, and see what each keeps and costs", """\
The student learns from labels alone, and distilled; the distilled one is then pruned to half of its units, and rounded
to eight bits, with and without learning on; the teacher is rounded too, where it is a single network. The table has
accuracy, agreement, calibration, bytes, multiply-adds, latency and throughput of one core, and the cost of a million
predictions. Of a file's rows a part is kept for it; of digits, mnist and fashion-mnist it is of the test images.""")
    _add_data(added)
    added.add_argument("--teacher", nargs="+", required=True, metavar="FILE", help=TEACHER_HELP)
    added.add_argument("--hidden", type=_widths, default=(32,), metavar="N[,N...]", help="of the student (default 32)")
    added.add_argument("--rows", type=COUNT, metavar="N", help="learn from so many rows (default: all)")
    added.add_argument("--test", type=OPEN, default=0.2, metavar="SHARE", help="of a file's rows (default 0.2)")
    added.add_argument("--epochs", type=COUNT, default=100, metavar="N", help="of the first training (default 100)")
    added.add_argument("--batch-size", type=COUNT, default=32, metavar="N", help="rows a step (default 32)")
    added.add_argument("--seeds", type=COUNT, default=3, metavar="N", help="students of each form (default 3)")
    added.add_argument("--seed", type=NATURAL, default=0, metavar="S", help="of the first student (default 0)")
    added.add_argument("--price", type=_number("[0, inf)"), default=0.05, metavar="P",
                       help="of a core-hour (default 0.05)")
    added.add_argument("--figure", default="", metavar="FILE", help="draw accuracy by latency")

    added = command(gate, "watch whether a student still agrees with its teacher", """\
A share of the rows goes to the teacher too; no labels are needed. The state file remembers what was seen: give each
batch once, in the order in which it came, and repeat the options. A line is printed for each batch that the file has
taken in, with the agreement in it, an interval for the agreement so far and the verdict: ok; watch, where there is
some evidence that agreement is below what was promised; alarm, where there is enough. An alarm stays.

Exit status: 0 for ok and watch, 3 for alarm, 2 for what the user can mend.""")
    added.add_argument("student", help="a saved network, of floats or quantised")
    added.add_argument("batches", nargs="+", metavar="BATCH", help="rows as they came, in CSV or NPZ files")
    added.add_argument("--teacher", required=True, action="append", metavar="FILE",
                       help="a saved network; given several times, their mean probability")
    added.add_argument("--state", required=True, metavar="FILE", help="where the gate is kept, an .npz file")
    added.add_argument("--promised", type=OPEN, metavar="P", help="the agreement promised, between 0 and 1")
    added.add_argument("--reference", metavar="DATA",
                       help="instead: rows that neither was trained on; what they prove, less --drop, is promised")
    added.add_argument("--drop", type=BELOW_1, default=0.01, metavar="D", help="the drop tolerated (default 0.01)")
    added.add_argument("--share", type=ABOVE_0, default=0.05, metavar="S", help="of the rows, watched (default 0.05)")
    added.add_argument("--false-alarms", type=OPEN, default=0.05, metavar="A",
                       help="chance of an alarm while the promise is kept, within --horizon (default 0.05)")
    added.add_argument("--horizon", type=COUNT, default=100_000, metavar="N", help="rows (default 100000)")
    added.add_argument("--seed", type=NATURAL, default=0, metavar="S", help="of which rows are watched (default 0)")
    added.add_argument("--label", type=_column, default=None, metavar="COLUMN",
                       help="the column of a CSV to leave aside, by name or number (default: none)")

    added = command(reproduce, "do the field's headline results again", """\
Prints what a paper says beside what comes out here, as mean and spread over seeds, and whether the claim holds.

  hinton-mnist  soft targets on MNIST, and digits that a student never sees (Hinton et al. 2015); half an hour
  few-labels    what a teacher is worth where labels are few (the same, section 6)
  capacity      where distilling hurts, and where a student beats its teacher (Cho and Hariharan 2019), Fashion-MNIST
  fidelity      does the student agree with its teacher? (Stanton et al. 2021)
  assistant     a network of a size in between, as the student's teacher (Mirzadeh et al. 2020), Fashion-MNIST
  born-again    students as large as their teachers (Furlanello et al. 2018), Fashion-MNIST
  mutual        networks that teach one another while they learn (Zhang et al. 2018), Fashion-MNIST
  deploy        no paper's: a student in production, helped out and watched by its teacher, Fashion-MNIST; or digits
                where that is not on this machine""")
    added.add_argument("name", metavar="NAME", help="one of those above")
    added.add_argument("--quick", action="store_true", help="under a minute: shows that it works, not that claims hold")
    added.add_argument("--seeds", type=COUNT, metavar="N",
                       help="students of each kind (default: 3 to 5; with --quick 1)")
    added.add_argument("--held-out", action="store_true",
                       help="measure on images held out of training instead of the test images: to choose settings by")
    added.add_argument("--figure", metavar="FILE", help="the picture (default minidistill-NAME.png); '' for none")

    added = command(leaderboard, "rank every method of the library", """\
Every loss and every scheme with the same teacher, student, budget and order of images, over several seeds: accuracy on
test images, the difference to soft targets, seed by seed, agreement with the teacher, seconds a run. Each method has
six trials on validation images. On two cores digits take about a minute, MNIST and Fashion-MNIST under ten each. With
--json a data set is an object on a line of its own.""")
    added.add_argument("names", nargs="*", metavar="DATA",
                       help="digits, mnist, fashion-mnist: by default those that need no download")
    added.add_argument("--quick", action="store_true", help="a fifth of the steps: shows that it works, not who leads")
    added.add_argument("--seeds", type=COUNT, metavar="N", help="students of each method (default 5; with --quick 2)")
    added.add_argument("--figure", default="", metavar="FILE", help="draw all students, a panel a data set")

    added = command(bench, "time it beside the libraries that one would use instead", """\
Training steps, losses, predictions and matrix products, by minidistill, NumPy, PyTorch, JAX, scikit-learn and ONNX
Runtime, each where it is installed: the same work, compared before it is timed, in turns, on one thread and on all.
It takes about ten minutes, with --quick under one.""")
    added.add_argument("--quick", action="store_true", help="small cases, on one thread")
    added.add_argument("--figure", default="", metavar="FILE", help="draw the training steps")

    added = command(info, "say what does the arithmetic here", """\
Machine, versions, backend, what card there is or what is missing for one, width of the vectors, threads, and the folder
where compiled kernels are kept.""")
    added.add_argument("--compile", action="store_true", help="compile the kernels now, and not when first used")
    return parser


def _add_data(parser: argparse.ArgumentParser, label: int | None = -1) -> None:
    default = "-1" if label == -1 else "none, every column is an input"
    parser.add_argument("data", help=DATA_HELP)
    parser.add_argument("--label", type=_column, default=label, metavar="COLUMN",
                        help=f"the label's column in a CSV, by name, by number from 0 (-1 is the last), or none "
                             f"(default: {default})")


def _add_training(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", required=True, metavar="FILE", help="where the network goes, an .npz file")
    add("--hidden", type=_widths, default=(64,), metavar="W,W,...", help="widths of the hidden layers (default 64)")
    _add_fitting(parser)
    add("--jitter", type=NATURAL, default=0, metavar="K",
        help="move each row, a square image, by up to K pixels, anew each epoch; a teacher sees it moved as well")
    add("--mixup", type=POSITIVE, metavar="ALPHA",
        help="mix each row, and its label, with another row, anew each epoch: try 0.2")
    add("--label-noise", type=CLOSED, default=0.0, metavar="SHARE",
        help="of the labels to train on, replaced once by other classes, to see what that does")
    add("--checkpoint", metavar="FILE",
        help="written after each epoch; where it is there already, the same command goes on from it")


def _add_fitting(parser: argparse.ArgumentParser) -> None:
    """What a student of a sweep can be given as well."""
    add = parser.add_argument
    add("--activation", default="relu", choices=("relu", "tanh", "gelu"))
    add("--dropout", type=BELOW_1, default=0.0, metavar="P", help="share of hidden activations left out in training")
    add("--epochs", type=COUNT, default=50, metavar="N", help="passes over the data (default 50)")
    add("--batch-size", type=COUNT, default=32, metavar="B", help="rows per step, at most all (default 32)")
    add("--optimizer", default="sgd", choices=("sgd", "adam"))
    add("--learning-rate", type=POSITIVE, metavar="R", help="falls along a cosine (default 0.1, with adam 0.003)")
    add("--validation", type=BELOW_1, default=0.2, metavar="SHARE",
        help="of the rows, held out to be judged on; 0 for none (default 0.2)")
    add("--patience", type=COUNT, metavar="N", help="stop after N epochs that were no better, and keep the best")
    add("--seed", type=NATURAL, default=0, metavar="S", help="of weights, order, split and noise (default 0)")
