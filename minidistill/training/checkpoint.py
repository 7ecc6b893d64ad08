# SPDX-License-Identifier: MIT
"""Checkpoints: a training run that was killed resumes from a file, and ends with the same bits.

Between two epochs a run consists of the parameters, the optimizer's state, the best parameters so far and the history;
these are written. All else is computed again: the order of the rows and the augmentation are a function of (seed,
epoch), the dropout masks and the learning rate one of the step. That holds for the same run only, so the file states
its settings, and another run is refused.

`fit`, `distill` and `mutual_learning` do all of this where they are given a `checkpoint`. Read run.py first.
"""

import os
import re
from typing import Any

import numpy as np

from ..support.checks import check_finite, check_whole
from ..support.files import check_place, check_regular, check_same_run, digest, read_npz, write_npz
from .history import Epoch, History
from .run import Run
from .targets import fingerprint_of


class Checkpoint:
    """The file of one training run, which is written again after every few epochs and after the last.

    path       of the file; training resumes from an existing one
    every      epochs from one writing to the next
    run        the run; what it trains and `run.states` are written, and are what `restore` changes
    best       (P,) each network's best parameters so far; `restore` changes them, and `histories`, in place
    histories  of each network

    A file replaces the one before when it is whole: if the process is killed while writing, the old one stays, beside a
    piece of the new one, named .minidistill-*.part, that can be deleted.

    Raises TypeError, ValueError or OSError for a path where no file can be, before anything is trained.
    """

    def __init__(
        self, path: str | os.PathLike[str], every: int, run: Run, best: list[np.ndarray], histories: list[History]
    ) -> None:
        if not isinstance(path, str | os.PathLike):
            raise TypeError(f"checkpoint must be the path of a file, got {path!r}")
        check_place("checkpoint", path)
        check_regular("checkpoint", path)
        self.path = path
        self.every = check_whole("checkpoint_every", every)
        self.epochs, self.histories = run.epochs, histories
        self.arrays = {numbered("best_parameters", k): array for k, array in enumerate(best)}
        for k, (one, state) in enumerate(zip(run.trained, run.states, strict=True)):
            self.arrays |= {numbered("parameters", k): one.parameters, numbered("optimizer_state", k): state}
        self.settings = settings_of(run)

    def after_epoch(self) -> None:
        """Writes the file where `every` epochs have passed, or the run has ended."""
        first = self.histories[0]
        done = len(first.epochs)
        if done % self.every and done < self.epochs and not first.stopped_early:
            return
        so_far: dict[str, Any] = {"settings": list(self.settings.items()), "stopped_early": first.stopped_early}
        for k, history in enumerate(self.histories):
            so_far[numbered("epochs", k)] = np.array(history.epochs)
            so_far[numbered("best", k)] = history.best.epoch if history.best else 0
        write_npz(self.path, "checkpoint", {**so_far, **self.arrays})

    def restore(self) -> None:
        """Restores the state in the file, if there is one; ValueError for a damaged one, or one of another run."""
        if not os.path.exists(self.path):
            return
        settings = read_npz(self.path, "checkpoint", ("settings",))["settings"]
        numbers = range(len(self.histories))
        try:
            check_same_run("it is of another run", dict(settings.tolist()), self.settings)
            names = [numbered(name, k) for name in ("epochs", "best") for k in numbers]
            found = read_npz(self.path, "checkpoint", ("stopped_early", *names, *self.arrays))
            if found["stopped_early"].dtype != np.bool_:
                raise ValueError(f"stopped_early has dtype {found['stopped_early'].dtype}")
            histories = [self._history(found, k) for k in numbers]
            for name, array in self.arrays.items():
                if (found[name].shape, found[name].dtype) != (array.shape, array.dtype):
                    raise ValueError(f"{name} has shape {found[name].shape}")
                check_finite(name, found[name])
        except (TypeError, ValueError, IndexError, OverflowError) as error:
            raise ValueError(f"cannot resume from checkpoint {self.path}: {error}") from None
        for name, array in self.arrays.items():
            array[:] = found[name]
        for mine, theirs in zip(self.histories, histories, strict=True):
            vars(mine).update(vars(theirs))

    def _history(self, found: dict[str, np.ndarray], k: int) -> History:
        """The history of network k; ValueError for one that makes no sense."""
        figures = found[numbered("epochs", k)]
        if np.isinf(figures).any():
            raise ValueError("epochs must be finite")
        epochs = [Epoch(int(number), *rest) for number, *rest in figures.tolist()]
        if [epoch.epoch for epoch in epochs] != list(range(1, min(len(epochs), self.epochs) + 1)):
            raise ValueError(f"epochs must be numbered from 1 to at most {self.epochs}")
        number = check_whole("best", found[numbered("best", k)].item(), minimum=0)
        return History(epochs, epochs[number - 1] if number else None, bool(found["stopped_early"]))


def numbered(name: str, k: int) -> str:
    """The name in the file of a part of network k, or of the k-th part that is trained: the first has no number."""
    return f"{name}_{k}" if k else name


def settings_of(run: Run) -> dict[str, str]:
    """All that decides how a run ends, by name: settings as text, arrays as a hash of their bytes.

    Of a plain function, such as an augmentation or a schedule, only the name is compared; of a function for targets,
    its output for the first batch.
    """
    settings: dict[str, Any] = {}
    for k, network in enumerate(run.networks):
        own = {
            "sizes": network.sizes, "activation": network.activation, "dropout": network.dropout,
            "the network's seed": network.seed, "dtype": network.dtype, "backend": network.ops.__name__,
        }  # fmt: skip
        settings |= {numbered(name, k): value for name, value in own.items()}
    validation = run.validation
    settings |= {
        "loss": run.loss, "optimizer": run.optimizer, "epochs": run.epochs, "batch_size": run.batch_size,
        "seed": run.seed, "patience": run.patience, "augment": run.augment,
        "data": digest(run.data.x, run.data.y),
        "targets": fingerprint_of(run.targets, run.data.x[: run.batch_size]),
        "validation": None if validation is None else digest(validation.x, validation.y),
    }  # fmt: skip
    addresses = re.compile(" at 0x[0-9A-Fa-f]+")  # in memory, of objects without a text of their own
    return {name: addresses.sub("", str(value)) for name, value in settings.items()}
