# SPDX-License-Identifier: MIT
"""Augmentation: random changes of each mini-batch, drawn anew in every epoch.

An augmentation is a function (x, y, generator) -> (x, y) of x (B,I) and its labels y (B,), or None where there are
none. It draws only from `generator`, which `fit` makes from its seed and the epoch: the same seed gives the same bits.
A teacher is evaluated on the augmented rows.

`with_label_noise` makes a data set instead: its wrong labels stay the same in every epoch.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..ops import one_hot
from ..support.checks import check_field, check_finite, check_labels, check_seed, check_targets, check_whole
from .dataset import Dataset, check_dataset

Batch = tuple[np.ndarray, np.ndarray | None]  # x (B,I), y (B,)
Augment = Callable[[np.ndarray, np.ndarray | None, "np.random.Generator"], Batch]


@dataclass(frozen=True)
class RandomShift:
    """Shifts each image by whole pixels, up to `pixels` along each axis, uniformly at random; zeros move in.

    x holds images row by row, (B, height * width). Hinton, Vinyals and Dean 2015, section 3, train the teacher of MNIST
    with up to 2 pixels. Raises ValueError where x does not have that many columns, or an image could leave the frame.
    """

    pixels: int = 2
    shape: tuple[int, int] | None = None  # (height, width); unless given, the images are square

    def __post_init__(self) -> None:
        object.__setattr__(self, "pixels", check_whole("pixels", self.pixels))
        if self.shape is not None:
            if not isinstance(self.shape, Sequence) or len(self.shape) != 2:
                raise ValueError(f"shape must be (height, width), got {self.shape!r}")
            object.__setattr__(self, "shape", tuple(check_whole("each side in shape", side) for side in self.shape))

    def __call__(self, x: np.ndarray, y: np.ndarray | None, generator: "np.random.Generator") -> Batch:
        """The moved images, in the shape and dtype of x; the labels stay."""
        p, images = self.pixels, x.reshape(-1, *self.sides(x.shape[1]))         # (B,height,width)
        moved = np.zeros(images.shape, x.dtype)                                 # (B,height,width)
        moves = generator.integers(-p, p + 1, (len(x), 2)).tolist()
        # What a move by d leaves in the frame stands in part[d] of it, and stood in part[-d] before.
        part = {d: slice(max(d, 0), min(d, 0) or None) for d in range(-p, p + 1)}
        for k, (down, right) in enumerate(moves):  # one gather would be slower: its large buffers cost more
            moved[k, part[down], part[right]] = images[k, part[-down], part[-right]]
        return moved.reshape(x.shape), y

    def sides(self, columns: int) -> tuple[int, int]:
        """(height, width) of images of that many pixels."""
        side = math.isqrt(columns)
        height, width = self.shape or (side, side)
        if height * width != columns:
            wanted = f"{height} x {width} images" if self.shape else "square images, or say shape=(height, width)"
            raise ValueError(f"RandomShift needs {wanted}: x has {columns} columns")
        if self.pixels >= min(height, width):
            raise ValueError(f"pixels must be below both sides of {height} x {width} images, got {self.pixels}")
        return height, width


@dataclass(frozen=True)
class LabelNoise:
    """Replaces each label, with probability `share`, by another of the `classes`, drawn anew in every epoch.

    A regularizer (DisturbLabel, Xie et al. 2016, section 3; there the draw may hit the true class as well). For labels
    that stay wrong, use `with_label_noise`.
    """

    share: float  # in [0, 1]
    classes: int

    def __post_init__(self) -> None:
        check_field(self, "share", "[0, 1]")
        object.__setattr__(self, "classes", check_whole("classes", self.classes, minimum=2))

    def __call__(self, x: np.ndarray, y: np.ndarray | None, generator: "np.random.Generator") -> Batch:
        """x as it is, and the labels (B,) with noise; ValueError where there are none, or Mixup came before."""
        if y is None:
            raise ValueError("LabelNoise needs labels, and the data has none")
        y = check_labels("y for LabelNoise", y, len(x), self.classes)
        replaced = generator.random(len(y)) < self.share                        # (B,)
        steps = generator.integers(1, self.classes, len(y))                     # (B,)  to another class, modulo C
        return x, np.where(replaced, (y + steps) % self.classes, y)             # (B,)


def with_label_noise(data: Dataset, share: float, seed: int = 0, classes: int | None = None) -> Dataset:
    """The same rows; each label is, with probability `share`, one of the other classes, uniformly at random.

    `classes` is the number of classes, the data's own unless given. The same seed gives the same labels. Raises
    ValueError for unlabeled data, fewer than two classes, or a share outside [0, 1].
    """
    check_dataset("data", data)
    found = data.classes  # read even where it is not needed: it raises for unlabeled data
    noise = LabelNoise(share, found if classes is None else classes)
    if noise.classes > 2**31:
        raise ValueError(f"classes must be at most 2^31, got {noise.classes}")
    check_labels("data.y", data.y, len(data), noise.classes)
    return Dataset(*noise(data.x, data.y, np.random.default_rng(check_seed(seed))))


@dataclass(frozen=True)
class Mixup:
    """Mixes each row with another one, and their labels too (Zhang et al. 2018, section 2).

        x = lam x_i + (1-lam) x_j        y = lam y_i + (1-lam) y_j        lam ~ Beta(alpha, alpha)

    with j the rows of the same batch in another order, one lam a batch, and y as rows of probabilities (B, classes).
    """

    classes: int
    alpha: float = 0.2  # above 0: small values leave most rows nearly as they are, 1 makes all lam alike likely

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", check_whole("classes", self.classes, minimum=2))
        check_field(self, "alpha", "(0, inf)")

    def __call__(self, x: np.ndarray, y: np.ndarray | None, generator: "np.random.Generator") -> Batch:
        """The mixed rows, in the dtype of x, and probabilities (B, classes) of that dtype; no labels stay none."""
        lam, other = generator.beta(self.alpha, self.alpha), generator.permutation(len(x))
        if y is not None:
            if y.ndim == 1:
                y = one_hot(check_labels("y for Mixup", y, len(x), self.classes), self.classes, x.dtype)
            y = lam * y + (1 - lam) * y[other]                                  # (B,C)
        return lam * x + (1 - lam) * x[other], y                                # (B,I)


def as_list(augment: Augment | Sequence[Augment] | None) -> list[Augment]:
    """`augment` as `fit` takes it, none, one or several, as a list."""
    if augment is None:
        return []
    steps = [augment] if callable(augment) else augment
    if not isinstance(steps, list | tuple) or not all(callable(s) and not isinstance(s, type) for s in steps):
        raise TypeError(f"augment must be a function of (x, y, generator), or a list of them, got {augment!r}")
    return list(steps)


def augmented(
    augment: list[Augment], x: np.ndarray, y: np.ndarray | None, generator: "np.random.Generator"
) -> Batch:
    """The mini-batch after each augmentation, in order; ValueError where one changes the form of x or loses labels."""
    shape, dtype, labelled = x.shape, x.dtype, y is not None
    for step in augment:
        labels, name = y, f"augment ({getattr(step, '__name__', type(step).__name__)})"
        answer = step(x, y, generator)
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise ValueError(f"{name} must return (x, y), got {type(answer).__name__}")
        x, y = answer
        if not isinstance(x, np.ndarray) or (x.shape, x.dtype) != (shape, dtype):
            found = f"{x.dtype} {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
            raise ValueError(f"{name} must return x as it came, {dtype} {shape}, got {found}")
        if labelled and (y is None or len(y) != len(x)):
            raise ValueError(f"{name} must return labels of all {len(x)} rows, got {y if y is None else len(y)}")
        if labelled and y is not labels:
            y = check_targets(f"the labels after {name}", y, len(x))
        check_finite(f"x after {name}", x)
    return x, y
