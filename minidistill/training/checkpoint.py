# SPDX-License-Identifier: MIT
"""Checkpoints: a training run that was killed goes on where it was, and ends with the same bits.

What a run remembers between two epochs goes into one file: the parameters, what the optimizer remembers of each, the
best parameters so far and the history. All else is made anew: the order of the rows and the augmentation are a function
of (seed, epoch), the dropout masks and the learning rate of the step. That holds only for the very same run, so the
file says which one it is of, and another is refused.

Read training.py first; `fit` and `distill` do all of this where they are given a `checkpoint`.
"""

import os
import re

import numpy as np

from ..data import Dataset
from ..losses import TopK
from ..support.checks import check_finite, check_whole
from ..support.files import check_place, check_same_run, digest, read_npz, write_npz
from .loop import Epoch, History, Run, Targets, arrays_of


class Checkpoint:
    """The file of one training run, which is written again after every few epochs and after the last.

    path     where it is; training resumes from a file that is there
    every    epochs from one writing to the next
    run      the run; what it trains and `run.states` are written, and are what `restore` changes
    best     (P,) the best parameters so far; `restore` changes them, and `history`, in place

    The file takes the place of the one before when it is whole: whoever is killed while writing keeps the old one, and
    a piece of the new one beside it, named .minidistill-*.part, that can be deleted.

    Raises TypeError, ValueError or OSError for a path where no file can be, before anything is trained.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: int,
        run: Run,
        best: np.ndarray,
        history: History,
        validation: Dataset | None,
        patience: int | None,
    ) -> None:
        if not isinstance(path, str | os.PathLike):
            raise TypeError(f"checkpoint must be the path of a file, got {path!r}")
        check_place("checkpoint", path)
        self.path = path
        self.every = check_whole("checkpoint_every", every)
        self.epochs, self.history = run.epochs, history
        self.arrays = {"best_parameters": best}
        for k, (one, state) in enumerate(zip(run.trained, run.states, strict=True)):
            suffix = f"_{k}" if k else ""  # the network comes first, then what the loss learns
            self.arrays |= {f"parameters{suffix}": one.parameters, f"optimizer_state{suffix}": state}
        self.settings = settings_of(run, validation, patience)

    def after_epoch(self) -> None:
        """Writes the file, where it is time to."""
        history = self.history
        done = len(history.epochs)
        if done % self.every and done < self.epochs and not history.stopped_early:
            return
        best = history.best.epoch if history.best else 0
        so_far = {"epochs": np.array(history.epochs), "best": best, "stopped_early": history.stopped_early}
        write_npz(self.path, "checkpoint", {"settings": list(self.settings.items()), **so_far, **self.arrays})

    def restore(self) -> None:
        """Goes back to what the file holds, if there is one; ValueError for a damaged one, or one of another run."""
        if not os.path.exists(self.path):
            return
        if not os.path.isfile(self.path):
            raise FileExistsError(f"checkpoint: expected a regular file, got a pipe or a device: {self.path}")
        settings = read_npz(self.path, "checkpoint", ("settings",))["settings"]
        try:
            check_same_run("it is of another run", dict(settings.tolist()), self.settings)
            found = read_npz(self.path, "checkpoint", ("epochs", "best", "stopped_early", *self.arrays))
            epochs = [Epoch(int(number), *figures) for number, *figures in found["epochs"].tolist()]
            if [epoch.epoch for epoch in epochs] != list(range(1, min(len(epochs), self.epochs) + 1)):
                raise ValueError(f"epochs must be numbered from 1 to at most {self.epochs}")
            number = check_whole("best", found["best"].item(), minimum=0)
            best = epochs[number - 1] if number else None
            for name, array in self.arrays.items():
                if (found[name].shape, found[name].dtype) != (array.shape, array.dtype):
                    raise ValueError(f"{name} has shape {found[name].shape}")
                check_finite(name, found[name])
            if found["stopped_early"].dtype != np.bool_:
                raise ValueError(f"stopped_early has dtype {found['stopped_early'].dtype}")
            stopped_early = bool(found["stopped_early"])
        except (TypeError, ValueError, IndexError, OverflowError) as error:
            raise ValueError(f"cannot resume from checkpoint {self.path}: {error}") from None
        for name, array in self.arrays.items():
            array[:] = found[name]
        self.history.epochs[:], self.history.best = epochs, best
        self.history.stopped_early = stopped_early


def settings_of(run: Run, validation: Dataset | None, patience: int | None) -> dict[str, str]:
    """What decides how a run ends, by name: settings as text, arrays as a hash of their bytes.

    Of a plain function, such as an augmentation or a learning rate of one's own, only the name is compared; of one that
    is asked for targets, what it says of the first batch.
    """
    network = run.network
    settings = {
        "sizes": network.sizes, "activation": network.activation, "dropout": network.dropout,
        "the network's seed": network.seed, "dtype": network.dtype, "backend": network.ops.__name__,
        "loss": run.loss, "optimizer": run.optimizer, "epochs": run.epochs, "batch_size": run.batch_size,
        "seed": run.seed, "patience": patience, "augment": run.augment,
        "data": digest(run.data.x, run.data.y), "targets": _targets(run.targets, run.data.x[: run.batch_size]),
        "validation": None if validation is None else digest(validation.x, validation.y),
    }  # fmt: skip
    addresses = re.compile(" at 0x[0-9A-Fa-f]+")  # in memory, of what has no text of its own
    return {name: addresses.sub("", str(value)) for name, value in settings.items()}


def _targets(targets: Targets | None, x: np.ndarray) -> str:
    """A hash of the targets, of a function's answer to x where they are one."""
    if targets is None:
        return "None"
    if isinstance(targets, TopK):
        return f"{digest(targets.indices, targets.log_p)} at temperature {targets.temperature}"
    return digest(*arrays_of(targets(x) if callable(targets) else targets))


