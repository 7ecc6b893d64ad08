# SPDX-License-Identifier: MIT
"""fit_standardized(): training on standardized rows, for a network and a teacher that take rows in their own units.

Rows are scaled to z = (x - mean) / scale, column by column, with the statistics of the training rows. The teacher is
evaluated on x. After training the scaling is folded into the network's first layer, which then takes x.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import Dataset
from ..data.augmentation import Augment, as_list
from ..losses import Loss
from ..network import MLP
from ..training.history import History
from ..training.loop import fit
from .soft_targets import SoftTargets, soft_targets
from .student import distill
from .teachers import Teacher, as_teacher


@dataclass(frozen=True)
class Standardization:
    """The map x -> z = (x - mean) / scale, and what it makes of datasets, networks and teachers."""

    mean: np.ndarray   # (I,)
    scale: np.ndarray  # (I,)

    @classmethod
    def of(cls, data: Dataset, per_column: bool = True) -> "Standardization":
        """With the mean and the standard deviation of each column of `data`, or of all its values together."""
        if per_column:
            return cls(*data.mean_std())
        columns = data.x.shape[1]
        mean, scale = Dataset(data.x.reshape(-1, 1)).mean_std()
        return cls(mean.repeat(columns), scale.repeat(columns))

    def __call__(self, x: np.ndarray, y: Any, generator: "np.random.Generator") -> tuple[np.ndarray, Any]:
        """z (B,I) of the batch x (B,I): a last step of `augment`, after those that need x."""
        return ((x - self.mean) / self.scale).astype(x.dtype), y

    def apply(self, data: Dataset) -> Dataset:
        """The same dataset with z for x."""
        return data.standardize(self.mean, self.scale)

    def with_targets(self, teacher: Any, data: Dataset, classes: int) -> tuple[Dataset, SoftTargets]:
        """z of `data`, and the logits of a teacher of x for these rows."""
        rows = self.apply(data)
        return rows, SoftTargets.of(soft_targets(teacher, data, classes).logits, rows)

    def as_teacher(self, teacher: Any, classes: int) -> Teacher:
        """A teacher of x as a function from z (N,I) to logits (N,C)."""
        logits = as_teacher(teacher, classes)
        return lambda z: logits(z * self.scale + self.mean)

    def fold_into(self, network: MLP) -> None:
        """Changes the first layer of a network that takes z so that it takes x."""
        network.fold_standardization(self.mean, self.scale)

    def fold_inverse_into(self, network: MLP) -> None:
        """Changes the first layer of a network that takes x so that it takes z."""
        network.fold_standardization(-self.mean / self.scale, 1 / self.scale)


def fit_standardized(
    network: MLP,
    data: Dataset,
    teacher: Any = None,
    loss: Loss | None = None,
    *,
    validation: Dataset | None = None,
    augment: Augment | Sequence[Augment] | None = None,
    per_column: bool = True,
    **options: Any,
) -> History:
    """Trains `network` on z of `data`, then folds the scaling into it, and returns the History of `fit`.

    data, validation  rows in their own units, x
    teacher           a teacher of x, as in `distill`; without one the network trains on labels alone
    loss              as in `distill`; for training with a teacher
    augment           steps on x, as in `fit`; the teacher is then evaluated on the augmented x
    per_column        whether each column has statistics of its own; False where augmentation moves values between
                      columns
    options           all else that `fit` takes, or `distill` with a teacher

    After Ctrl-C the scaling is folded in as well: the network, the best so far, takes x.
    """
    standardization = Standardization.of(data, per_column)
    steps = as_list(augment)
    options["augment"] = [*steps, standardization] if steps else []
    options["validation"] = None if validation is None else standardization.apply(validation)
    classes = network.sizes[-1]
    if steps:  # which need x
        rows = data
        teacher = None if teacher is None else standardization.as_teacher(teacher, classes)
    elif teacher is None:
        rows = standardization.apply(data)
    else:
        rows, teacher = standardization.with_targets(teacher, data, classes)
    try:
        history = fit(network, rows, **options) if teacher is None else distill(teacher, network, rows, loss, **options)
    except KeyboardInterrupt:
        standardization.fold_into(network)
        raise
    standardization.fold_into(network)
    return history
