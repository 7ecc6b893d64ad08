# SPDX-License-Identifier: MIT
"""Warnings about inputs whose scale prevents learning: values far from 1, or columns of very different size.

The first layer starts with weights whose variance suits inputs of mean square about 1 (He et al. 2015, equation 10).
Measured on tables and images multiplied by a factor: with SGD(0.1) a root mean square of 10 and more trains to one
constant class, with Adam(0.003) accuracy falls from about 30 on. Digits of 0 to 16 have 8, MNIST of 0 to 255 has 85.
Below 0.02 both hardly learn.

A step of SGD without clip_norm changes outputs by about its learning rate times the largest mean square of x @ v, v a
direction of length 1. On four tables and on digits 0.1 * 200 of that is too much, and half of it trains.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..support.checks import warn
from .augmentation import augmented
from .dataset import Dataset

LARGEST = 20.0      # root mean square of all values
SMALLEST = 0.015    # size of the largest column
LARGEST_STEP = 20.0  # of SGD: its learning rate, at most the default, times the mean square along a direction
DEFAULT_RATE = 0.1
MOST_APART = 100.0  # size of the largest column, over that of the lower quartile
MOST_VALUES = 1 << 16  # that are checked


def warn_if_badly_scaled(data: Dataset, augment: Sequence[Any] = (), optimizer: Any = None) -> None:
    """Warns where the rows of `data`, after `augment`, are scaled so that a network hardly learns from them.

    optimizer  where it is SGD without clip_norm its learning rate counts too
    """
    takes_any_step = getattr(optimizer, "rule", None) == "sgd" and optimizer.clip_norm is None
    rate = min(optimizer.rate(0.0), DEFAULT_RATE) if takes_any_step else 0.0
    step = -(-data.x.size // MOST_VALUES)
    x, y = data.x[::step], None if data.y is None else data.y[::step]
    fault = fault_of_scale(x, rate)
    if fault and augment:
        x, _ = augmented(list(augment), x, y, np.random.default_rng(0))  # a step may standardize
        fault = fault_of_scale(x, rate)
    if fault:
        warn(
            f"the inputs are badly scaled: {fault}. Training may learn one constant class. Standardize all rows with "
            "the statistics of the training rows: mean, scale = data.mean_std(); "
            "data = data.standardize(mean, scale). After training, network.fold_standardization(mean, scale) makes "
            "the network take raw rows"
        )


def fault_of_scale(x: np.ndarray, rate: float = 0.0) -> str | None:
    """A description of the fault in the scale of x (N,I) at a learning rate of SGD; None where there is no fault."""
    columns, sizes = column_sizes(x)
    if len(sizes) == 0:
        return None
    with np.errstate(over="ignore"):  # infinite squares of float64 are too large as well
        root_mean_square = float(np.sqrt(np.square(x, dtype=np.float64).mean()))
    largest = f"column {columns[sizes.argmax()]} has values of about {sizes.max():.3g}"
    if root_mean_square > LARGEST:
        return f"{largest}, and the root mean square of all is {root_mean_square:.3g} instead of about 1"
    if apart(sizes) > MOST_APART:
        return f"{largest}, those of a quarter of the columns are at least {apart(sizes):.3g} times smaller"
    if sizes.max() < SMALLEST:
        return f"{largest}, and those of all other columns are smaller, instead of about 1"
    if rate > 0 and rate * _largest_direction(x) > LARGEST_STEP:
        return f"{largest}, and the columns together are too large for SGD at a learning rate of {rate:g}"
    return None


def _largest_direction(x: np.ndarray) -> float:
    """Nearly the largest mean square of x @ v over directions v of length 1, by two steps of power iteration."""
    x = x.astype(np.float32)                                                    # (N,I)
    v = x.sum(axis=0) + x[np.square(x).sum(axis=1).argmax()]                    # (I,)
    for _ in range(2):
        v = x.T @ (x @ (v / max(np.linalg.norm(v), np.finfo(np.float32).tiny)))
    return float(np.linalg.norm(v) / len(x))


@np.errstate(over="ignore")
def column_sizes(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The columns of x (N,I) that are not all 0, and the root mean square (columns,) of the values of each but zeros.

    One-hot and sparse columns have many zeros.
    """
    counts = np.count_nonzero(x, axis=0)                                        # (I,)
    columns = np.flatnonzero(counts)
    return columns, np.sqrt(np.square(x, dtype=np.float64).sum(axis=0)[columns] / counts[columns])


@np.errstate(divide="ignore", invalid="ignore")  # the squares of tiny numbers are 0
def apart(sizes: np.ndarray) -> float:
    """The largest of sizes (I,) over their lower quartile; 1 where there are none."""
    return float(sizes.max() / np.quantile(sizes, 0.25, method="lower")) if len(sizes) else 1.0
