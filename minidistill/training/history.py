# SPDX-License-Identifier: MIT
"""The history of a training run: the figures of each epoch, and which epoch is the best."""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .curves import learning_curves


class TrainingDiverged(ArithmeticError):
    """The loss or a parameter became NaN or infinite. The network has the parameters of its best epoch before that."""


class Epoch(NamedTuple):
    """The figures of one epoch; without validation data those two are NaN."""

    epoch: int  # from 1
    learning_rate: float  # at its first step
    loss: float  # mean over its samples
    validation_loss: float  # cross-entropy
    validation_accuracy: float  # a fraction
    seconds: float

    def is_better_than(self, other: "Epoch | None") -> bool:
        """Higher validation accuracy, or the same and a lower validation loss; without validation data, later."""
        if other is None or math.isnan(self.validation_accuracy):
            return True
        mine, others = self.validation_accuracy, other.validation_accuracy
        return (mine, -self.validation_loss) > (others, -other.validation_loss)


@dataclass
class History:
    """The figures of a training run, one `Epoch` per epoch; print it, or plot it."""

    epochs: list[Epoch] = field(default_factory=list)
    best: Epoch | None = None
    stopped_early: bool = False

    @property
    def epochs_since_best(self) -> int:
        """The number of epochs after the best one."""
        return len(self.epochs) - (self.best.epoch if self.best else 0)

    def add(self, epoch: Epoch) -> bool:
        """Appends the next epoch and returns whether it is the best so far."""
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
        return learning_curves(self, path)

    def __str__(self) -> str:
        lines = [f"{'epoch':>5} {'rate':>9} {'loss':>9} {'val. loss':>9} {'val. acc.':>9} {'seconds':>8}"]
        for e in self.epochs:
            validation = f"{e.validation_loss:9.4f} {e.validation_accuracy:9.2%}"
            if math.isnan(e.validation_loss):
                validation = f"{'-':>9} {'-':>9}"
            lines.append(f"{e.epoch:5d} {e.learning_rate:9.2g} {e.loss:9.4f} {validation} {e.seconds:8.2f}")
        return "\n".join(lines)
