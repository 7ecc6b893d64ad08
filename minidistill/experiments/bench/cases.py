# SPDX-License-Identifier: MIT
"""The cases of the benchmark: networks to train, losses to differentiate, rows to classify, matrices to multiply.

An adapter is a function of a case and a number of threads that returns one library's `Work`. All arrays are float32.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np

from ...losses import SoftTarget
from ...network import MLP
from ...ops import softmax_forward

RATE, MOMENTUM = 0.01, 0.9
SOFT = SoftTarget(temperature=4.0, alpha=0.5)


class Work(NamedTuple):
    """One library's way of doing a case."""

    run: Callable[[], Any]                         # what is timed
    result: Callable[[], Sequence[Any]]            # after `run`: the arrays that must equal NumPy's
    reset: Callable[[], None] | None = None        # what undoes a run, where all must begin alike

    @classmethod
    def training(
        cls, run: Callable[[], Any], parameters: Callable[[], Sequence[Any]], reset: Callable[[], None]
    ) -> Self:
        """The result is how far the parameters moved: compared as they are, they would hide a wrong step."""

        def flat() -> np.ndarray:
            return np.concatenate([np.asarray(a).ravel() for a in parameters()])

        reset()
        start = flat()
        return cls(run, lambda: [flat() - start], reset)

    @classmethod
    def teacher(cls, make: Callable[[float], Self], dropout: float) -> Self:
        """The work that `make` returns for a dropout rate; its result is that of one without dropout."""
        timed, compared = make(dropout), make(0.0)

        def result() -> Sequence[Any]:
            assert compared.reset is not None
            compared.reset()
            compared.run()
            return compared.result()

        return timed._replace(result=result)

    @classmethod
    def forward(cls, run: Callable[[], Any]) -> Self:
        """`run` returns logits. Probabilities are compared: scikit-learn returns nothing else."""
        return cls(run, lambda: [softmax_forward(np.asarray(run()))[0]])


Adapter = Callable[[Any, int], Work]


class Group(NamedTuple):
    """Cases, those of them that --quick takes, and the adapters; NumPy, with which results are compared, is one."""

    cases: Sequence[Any]
    quick: Sequence[Any]
    adapters: Mapping[str, Adapter]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((seed, *shape)).standard_normal(shape, np.float32)


def labels(N: int, C: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, C, N)  # without meaning, so that no network can learn them


class Arrays(NamedTuple):
    """Rows, labels and a teacher's logits."""

    x: np.ndarray      # (N,I)
    y: np.ndarray      # (N,)
    t: np.ndarray      # (N,C)


@dataclass(frozen=True)
class Forward:
    """Logits of some rows."""

    sizes: tuple[int, ...]
    batch: int
    steps: int = 1         # that make a run; times are told of one
    tolerance = 1e-4       # to which results must agree, relative to NumPy's: float32, summed in another order

    def __str__(self) -> str:
        return f"{'-'.join(map(str, self.sizes))}, batch {self.batch}"

    def network(self) -> MLP:
        return MLP(self.sizes)

    @cached_property
    def data(self) -> Arrays:
        N, C = self.steps * self.batch, self.sizes[-1]
        return Arrays(normal(N, self.sizes[0]), labels(N, C), 3 * normal(N, C))


@dataclass(frozen=True)
class Training(Forward):
    """Steps of SGD with momentum: the same weights to begin with, the same batches in the same order.

    What is compared is how far the parameters moved. Where a ReLU's input is almost zero, rounding decides whether it
    is on, and one such unit changes a large network's move by some tenths of a percent.
    """

    distil: bool = False   # SoftTarget instead of cross-entropy
    tolerance = 1e-2

    def batches(self, convert: Callable[[np.ndarray], Any] = np.asarray) -> list[tuple[Any, ...]]:
        """Rows, labels and logits of each step, as `convert` makes them another library's arrays."""
        starts = range(0, len(self.data.x), self.batch)
        return [tuple(convert(a[k : k + self.batch]) for a in self.data) for k in starts]

    @property
    def flops(self) -> int:
        """Floating-point operations in a step's products: x @ W, x.T @ dz and, but for the first layer, dz @ W.T."""
        layers = [inputs * outputs for inputs, outputs in pairwise(self.sizes)]
        return 2 * self.batch * (3 * sum(layers) - layers[0])


@dataclass(frozen=True)
class TeacherEpoch(Training):
    """An epoch of a teacher of images, as in reproduce/: dropout, weights held to a norm, images moved by some pixels.

    It begins with rows in memory, and all libraries draw the same order and moves. Each draws its own dropout, so what
    is compared is an epoch without.
    """

    dropout: float = 0.25
    max_norm: float = 3.5
    pixels: int = 2

    def __str__(self) -> str:
        return f"{super().__str__()}, dropout, max-norm, jitter"


@dataclass(frozen=True)
class LossGradient:
    """Value and gradient of (1-alpha) CE(s, y) + alpha T^2 KL(p || q)."""

    rows: int
    classes: int
    steps = 1
    tolerance = 1e-4

    def __str__(self) -> str:
        return f"{self.rows} x {self.classes:,}"

    @cached_property
    def data(self) -> Arrays:
        s, t = normal(self.rows, self.classes), normal(self.rows, self.classes, seed=1)
        return Arrays(s, labels(self.rows, self.classes), t)


@dataclass(frozen=True)
class Product:
    """A (M,K) @ B (K,N)."""

    M: int
    K: int
    N: int
    steps = 1
    tolerance = 1e-4

    def __str__(self) -> str:
        return f"({self.M},{self.K}) @ ({self.K},{self.N})"

    @cached_property
    def data(self) -> tuple[np.ndarray, np.ndarray]:
        return normal(self.M, self.K), normal(self.K, self.N, seed=1)
