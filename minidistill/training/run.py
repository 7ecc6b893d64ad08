# SPDX-License-Identifier: MIT
"""One training run: the step, the batches and the epoch. loop.py repeats the epochs."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..data import Dataset
from ..data.augmentation import Augment, augmented
from ..data.dataset import check_dataset
from ..data.scaling import warn_if_badly_scaled
from ..kernels import compiled_epochs
from ..losses import Loss, value_and_ds
from ..network import MLP, Outputs
from ..support.checks import NotFiniteError, check_labels, check_rows, check_seed, check_targets, check_whole
from .history import TrainingDiverged
from .optim import Optimizer
from .targets import Targets, checked_targets, targets_of_batch

BATCHES_AT_ONCE = 8  # of augmented rows, for one call of the compiled steps


@dataclass
class Run:
    """The arguments of a training run, checked, and the state that its optimizer keeps between steps."""

    networks: list[MLP]  # one, or peers that learn together
    data: Dataset
    loss: Loss
    epochs: int
    batch_size: int
    optimizer: Optimizer
    seed: int
    targets: Targets | None
    validation: Dataset | None
    patience: int | None
    augment: list[Augment]

    owner: ClassVar[str] = ""  # of a loss, in error messages

    def train_step(self, x: np.ndarray, y: np.ndarray | None, t: Any, step: int) -> Any:
        """Forward pass, loss, backward pass, update; returns the loss. `step` counts from 0 over the whole run."""
        network = self.networks[0]
        s, cache = self.forward(network, x, step)                               # (B,C)
        value, ds = self.value_and_ds(network, s, t, y, step)                   # (), as s
        self.backward(network, ds, cache)
        self.update(step)
        return value

    def forward(self, network: MLP, x: np.ndarray, step: int) -> tuple[Any, Any]:
        """Logits (B,C), or Outputs where the loss needs hidden activations, and the cache of the backward pass."""
        options = {"layerwise": True} if self.needs_hidden else {}  # optional in a subclass's forward
        logits, cache = network.forward(x, True, step, **options)               # (B,C)
        return Outputs(logits, cache.hidden) if self.needs_hidden else logits, cache

    def value_and_ds(self, network: MLP, s: Any, t: Any, y: Any, step: int) -> tuple[float, Any]:
        """The loss and its gradient with respect to s."""
        try:
            value, ds = value_and_ds(self.current, s, t, y, network.ops, checked=True)      # (), as s
        except NotFiniteError:  # in s: targets are checked before
            raise self.diverged(step, f"the loss{self.owner} became nan") from None
        self.check_value(value, step)
        return value, ds

    def backward(self, network: MLP, ds: Any, cache: Any) -> None:
        """The gradients of the parameters, of ds (B,C) or Outputs."""
        if self.needs_hidden:
            network.backward(ds.logits, cache, dhidden=ds.hidden)
        else:
            network.backward(ds, cache)

    def update(self, step: int) -> None:
        """One step of the optimizer for all that is trained."""
        for one, state in zip(self.trained, self.states, strict=True):
            self.optimizer.update(one, state, self.rate(step), step + 1)

    def train_epoch(self, epoch: int) -> list[float]:
        """One pass over the data in an order of its own; returns each network's mean loss over the samples."""
        generator = np.random.default_rng((self.seed, epoch))
        order = generator.permutation(len(self.data))
        loss = self.loss.at_progress(epoch / self.epochs)
        if loss is not self.current:
            self.use(loss)
        train = self.compiled_steps if self.compiled else self.step_by_step
        total: Any = 0.0
        for rows, value in zip(self.batch_sizes, train(order, epoch * self.steps, generator), strict=True):
            total = total + value * rows
        if not all(np.isfinite(one.parameters).all() for one in self.trained):
            raise self.diverged((epoch + 1) * self.steps - 1, f"the parameters{self.owner} are no longer finite")
        return np.atleast_1d(total / len(self.data)).tolist()  # type: ignore[no-any-return]

    def step_by_step(self, order: np.ndarray, first: int, generator: "np.random.Generator") -> Iterator[Any]:
        """The steps of an epoch, the first of which is `first`, one after the other; yields the loss of each."""
        for k in range(self.steps):
            yield self.train_step(*self.batch(order, k, generator), first + k)

    def compiled_steps(self, order: np.ndarray, first: int, generator: "np.random.Generator") -> Iterator[float]:
        """The same steps in few calls of a kernel, equal but for rounding."""
        assert self.compiled is not None
        step = first
        for x, y, t, rows in self.joined_batches(order, generator):
            rates = np.array([self.rate(step + k) for k in range(math.ceil(len(rows) / self.batch_size))])
            for value in self.compiled.losses(x, y, t, self.states[0], rows, rates, step):
                self.check_value(value, step)
                yield value
                step += 1

    def joined_batches(self, order: np.ndarray, generator: "np.random.Generator") -> Iterator[Any]:
        """x, y, t and the order of their rows for each call of a kernel: all data, or a few batches made anew."""
        if not self.augment and not callable(self.targets):
            yield self.data.x, self.data.y, self.targets, order
            return
        for first in range(0, self.steps, BATCHES_AT_ONCE):
            some = range(first, min(first + BATCHES_AT_ONCE, self.steps))
            batches = [self.batch(order, k, generator) for k in some]
            x, y, t = map(_joined, zip(*batches, strict=True))
            yield x, y, t, np.arange(len(x))

    def batch(self, order: np.ndarray, k: int, generator: "np.random.Generator") -> tuple[Any, Any, Any]:
        """x (B,I), y (B,) or None, targets or None of batch k of an epoch, after augmentation."""
        rows = order[k * self.batch_size : (k + 1) * self.batch_size]           # (B,)
        x = self.data.x[rows]
        y = None if self.data.y is None else self.data.y[rows]
        x, labels = augmented(self.augment, x, y, generator)
        if labels is not None and labels is not y:
            network = self.networks[0]
            labels = check_targets("the labels after augment", labels, len(x), network.sizes[-1], network.dtype)
        return x, labels, targets_of_batch(self.targets, rows, x)

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0 over the whole run."""
        return self.optimizer.rate(step / (self.epochs * self.steps))

    def validate(self, epoch: int) -> list[tuple[float, float]]:
        """Each network's cross-entropy and accuracy after an epoch, NaN where there is no validation data."""
        try:
            return [validate(network, self.validation) for network in self.networks]
        except NotFiniteError:
            raise self.diverged((epoch + 1) * self.steps - 1, "the validation logits are not finite") from None

    def check_value(self, value: float, step: int) -> None:
        """TrainingDiverged for the loss of a step that is NaN or infinite."""
        if not math.isfinite(value):
            raise self.diverged(step, f"the loss{self.owner} became {value}")

    def diverged(self, step: int, what: str) -> TrainingDiverged:
        """The error for a step, counted from 0 over the whole run."""
        epoch, k = divmod(step, self.steps)
        return TrainingDiverged(
            f"{what} at epoch {epoch + 1}, step {k + 1} of {self.steps}: try a learning rate below "
            f"{self.rate(step):.3g}, clip_norm=1.0 in the optimizer, or standardised inputs"
        )

    def __post_init__(self) -> None:
        for network in self.networks:
            check_data(network, self.data, self.validation)
        self.check_settings()
        network = self.networks[0]  # peers have the same dtype and number of classes
        self.targets = checked_targets(self.targets, network, self.data)
        self.data = Dataset(check_rows("data.x", self.data.x, dtype=network.dtype), self.data.y)
        warn_if_badly_scaled(self.data, self.augment, self.optimizer)
        self.needs_hidden = self.loss.needs_hidden
        self.loss = self.loss.start(network, self.teacher_widths(), self.seed)
        self.batch_size, self.seed = min(self.batch_size, len(self.data)), int(self.seed)
        self.steps = math.ceil(len(self.data) / self.batch_size)  # per epoch
        last = len(self.data) - (self.steps - 1) * self.batch_size
        self.batch_sizes = [self.batch_size] * (self.steps - 1) + [last]  # the last may be smaller
        self.trained: list[Any] = [*self.networks, *self.loss.learners]
        self.states = [self.optimizer.initial_state(one.parameters) for one in self.trained]
        self.use(self.loss)

    def use(self, loss: Loss) -> None:
        """Sets the loss of the steps that follow: an annealed loss has another one in each epoch."""
        self.current = loss
        settings = (loss, self.optimizer, self.batch_size, self.data.y, self.targets)
        self.compiled = compiled_epochs(self.networks[0], *settings)

    def teacher_widths(self) -> list[int]:
        """Those of the teacher's hidden layers, where the loss needs their activations."""
        if not self.needs_hidden:
            return []
        teacher = self.targets(self.data.x[:1]) if callable(self.targets) else self.targets
        if not isinstance(teacher, Outputs):
            raise TypeError(f"targets must be Outputs, as teacher.outputs(x) gives them, got {type(teacher).__name__}")
        return [h.shape[1] for h in teacher.hidden]

    def check_settings(self) -> None:
        """Refuses wrong numbers, and arguments that do not belong together."""
        if not isinstance(self.optimizer, Optimizer):
            raise TypeError(f"optimizer must be an optimizer, such as SGD(0.1), got {self.optimizer!r}")
        check_whole("epochs", self.epochs)
        check_seed(self.seed)
        check_whole("batch_size", self.batch_size)
        if self.patience is not None:
            check_whole("patience", self.patience)
            if self.validation is None:
                raise ValueError("patience needs validation data to be judged on")
        if self.augment and self.targets is not None and not callable(self.targets):
            raise ValueError("targets must be a function where augment changes the rows, got kept ones")


def check_data(network: MLP, data: Dataset, validation: Dataset | None) -> None:
    """Refuses a network and rows that do not belong together."""
    if not isinstance(network, MLP):
        raise TypeError(f"network must be an MLP, got {type(network).__name__}")
    for name, part in (("data", data), ("validation", validation)):
        if part is None and name == "validation":
            continue
        part = check_dataset(name, part)
        if part.x.shape[1] != network.sizes[0]:
            raise ValueError(f"{name}.x must have {network.sizes[0]} columns, got shape {part.x.shape}")
        if part.y is not None:
            check_labels(f"{name}.y", part.y, len(part), network.sizes[-1])
    if validation is not None and validation.y is None:
        raise ValueError("validation must have labels")


def validate(network: MLP, validation: Dataset | None) -> tuple[float, float]:
    """Cross-entropy and accuracy, each NaN where there is no validation data."""
    if validation is None:
        return math.nan, math.nan
    logits = network.logits(validation.x)                                       # (N,C)
    value, _ = network.ops.cross_entropy_forward(logits, validation.y)
    return float(value), float((logits.argmax(axis=1) == validation.y).mean())


def _joined(parts: Any) -> Any:
    """The batches of x, y or targets one after the other; None where they are None."""
    if parts[0] is None:
        return None
    if not isinstance(parts[0], np.ndarray):
        raise TypeError(f"t must be an array of logits, got {type(parts[0]).__name__}")
    return np.concatenate(parts)
