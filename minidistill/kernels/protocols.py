# SPDX-License-Identifier: MIT
"""What the compiled passes of a backend offer, and what they need of a network, a loss and an optimizer.

A backend that can do more than the functions of ops.py has a module `passes` with `Passes`, `Epochs` and `integers`.
The engine room knows numbers and arrays: a loss and an optimizer give it their constants by `compiled()`.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np


class Network(Protocol):
    """A multi-layer perceptron as its kernels see it: sizes, one flat vector of parameters and one of gradients."""

    sizes: tuple[int, ...]
    activation: str
    dropout: tuple[float, ...]
    seed: int
    dtype: np.dtype[Any]
    backend: str
    parameters: np.ndarray  # (P,)
    gradients: np.ndarray   # (P,)
    weights: tuple[np.ndarray, ...]
    passes: "Passes | None"

    @property
    def num_parameters(self) -> int: ...


class IntegerNetwork(Protocol):
    """A network of integer weights: its layers, and the grids of its activations if it is calibrated."""

    sizes: tuple[int, ...]
    layers: Any
    grids: Any
    backend: str


class Compilable(Protocol):
    """A loss or an optimizer: the constants that a kernel needs, or None where it has no kernel."""

    def compiled(self) -> dict[str, Any] | None: ...


class Passes(Protocol):
    """Whole passes of one network in one call each."""

    takes_gpu_arrays: bool

    def logits(self, x: Any) -> np.ndarray: ...

    def forward(self, x: np.ndarray, training: bool, step: int) -> tuple[np.ndarray, Any]: ...

    def backward(self, dlogits: np.ndarray, cache: Any, input_gradient: bool) -> np.ndarray | None: ...


class Epochs(Protocol):
    """Whole epochs of one training run: the loss of each step on the rows `order`, which it trains on."""

    def losses(
        self,
        x: np.ndarray,
        labels: np.ndarray | None,
        targets: np.ndarray | None,
        state: np.ndarray,
        order: np.ndarray,
        rates: np.ndarray,
        first_step: int,
    ) -> Iterator[float]: ...


class IntegerPasses(Protocol):
    """The pass of one network of integer weights, and the product of one of its layers."""

    def logits(self, x: np.ndarray) -> np.ndarray: ...

    def product(self, k: int, q: np.ndarray) -> np.ndarray: ...
