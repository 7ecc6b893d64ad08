# SPDX-License-Identifier: MIT
"""fit(): the one training loop, for a network that learns alone, for a student and for peers that learn together."""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack

import numpy as np

from ..data import Dataset
from ..data.augmentation import Augment, as_list
from ..losses import CrossEntropy, LossLike, as_loss
from ..network import MLP
from ..support.locks import locked
from ..support.progress import with_bar
from .checkpoint import Checkpoint
from .history import Epoch, History, TrainingDiverged
from .optim import SGD, Optimizer
from .run import Run
from .targets import Targets

Callback = Callable[[MLP, History], None]


def fit(
    network: MLP,
    data: Dataset,
    loss: LossLike | None = None,
    *,
    epochs: int = 20,
    batch_size: int = 32,
    optimizer: Optimizer | None = None,
    seed: int = 0,
    targets: Targets | None = None,
    validation: Dataset | None = None,
    patience: int | None = None,
    augment: Augment | Sequence[Augment] | None = None,
    callbacks: Iterable[Callback] = (),
    progress: bool | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 1,
) -> History:
    """Trains `network` in place on mini-batches of `data`, and returns the figures of each epoch.

    loss        CrossEntropy() unless given
    batch_size  rows per step; all of them where the data have fewer
    optimizer   SGD() unless given
    seed        of the order of the rows and of the augmentation; the order of an epoch depends on (seed, epoch) alone
    targets     teacher logits (N,C), or a TopK of them, row i for row i of the data; or, where `augment` changes the
                rows, a function from what the network sees to logits. A loss of hidden activations takes the teacher's
                `Outputs` in their place. `minidistill.distill` makes them
    validation  measured after each epoch, never trained on
    patience    stop after this many epochs without a better validation accuracy, and restore the best
    augment     a function (x, y, generator) -> (x, y) on each mini-batch, such as RandomShift(2); or a list of them,
                applied in order
    callbacks   each called as callback(network, history) after each epoch
    progress    a progress bar; by default on long runs in a terminal
    checkpoint  a file, written after every `checkpoint_every` epochs and after the last. If it exists, the run resumes
                from it, whatever weights `network` has, and ends with the same bits as a run that was never killed; if
                it is of a finished run, that is the result. Raises ValueError for a damaged file or one of another run:
                other settings, data or targets. Of an augmentation or a schedule that is a plain function only the name
                is compared; callbacks may change, and are called for the new epochs only. BlockingIOError while another
                run uses the file

    Raises TrainingDiverged when a loss is not finite, RuntimeError while another thread trains the network. On Ctrl-C
    the network goes back to its best epoch so far, its last whole one where there is no validation data, before
    KeyboardInterrupt is raised again.
    """
    loss = CrossEntropy() if loss is None else as_loss(loss)
    optimizer = SGD() if optimizer is None else optimizer
    augments = as_list(augment)
    run = Run([network], data, loss, epochs, batch_size, optimizer, seed, targets, validation, patience, augments)
    (history,) = train(run, callbacks, progress, checkpoint, checkpoint_every)
    return history


def train(
    run: Run,
    callbacks: Iterable[Callback],
    progress: bool | None,
    checkpoint: str | os.PathLike[str] | None,
    checkpoint_every: int,
) -> list[History]:
    """Trains the networks of `run` until the last epoch or until none of them improves; the History of each."""
    callbacks = _listed(callbacks)
    networks = run.networks
    with ExitStack() as held:
        for network in networks:
            held.enter_context(network.held_for_training())
        histories = [History() for _ in networks]
        best = [network.parameters.copy() for network in networks]
        saved = None
        if checkpoint is not None:
            saved = Checkpoint(checkpoint, checkpoint_every, run, best, histories)
            held.enter_context(locked(saved.path))
            saved.restore()
        first = histories[0]  # all have the same number of epochs
        done = run.epochs if first.stopped_early else len(first.epochs)
        try:
            for epoch in with_bar(range(done, run.epochs), progress):
                start = time.perf_counter()
                with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # `run` raises
                    losses = run.train_epoch(epoch)
                figures = run.validate(epoch)
                rate, seconds = run.optimizer.rate(epoch / run.epochs), time.perf_counter() - start
                for k, history in enumerate(histories):
                    if history.add(Epoch(epoch + 1, rate, losses[k], *figures[k], seconds)):
                        best[k][:] = networks[k].parameters
                for callback in callbacks:
                    for network, history in zip(networks, histories, strict=True):
                        callback(network, history)
                if run.patience is not None:
                    stop = all(history.epochs_since_best >= run.patience for history in histories)
                    for history in histories:
                        history.stopped_early = stop
                if saved is not None:
                    saved.after_epoch()
                if first.stopped_early:
                    break
        except (TrainingDiverged, KeyboardInterrupt):
            _restore(networks, best)
            raise
        if run.patience is not None:
            _restore(networks, best)
        return histories


def _restore(networks: list[MLP], best: list[np.ndarray]) -> None:
    for network, parameters in zip(networks, best, strict=True):
        network.parameters[:] = parameters


def _listed(callbacks: Iterable[Callback]) -> list[Callback]:
    listed = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
    if not all(map(callable, listed)) or callable(callbacks):
        raise TypeError(f"callbacks must be a list of functions, got {callbacks!r}")
    return listed
