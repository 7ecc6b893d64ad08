# SPDX-License-Identifier: MIT
"""sweep(): students over a grid of temperature, alpha, width and seed, on all cores or on a Dask cluster.

    point    one student of the grid, and what all points share
    result   Sweep and Summary: means over the seeds, the best setting, table and figure
    file     finished points, from which a stopped sweep resumes
    workers  local processes, a Dask cluster, or any executor

The best temperature depends on the width of the student and on the data, so it is searched for. Points are compared on
validation data, never on test data: the best of many settings is partly lucky, and only rows without a part in the
choice give its unbiased accuracy. Measure the chosen setting on test data, once.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from contextlib import closing
from itertools import product
from typing import Any

import numpy as np

from ...data import Dataset
from ...data.dataset import check_dataset
from ...data.scaling import warn_if_badly_scaled
from ...distillation.soft_targets import SoftTargets, soft_targets
from ...distillation.teacher_checks import diagnose
from ...kernels import default_backend
from ...losses import SoftTarget
from ...support.checks import check_labels, check_number, check_rows, check_seed, check_whole
from ...support.deprecation import renamed_arguments
from ...training.optim import SGD, Optimizer
from .file import ResultsFile
from .point import Common, Point, Setting
from .result import Summary, Sweep
from .workers import started_workers, train_all

__all__ = ["Point", "Summary", "Sweep", "sweep"]


@renamed_arguments(say="log")
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
    log: Callable[[str], None] = lambda line: None,
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
                        BlockingIOError while another sweep uses it
    progress            a progress bar; by default on long runs in a terminal
    log                 receives a line per stage

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
    training = Dataset(check_rows("training.x", training.x, dtype=np.float32), training.y)  # float32, as students are
    validation = Dataset(check_rows("validation.x", validation.x, dtype=np.float32), validation.y)
    common = Common(
        training=training,
        validation=validation,
        targets=SoftTargets.of(check_rows("teacher logits", logits, dtype=np.float32), training),
        answers=answers,
        hyperparameters={
            "hidden_layers": check_whole("hidden_layers", hidden_layers),
            "activation": activation,
            "dropout": check_number("dropout", dropout, "[0, 1)"),
            "epochs": check_whole("epochs", epochs),
            "batch_size": check_whole("batch_size", batch_size),
            "optimizer": optimizer,
            "patience": None if patience is None else check_whole("patience", patience),
            "backend": default_backend(),
        },
    )
    for width in {setting.width for setting in grid}:
        student = common.student(width)  # says what is wrong with it, if anything is
    with closing(ResultsFile(file, common.fingerprint())) as results:
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
                with started_workers(executor, common, len(missing)) as submit:
                    log(f"{len(grid)} students, {len(grid) - len(missing)} of them finished before ...")
                    train_all(missing, submit, results.add, progress)
        except KeyboardInterrupt:
            log(f"stopped; {finished()}")
            raise
        except (ValueError, TypeError, ArithmeticError, OSError, ImportError, MemoryError):  # of a point
            raise
        except Exception as error:
            raise ChildProcessError(
                f"workers were lost: {error!r}. Was one killed, or out of memory? Can all of them import minidistill? "
                f'Does the script call sweep() below `if __name__ == "__main__":`? {finished()}'
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
    check_dataset("training", training)
    check_dataset("validation", validation)
    if validation.y is None:
        raise ValueError("validation must have labels: the settings are judged by them")
    if validation.x.shape[1] != training.x.shape[1]:
        raise ValueError(f"validation.x must have {training.x.shape[1]} columns, got shape {validation.x.shape}")
    if not isinstance(optimizer, Optimizer) or " at 0x" in repr(optimizer):
        raise TypeError(
            "optimizer must be an optimizer, such as SGD(CosineSchedule(0.1)), whose schedule can be told from "
            f"others and sent to other processes, got {optimizer!r}"
        )
