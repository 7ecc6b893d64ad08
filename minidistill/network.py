# SPDX-License-Identifier: MIT
"""The multi-layer perceptron: one flat parameter vector, of which every layer's W and b are views.

A forward pass leaves a cache; the backward pass walks it back and fills the flat gradient vector, which is laid out
like the parameters. An optimizer is then one loop over two arrays, and saving a network is saving one array.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from .kernels import aligned_zeros, compiled_passes, load_backend, resolved
from .support.checks import (
    as_tuple,
    check_choice,
    check_finite,
    check_no_overflow,
    check_number,
    check_rows,
    check_seed,
    check_whole,
)
from .support.deprecation import renamed_attribute
from .support.files import read_npz, write_npz
from .support.gpu_arrays import has_gpu_interface

ACTIVATIONS = ("relu", "tanh", "gelu")
DTYPES = ("float32", "float64")
MOST_PARAMETERS = 2**31
SETTINGS = ("sizes", "activation", "dropout", "seed", "dtype", "backend", "ops", "weights", "biases")
ROWS_AT_ONCE = 1024  # prediction goes through many rows in portions: their hidden activations need not exist together


class Cache(NamedTuple):
    """What a forward pass keeps for the backward pass: lists of one entry per layer."""

    dropout: list[Any]
    linear: list[Any]
    activation: list[Any]

    @property
    def hidden(self) -> list[np.ndarray]:
        """The hidden activations as the layer after each receives them (dropout included), each (B, width)."""
        return [x for x, W in self.linear[1:]]


@dataclass(frozen=True, eq=False)
class Outputs:
    """Logits and hidden activations of N rows; `outputs[rows]` are those of some rows.

    Their gradients have the same form, with None for hidden activations that have no part in the loss.
    """

    logits: np.ndarray  # (N,C)
    hidden: list[Any]   # of each hidden layer (N,width), as the layer after it receives them

    def __len__(self) -> int:
        return len(self.logits)

    def __getitem__(self, rows: Any) -> "Outputs":
        return Outputs(self.logits[rows], [h[rows] for h in self.hidden])


class Classifier:
    """What follows from a network's `sizes`, `ops` and `logits`: the base class of MLP and QuantizedMLP."""

    sizes: tuple[int, ...]
    ops: Any

    def logits(self, x: Any) -> np.ndarray:
        """Logits (N,C) of x (N,I)."""
        raise NotImplementedError

    def predict_proba(self, x: Any, temperature: float = 1.0) -> np.ndarray:
        """Probabilities (N,C) of the classes, softened by `temperature`."""
        check_number("temperature", temperature, "[1e-6, inf)")
        probabilities, _ = self.ops.softmax_forward(self.logits(x), temperature)
        return np.asarray(probabilities)

    def predict(self, x: Any) -> np.ndarray:
        """The likeliest class (N,) of each row of x (N,I)."""
        labels: np.ndarray = self.logits(x).argmax(axis=1)
        return labels

    @property
    def num_parameters(self) -> int:
        """Weights and biases."""
        return _num_parameters(self.sizes)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds that the matrix products of one sample take."""
        return sum(inputs * outputs for inputs, outputs in pairwise(self.sizes))


class MLP(Classifier):
    """A multi-layer perceptron that ends in logits.

    sizes       widths from the inputs to the classes: (64, 32, 10) has one hidden layer of 32 units
    activation  of the hidden layers: "relu", "tanh" or "gelu"
    dropout     share of the hidden activations that each training step leaves out, in [0, 1); or one share per layer of
                its inputs, so that (0.2, 0.5, 0.5) leaves out inputs of the network too
    seed        of the initial weights and of the dropout masks
    dtype       float32 to train, float64 to check
    backend     compute backend, "cpu", "cuda", "numpy" or "auto"; for the default see `minidistill.kernels`

    The weights start normally distributed with variance 2/I before ReLU and GELU (He et al. 2015, equation 10) and
    2/(I+O) before tanh and the logits (Glorot and Bengio 2010, equation 12); the biases start at zero.

    Any number of threads may predict with one network, and one may train it. Assignments to `parameters` and
    `gradients` copy; the settings above cannot be changed. The methods of a subclass are called on every backend.
    """

    def __init__(
        self, sizes: Sequence[int], activation: str = "relu", dropout: float | Sequence[float] = 0.0, seed: int = 0,
        dtype: Any = np.float32, backend: str | None = None,
    ) -> None:  # fmt: skip
        widths = as_tuple("sizes", sizes, "at least two whole numbers, inputs to classes")
        if len(widths) < 2:
            raise ValueError(f"sizes must be at least two whole numbers, inputs to classes, got {sizes!r}")
        self.sizes = tuple(check_whole(f"sizes[{k}]", size) for k, size in enumerate(widths))
        check_whole("sizes[-1] (the number of classes)", self.sizes[-1], minimum=2)
        self.activation = check_choice("activation", activation, ACTIVATIONS)
        self.dropout = self._dropout_rates(dropout)
        self.seed = check_seed(seed)
        self.dtype = np.dtype(check_choice("dtype", getattr(dtype, "__name__", str(dtype)), DTYPES))
        self.backend = resolved(backend)
        self.ops = load_backend(self.backend)
        self.activate = getattr(self.ops, f"{activation}_forward")
        self.activate_backward = getattr(self.ops, f"{activation}_backward")

        if self.num_parameters > MOST_PARAMETERS:
            raise ValueError(f"sizes {self.sizes} make {self.num_parameters:,} parameters, too many for memory")
        self.parameters = aligned_zeros(self.num_parameters, self.dtype)
        self.gradients = aligned_zeros(self.num_parameters, self.dtype)
        self.weights, self.biases = self._views(self.parameters)
        self.weight_gradients, self.bias_gradients = self._views(self.gradients)
        self._initialise()
        self.passes = compiled_passes(self) if type(self) is MLP else None  # None: layer by layer, as below
        self._training = threading.RLock()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in SETTINGS and hasattr(self, name):
            raise AttributeError(f"{name} of an MLP cannot be changed: make another one, MLP(sizes, ...)")
        if name in ("forward", "backward"):
            self.passes = None  # compiled passes would not call it
        if name not in ("parameters", "gradients") or not hasattr(self, name):
            super().__setattr__(name, value)
            return
        if np.shape(value) != (self.num_parameters,):
            raise ValueError(f"{name} must have shape ({self.num_parameters},), got {np.shape(value)}")
        getattr(self, name)[:] = value  # weights and biases are views of it

    def _dropout_rates(self, dropout: float | Sequence[float]) -> tuple[float, ...]:
        layers = len(self.sizes) - 1
        if isinstance(dropout, str) or not hasattr(dropout, "__len__"):
            rate = check_number("dropout", dropout, "[0, 1)")
            return (0.0, *[rate] * (layers - 1))
        rates = as_tuple("dropout", dropout, "a number, or a list of one for each layer")
        if len(rates) != layers:
            raise ValueError(f"dropout must be one number or one for each of the {layers} layers, got {dropout!r}")
        return tuple(check_number("dropout", rate, "[0, 1)") for rate in rates)

    def _views(self, flat: np.ndarray) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
        """Each layer's W (I,O) and, behind it, b (O,), as views of a flat vector (P,)."""
        ends = np.cumsum([(inputs + 1) * outputs for inputs, outputs in pairwise(self.sizes)])
        parts = zip(np.split(flat, ends[:-1]), self.sizes[1:], strict=True)
        layers = [part.reshape(-1, outputs) for part, outputs in parts]         # each (I+1,O), the last row is b
        return tuple(layer[:-1] for layer in layers), tuple(layer[-1] for layer in layers)

    def _initialise(self) -> None:
        random = np.random.default_rng(self.seed)
        for k, W in enumerate(self.weights):
            inputs, outputs = W.shape
            glorot = self.activation == "tanh" or k == len(self.weights) - 1
            variance = 2 / (inputs + outputs) if glorot else 2 / inputs
            W[:] = np.sqrt(variance) * random.standard_normal(W.shape)

    # ------------------------------------------------------------------------------------------ the two passes

    def forward(
        self, x: np.ndarray, training: bool = False, step: int = 0, layerwise: bool = False
    ) -> tuple[np.ndarray, Any]:
        """Logits (B,C) of x (B,I), and the cache for `backward`.

        Dropout acts only where `training` is true; `step` chooses its mask. `backward` takes gradients of
        hidden activations only after a pass with `layerwise`, which no backend computes in one call.
        """
        if self.passes is not None and not layerwise:
            return self.passes.forward(x, training, step)
        return self._layers_forward(x, self.weights, self.biases, training, step)

    def _layers_forward(
        self, x: np.ndarray, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray], training: bool, step: int
    ) -> tuple[np.ndarray, Cache]:
        """`forward`, layer by layer, with the given weights (I,O) and biases (O,) of each."""
        cache = Cache([], [], [])
        a = x                                                                   # (B,I)
        last = len(weights) - 1
        for k, (W, b) in enumerate(zip(weights, biases, strict=True)):
            mask = None
            if training and self.dropout[k] > 0:
                a, mask = self.ops.dropout_forward(a, self.dropout[k], self.seed, step, k)  # (B,I)
            z, linear = self.ops.linear_forward(a, W, b)                        # (B,O)
            a, activation = self._activation_forward(k, z) if k < last else (z, None)       # (B,O)
            cache.dropout.append(mask)
            cache.linear.append(linear)
            cache.activation.append(activation)
        return a, cache

    def backward(
        self, dlogits: np.ndarray, cache: Any, input_gradient: bool = False, dhidden: Sequence[Any] | None = None
    ) -> np.ndarray | None:
        """Writes the gradients of all parameters into `gradients`; returns dx (B,I) where `input_gradient` is true.

        dhidden  the gradient of a loss of hidden activations for each of `cache.hidden`, or None
        """
        if not isinstance(cache, Cache):
            if dhidden is not None:
                raise ValueError("dhidden needs the cache of forward(..., layerwise=True)")
            return self.passes.backward(dlogits, cache, input_gradient)  # type: ignore[union-attr]
        last = len(self.weights) - 1
        da = dlogits                                                            # (B,C)
        for k in range(last, -1, -1):
            dz = self._activation_backward(da, cache.activation[k]) if k < last else da     # (B,O)
            skip_dx = k == 0 and not input_gradient
            dW, db = self.weight_gradients[k], self.bias_gradients[k]
            da, _, _ = self.ops.linear_backward(dz, cache.linear[k], dW, db, skip_dx)       # (B,I)
            if dhidden is not None and k > 0 and dhidden[k - 1] is not None:
                da = da + dhidden[k - 1]                                        # (B,I)  two ways into the loss
            if cache.dropout[k] is not None and not skip_dx:
                da = self.ops.dropout_backward(da, cache.dropout[k])            # (B,I)
        return np.asarray(da) if input_gradient else None

    def _activation_forward(self, layer: int, z: np.ndarray) -> tuple[np.ndarray, Any]:
        activated: tuple[np.ndarray, Any] = self.activate(z)
        return activated

    def _activation_backward(self, da: np.ndarray, cache: Any) -> Any:
        return self.activate_backward(da, cache)

    # ------------------------------------------------------------------------------------------ prediction

    def logits(self, x: Any) -> np.ndarray:
        """Logits (N,C) of x (N,I), in evaluation mode; ValueError where x has another width, NaN or infinity, or is so
        large that logits overflow. On the backend "cuda" x may be a GPU array of CuPy or PyTorch, and stays there.
        """
        if self.passes is not None and self.passes.takes_gpu_arrays and has_gpu_interface(x):
            return self.passes.logits(x)
        x = check_rows("x", x, columns=self.sizes[0], dtype=self.dtype)
        if self.passes is not None:
            return self.passes.logits(x)
        portions = range(0, len(x), ROWS_AT_ONCE)
        with np.errstate(over="ignore", invalid="ignore"):  # checked below
            logits = np.concatenate([self.forward(x[i : i + ROWS_AT_ONCE])[0] for i in portions])
        return check_no_overflow(logits, x, self.parameters)

    def outputs(self, x: Any) -> Outputs:
        """Logits and all hidden activations of x (N,I), in evaluation mode; ValueError as `logits`."""
        x = check_rows("x", x, columns=self.sizes[0], dtype=self.dtype)
        parts = []
        for i in range(0, len(x), ROWS_AT_ONCE):
            logits, cache = self.forward(x[i : i + ROWS_AT_ONCE])
            parts.append((logits, *cache.hidden))
        logits, *hidden = map(np.concatenate, zip(*parts, strict=True))
        return Outputs(logits, hidden)

    # ------------------------------------------------------------------------------------------ size, copies, files

    @property
    def nbytes(self) -> int:
        """Bytes that the parameters take."""
        return self.parameters.nbytes

    def copy(self, backend: str | None = None) -> "MLP":
        """A network of its own with the same weights, and with copies of the attributes that a subclass has added."""
        kind, settings, parameters, added = self.__reduce__()[1]
        return _with_parameters(kind, {**settings, "backend": backend}, parameters, deepcopy(added))

    def fold_standardization(self, mean: np.ndarray, scale: np.ndarray) -> None:
        """Changes the first layer so that the network, trained on (x - mean) / scale, takes x as it is.

        ((x - mean) / scale) @ W + b  =  x @ (W / scale) + (b - (mean / scale) @ W), row i of W divided by scale[i].
        """
        W, b = self.weights[0], self.biases[0]
        b -= (mean / scale) @ W                                                 # (O,)
        W /= scale[:, None]                                                     # (I,O)

    absorb_standardisation = renamed_attribute("MLP.absorb_standardisation", "fold_standardization")

    def check_exportable(self) -> None:
        """ValueError for NaN, TypeError for another forward pass than that of MLP, which no file of layers holds."""
        check_finite("network.parameters", self.parameters)
        if getattr(self.forward, "__func__", None) is not MLP.forward:
            name = type(self).__name__
            raise TypeError(f"network must be an MLP as it is, got a {name}, whose own forward pass would be lost")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the network to one .npz file, whole or not there; OSError where it cannot, ValueError for NaN."""
        self.check_exportable()
        shape = {"sizes": self.sizes, "activation": self.activation, "dropout": self.dropout, "seed": self.seed}
        write_npz(path, "network", {**shape, "parameters": self.parameters})

    @classmethod
    def load(cls, path: str | os.PathLike[str], backend: str | None = None) -> "MLP":
        """The network saved at `path`; ValueError for a damaged file or one that holds something else."""
        names = ("sizes", "activation", "dropout", "seed", "parameters")
        sizes, activation, dropout, seed, parameters = read_npz(path, "network", names).values()
        try:
            check_finite("parameters", parameters)
            if parameters.shape != (_num_parameters(sizes.tolist()),):
                raise ValueError(f"{parameters.shape} parameters for sizes {sizes.tolist()}")
            network = cls(sizes.tolist(), str(activation), dropout.tolist(), seed.item(), parameters.dtype, backend)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a network of minidistill, or is damaged: {error}") from None
        network.parameters[:] = parameters
        return network

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process makes it of its settings and parameters, on the backend of the same name there."""
        settings, added = {**self._settings(), "backend": self.backend}, {}
        if type(self) is not MLP:
            known = vars(MLP(**self._settings(), backend="numpy"))
            added = {name: value for name, value in vars(self).items() if name not in known}
        return _with_parameters, (type(self), settings, self.parameters, added)

    def _settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("sizes", "activation", "dropout", "seed", "dtype")}

    @contextmanager
    def held_for_training(self) -> Iterator[None]:
        """RuntimeError if another thread trains this network: both would write to the same gradients."""
        if not self._training.acquire(blocking=False):
            raise RuntimeError("network is being trained by another thread: train a network.copy() in this one")
        try:
            yield
        finally:
            self._training.release()

    def __repr__(self) -> str:
        shape = "-".join(map(str, self.sizes))
        return f"MLP({shape}, {self.activation}, {self.num_parameters:,} parameters, {self.dtype.name})"


def _with_parameters(
    kind: type[MLP], settings: dict[str, Any], parameters: np.ndarray, added: dict[str, Any]
) -> MLP:
    network = kind.__new__(kind)
    MLP.__init__(network, **settings)  # the constructor of a subclass may take other arguments
    for name, value in added.items():
        setattr(network, name, value)
    network.parameters[:] = parameters
    return network


def _num_parameters(sizes: Sequence[int]) -> int:
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(sizes))
