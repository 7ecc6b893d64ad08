# SPDX-License-Identifier: MIT
"""fit(): the one training loop. A network that learns alone and a student that has a teacher both go through it."""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..data import Dataset
from ..data.augmentation import Augment, as_list, augmented
from ..data.dataset import check_dataset
from ..data.scaling import warn_if_badly_scaled
from ..kernels import compiled_epochs
from ..losses import CrossEntropy, Loss, TopK, learners_of, loss_at, need_loss, value_and_ds, wants_hidden
from ..network import MLP, Outputs
from ..support.checks import (
    NotFiniteError,
    check_finite,
    check_labels,
    check_logits,
    check_rows,
    check_seed,
    check_whole,
)
from ..support.progress import with_bar
from .optim import SGD, Optimizer

Targets = np.ndarray | TopK | Outputs | Callable[[np.ndarray], Any]  # teacher logits (N,C), or who is asked for them
BATCHES_AT_ONCE = 8  # of augmented rows, for one call of the compiled steps
Callback = Callable[[MLP, "History"], None]


class TrainingDiverged(ArithmeticError):
    """The loss or a parameter became NaN or infinite. The network was put back to its best epoch before that."""


class Epoch(NamedTuple):
    """The figures of one epoch; without validation data those two are NaN."""

    epoch: int  # from 1
    learning_rate: float  # at its first step
    loss: float  # mean over its samples
    validation_loss: float  # cross-entropy
    validation_accuracy: float  # a fraction
    seconds: float

    def is_better_than(self, other: "Epoch | None") -> bool:
        """More accurate on the validation data, or as accurate and surer of it; without such data, later."""
        if other is None or math.isnan(self.validation_accuracy):
            return True
        mine, others = self.validation_accuracy, other.validation_accuracy
        return (mine, -self.validation_loss) > (others, -other.validation_loss)


@dataclass
class History:
    """What happened in a training run, an `Epoch` each; print it, or plot it."""

    epochs: list[Epoch] = field(default_factory=list)
    best: Epoch | None = None
    stopped_early: bool = False

    def add(self, epoch: Epoch) -> bool:
        """Whether this epoch, the next one, is the best so far."""
        self.epochs.append(epoch)
        improved = epoch.is_better_than(self.best)
        if improved:
            self.best = epoch
        return improved

    def column(self, name: str) -> np.ndarray:
        """One figure of every epoch, (epochs,): history.column("loss")."""
        return np.array([getattr(epoch, name) for epoch in self.epochs])

    def plot(self, path: str | None = None) -> Any:
        """The learning curves as a matplotlib figure, saved where a path is given."""
        from .curves import learning_curves

        return learning_curves(self, path)

    def __str__(self) -> str:
        lines = [f"{'epoch':>5} {'rate':>9} {'loss':>9} {'val. loss':>9} {'val. acc.':>9} {'seconds':>8}"]
        for e in self.epochs:
            validation = f"{e.validation_loss:9.4f} {e.validation_accuracy:9.2%}"
            if math.isnan(e.validation_loss):
                validation = f"{'-':>9} {'-':>9}"
            lines.append(f"{e.epoch:5d} {e.learning_rate:9.2g} {e.loss:9.4f} {validation} {e.seconds:8.2f}")
        return "\n".join(lines)


def fit(
    network: MLP,
    data: Dataset,
    loss: Loss | None = None,
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
    """Trains `network` in place on mini-batches of `data`, and returns what happened.

    loss        CrossEntropy() unless given
    batch_size  rows per step; all of them where the data have fewer
    optimizer   SGD() unless given
    seed        of the order of the rows and of the augmentation; the order of an epoch depends on (seed, epoch) alone
    targets     teacher logits (N,C), or a TopK of them, row i for row i of the data; or, where `augment` changes the
                rows, a function from what the network sees to logits. A loss of hidden activations takes the teacher's
                `Outputs` in their place. `minidistill.distill` makes them
    validation  measured after each epoch, never trained on
    patience    stop after this many epochs without a better validation accuracy, and go back to the best
    augment     a function (x, y, generator) -> (x, y) on each mini-batch, such as RandomShift(2); or a list, one after
    the
                other
    callbacks   each called as callback(network, history) after each epoch
    progress    a progress bar; by default on long runs in a terminal
    checkpoint  a file, written after every `checkpoint_every` epochs and after the last. Where it is there already the
                run goes on from it, whatever weights `network` comes with, and ends with the same bits as one that was
                never killed; where it is of a finished run, that is the end of it. Raises ValueError for a damaged
                file or one of another run: other settings, data or targets. Of an augmentation or a schedule that is
                a plain function only the name is compared; callbacks may change, and see the new epochs only

    Raises TrainingDiverged when a loss is not finite, RuntimeError while another thread trains the network. On Ctrl-C
    the network goes back to its best epoch so far, its last whole one where there is no validation data, before
    KeyboardInterrupt goes on.
    """
    check_data(network, data, validation)
    loss = CrossEntropy() if loss is None else loss
    optimizer = SGD() if optimizer is None else optimizer
    if not (targets is None or isinstance(targets, TopK | Outputs) or callable(targets)):
        targets = check_logits("targets", targets, dtype=network.dtype)
    check_teacher_targets(network, data, targets)
    augment = as_list(augment)
    check_settings(loss, epochs, batch_size, optimizer, seed, targets, validation, patience, augment)
    callbacks = _listed(callbacks)
    data = Dataset(check_rows("data.x", data.x, dtype=network.dtype), data.y)
    warn_if_badly_scaled(data, augment, optimizer)
    loss = _started(loss, network, data, targets, seed)
    with network.held_for_training():
        run = Run(network, data, loss, epochs, batch_size, optimizer, seed, targets, augment)
        history = History()
        kept = network.parameters.copy()  # of the best epoch so far
        saved = None
        if checkpoint is not None:
            from .checkpoint import Checkpoint

            saved = Checkpoint(checkpoint, checkpoint_every, run, kept, history, validation, patience)
            saved.restore()
        done = epochs if history.stopped_early else len(history.epochs)
        try:
            for epoch in with_bar(range(done, epochs), progress):
                start = time.perf_counter()
                with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # `run` raises
                    mean_loss = run.train_epoch(epoch)
                figures = run.validate(validation, epoch)
                rate = optimizer.rate(epoch / epochs)
                if history.add(Epoch(epoch + 1, rate, mean_loss, *figures, time.perf_counter() - start)):
                    kept[:] = network.parameters
                for callback in callbacks:
                    callback(network, history)
                if patience is not None and history.best is not None:
                    history.stopped_early = epoch + 1 - history.best.epoch >= patience
                if saved is not None:
                    saved.after_epoch()
                if history.stopped_early:
                    break
        except (TrainingDiverged, KeyboardInterrupt):
            network.parameters[:] = kept
            raise
        if patience is not None:
            network.parameters[:] = kept
        return history


@dataclass
class Run:
    """One training run: what `fit` was given, what is trained, and what the optimizer remembers of it."""

    network: MLP
    data: Dataset
    loss: Loss
    epochs: int
    batch_size: int
    optimizer: Optimizer
    seed: int
    targets: Targets | None
    augment: list[Augment]

    def __post_init__(self) -> None:
        self.batch_size, self.seed = min(self.batch_size, len(self.data)), int(self.seed)
        self.wants_hidden = wants_hidden(self.loss)
        self.trained: list[Any] = [self.network, *learners_of(self.loss)]  # a regressor learns as well
        self.states = [self.optimizer.initial_state(one.parameters) for one in self.trained]
        self.steps = math.ceil(len(self.data) / self.batch_size)  # an epoch; the last batch may be smaller
        self.use(self.loss)

    def use(self, loss: Loss) -> None:
        """From here on this is the loss: the one that was given or, where that is annealed, the one of an epoch."""
        self.current = loss
        settings = (loss, self.optimizer, self.batch_size)
        self.compiled = compiled_epochs(self.network, *settings, self.data.y, self.targets)

    def train_epoch(self, epoch: int) -> float:
        """One pass over the data in an order of its own; returns the mean loss over its samples."""
        generator = np.random.default_rng((self.seed, epoch))
        order = generator.permutation(len(self.data))
        loss = loss_at(self.loss, epoch / self.epochs)
        if loss is not self.current:
            self.use(loss)
        train = self.compiled_steps if self.compiled else self.step_by_step
        total = 0.0
        for k, value in enumerate(train(order, epoch, generator)):
            if not math.isfinite(value):
                raise self.diverged(epoch, k, f"the loss became {value}")
            total += value * len(self.rows(order, k))
        if not all(np.isfinite(one.parameters).all() for one in self.trained):
            raise self.diverged(epoch, k, "the parameters are no longer finite")
        return total / len(self.data)

    def rows(self, order: np.ndarray, k: int) -> np.ndarray:
        """The rows of batch k of an epoch."""
        return order[k * self.batch_size : (k + 1) * self.batch_size]

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0 over the whole run."""
        return self.optimizer.rate(step / (self.epochs * self.steps))

    def step_by_step(self, order: np.ndarray, epoch: int, generator: "np.random.Generator") -> Iterator[float]:
        """The epoch that one reads; yields the loss of each step."""
        for k in range(self.steps):
            yield self.train_step(self.rows(order, k), epoch * self.steps + k, generator)

    def compiled_steps(self, order: np.ndarray, epoch: int, generator: "np.random.Generator") -> Iterator[float]:
        """The same in few calls (kernels/passes.py): after the same steps the same parameters but for rounding."""
        assert self.compiled is not None
        first, data = epoch * self.steps, self.data
        targets: Any = self.targets
        rates = np.array([self.rate(first + k) for k in range(self.steps)])
        if not self.augment and not callable(targets):
            yield from self.compiled.losses(data.x, data.y, targets, self.states[0], order, rates, first)
            return
        for k in range(0, self.steps, BATCHES_AT_ONCE):  # what is learned is made here, for some steps at a time
            some = range(k, min(k + BATCHES_AT_ONCE, self.steps))
            batches = [self.batch(self.rows(order, step), generator) for step in some]
            x, y, t = map(_joined, zip(*batches, strict=True))
            some_rates = rates[k : k + len(batches)]
            yield from self.compiled.losses(x, y, t, self.states[0], np.arange(len(x)), some_rates, first + k)

    def train_step(self, rows: np.ndarray, step: int, generator: "np.random.Generator") -> float:
        """Forward, loss, backward, update; returns the loss. `step` counts from 0 over the whole run."""
        x, y, t = self.batch(rows, generator)
        options = {"layerwise": True} if self.wants_hidden else {}  # optional in a subclass's forward
        logits, cache = self.network.forward(x, True, step, **options)          # (B,C)
        s: Any = Outputs(logits, cache.hidden) if self.wants_hidden else logits
        try:
            value, ds = value_and_ds(self.current, s, t, y, self.network.ops)   # (), as s
        except NotFiniteError:
            for array in arrays_of(t):
                check_finite("targets", array)
            return math.nan
        if self.wants_hidden:
            self.network.backward(ds.logits, cache, dhidden=ds.hidden)
        else:
            self.network.backward(ds, cache)
        for one, state in zip(self.trained, self.states, strict=True):
            self.optimizer.update(one, state, self.rate(step), step + 1)
        return value

    def batch(self, rows: np.ndarray, generator: "np.random.Generator") -> tuple[Any, Any, Any]:
        """x (B,I), labels y (B,) or None, what the teacher says of the same rows or None."""
        x = self.data.x[rows]
        y = None if self.data.y is None else self.data.y[rows]
        x, y = augmented(self.augment, x, y, generator)
        if callable(self.targets):
            t = self.targets(x)                                                 # what this very x is taught
            return x, y, t if isinstance(t, Outputs | TopK) else check_logits("targets", t)
        return x, y, None if self.targets is None else self.targets[rows]

    def validate(self, validation: Dataset | None, epoch: int) -> tuple[float, float]:
        """Cross-entropy and accuracy after an epoch, each NaN where there is nothing to validate on."""
        try:
            return validate(self.network, validation)
        except NotFiniteError:
            raise self.diverged(epoch, self.steps - 1, "the validation logits are not finite") from None

    def diverged(self, epoch: int, k: int, what: str) -> TrainingDiverged:
        rate = self.rate(epoch * self.steps + k)
        return TrainingDiverged(
            f"{what} at epoch {epoch + 1}, step {k + 1} of {self.steps}: try a learning rate below {rate:.3g}, "
            "clip_norm=1.0 in the optimizer, or standardised inputs"
        )


def _started(loss: Any, network: MLP, data: Dataset, targets: Targets | None, seed: int) -> Any:
    """A loss of hidden activations, with what it learns made for this student and this teacher; others as they are."""
    if not wants_hidden(loss):
        return loss
    teacher = targets(data.x[:1]) if callable(targets) else targets
    if not isinstance(teacher, Outputs):
        raise TypeError(f"targets must be Outputs, as teacher.outputs(x) gives them, got {type(teacher).__name__}")
    return loss.start(network, [h.shape[1] for h in teacher.hidden], seed)


def arrays_of(targets: Any) -> list[np.ndarray]:
    """The arrays of numbers in what a teacher said."""
    if isinstance(targets, Outputs):
        return [targets.logits, *targets.hidden]
    return [] if targets is None or isinstance(targets, TopK) else [np.asarray(targets)]


def _joined(parts: Any) -> Any:
    if isinstance(parts[0], Outputs):
        raise TypeError("t must be an array of logits, got Outputs")
    return None if parts[0] is None else np.concatenate(parts)


def validate(network: MLP, validation: Dataset | None) -> tuple[float, float]:
    """Cross-entropy and accuracy, each NaN where there is nothing to validate on."""
    if validation is None:
        return math.nan, math.nan
    logits = network.logits(validation.x)                                       # (N,C)
    value, _ = network.ops.cross_entropy_forward(logits, validation.y)
    return float(value), float((logits.argmax(axis=1) == validation.y).mean())


def _listed(callbacks: Iterable[Callback]) -> list[Callback]:
    listed = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
    if not all(map(callable, listed)) or callable(callbacks):
        raise TypeError(f"callbacks must be a list of functions, got {callbacks!r}")
    return listed


def check_data(network: MLP, data: Dataset, validation: Dataset | None) -> None:
    """Refuses a network and rows that do not belong together."""
    if not isinstance(network, MLP):
        raise TypeError(f"network must be an MLP, got {type(network).__name__}")
    classes = network.sizes[-1]
    for name, part in (("data", data), ("validation", validation)):
        if part is None and name == "validation":
            continue
        part = check_dataset(name, part)
        if part.x.shape[1] != network.sizes[0]:
            raise ValueError(f"{name}.x must have {network.sizes[0]} columns, got shape {part.x.shape}")
        if part.y is not None:
            check_labels(f"{name}.y", part.y, len(part), classes)
    if validation is not None and validation.y is None:
        raise ValueError("validation must have labels")


def check_teacher_targets(network: MLP, data: Dataset, targets: Targets | None) -> None:
    """Refuses targets that do not belong to the network and the rows."""
    classes = network.sizes[-1]
    if isinstance(targets, TopK) and (len(targets) != len(data) or targets.indices.max() >= classes):
        raise ValueError(f"targets must be a TopK of {len(data)} rows and {classes} classes, got {len(targets)} rows")
    if isinstance(targets, Outputs):
        for array in arrays_of(targets):
            if len(check_rows("targets", array)) != len(data):
                raise ValueError(f"targets must be Outputs of {len(data)} rows, got {len(array)}")
    if isinstance(targets, np.ndarray) and targets.shape != (len(data), classes):
        raise ValueError(f"targets must have shape ({len(data)}, {classes}), got {targets.shape}")
    if targets is not None:
        return
    if data.y is None:
        raise ValueError("data must have labels where no teacher gives targets")
    if len(np.unique(data.y)) == 1:
        raise ValueError(f"data must have at least two classes to learn from, every label is {data.y[0]}")


def check_settings(
    loss: Loss,
    epochs: int,
    batch_size: int,
    optimizer: Optimizer,
    seed: int,
    targets: Targets | None,
    validation: Dataset | None,
    patience: int | None,
    augment: list[Augment],
) -> None:
    """Refuses settings of a training run."""
    need_loss("loss", loss)
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be an optimizer, such as SGD(0.1), got {optimizer!r}")
    check_whole("epochs", epochs)
    check_seed(seed)
    check_whole("batch_size", batch_size)
    if patience is not None:
        check_whole("patience", patience)
        if validation is None:
            raise ValueError("patience needs validation data to be judged on")
    if augment and targets is not None and not callable(targets):
        raise ValueError("targets must be a function where augment changes the rows, got kept ones")
