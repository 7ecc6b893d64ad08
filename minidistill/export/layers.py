# SPDX-License-Identifier: MIT
"""What the readers share: layers one after the other, as other libraries keep them, become an MLP.

A reader makes a list of LinearLayer, Activation, Dropout and Sigmoid, each with the place where it stood, and
`as_network` takes it where it is what an MLP is:

    [Dropout] Linear  Activation [Dropout] Linear  Activation [Dropout] Linear  ...  [Sigmoid, behind a single output]

with one activation throughout. All else is refused, and the error names the place.
"""

from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..deployment.quantization import QuantizedMLP
from ..network import ACTIVATIONS, DTYPES, MLP
from ..support.checks import check_finite

EXTRA = "pip install 'minidistill[export]'"


class LinearLayer(NamedTuple):
    place: str
    W: np.ndarray  # (I,O)
    b: np.ndarray  # (O,)


class Activation(NamedTuple):
    place: str
    name: str  # one of ACTIVATIONS


class Dropout(NamedTuple):
    place: str
    rate: float


class Sigmoid(NamedTuple):
    place: str


Layer = LinearLayer | Activation | Dropout | Sigmoid


def required(module: str, what: str, install: str = EXTRA) -> Any:
    """An optional library; ImportError saying what needs it and how to install it where it is not there."""
    try:
        return import_module(module)
    except ImportError:
        raise ImportError(f"{what} needs {module.split('.')[0]}: {install}") from None


def check_network(network: Any) -> None:
    """Refuses to export what is no network of floats, and weights that are NaN or infinite."""
    if isinstance(network, QuantizedMLP):
        raise TypeError("network must be an MLP, got a QuantizedMLP, which becomes C only: give the MLP it was made of")
    if not isinstance(network, MLP):
        raise TypeError(f"network must be an MLP, got {type(network).__name__}")
    network.check_exportable()


def single_precision(network: MLP) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """All W (I,O) and b (O,) in float32, for formats of single precision; ValueError where one is too large for it."""
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
        weights, biases = ([a.astype(np.float32) for a in arrays] for arrays in (network.weights, network.biases))
    for k, arrays in enumerate(zip(weights, biases, strict=True)):
        for name, a in zip("Wb", arrays, strict=True):
            check_finite(f"{name} of layer {k} in float32", a)
    return weights, biases


def as_network(layers: Sequence[Layer], source: str, dtype: Any = None) -> MLP:
    """The MLP that these layers are; ValueError, beginning with `source`, where they are none.

    dtype  of the network, "float32" or "float64"; None for that of the weights
    """
    layers = _two_logits(layers, source)
    linears = [layer for layer in layers if isinstance(layer, LinearLayer)]
    if not linears:
        raise ValueError(f"{source} has no linear layer")
    activation, rates = _activation_and_dropout(layers, source)
    for layer in linears:
        check_linear(layer, source)
    for before, after in pairwise(linears):
        outputs, inputs = before.W.shape[1], after.W.shape[0]
        if outputs != inputs:
            raise ValueError(f"{source}: {before.place} gives {outputs} numbers, but {after.place} takes {inputs}")
    sizes = [layer.W.shape[0] for layer in linears] + [linears[-1].W.shape[1]]
    if sizes[-1] < 2:
        raise ValueError(
            f"{source}: {linears[-1].place} gives a single number: a classifier needs a logit for each of two classes, "
            "or a sigmoid behind the one that it has"
        )
    if dtype is None:
        dtype = np.result_type(*(a for layer in linears for a in (layer.W, layer.b)))
    network = MLP(sizes, activation, rates, dtype=dtype)
    for W, b, layer in zip(network.weights, network.biases, linears, strict=True):
        with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, and is refused
            W[:], b[:] = layer.W, layer.b
    if not np.isfinite(network.parameters).all():
        raise ValueError(f"{source} has weights that are too large for {network.dtype.name}")
    return network


def check_linear(layer: LinearLayer, source: str) -> None:
    """Refuses a linear layer whose arrays do not fit, or hold other than finite floats."""
    _, W, b = layer
    if W.ndim != 2 or b.shape != W.shape[1:] or 0 in W.shape:
        raise ValueError(f"{source}: {layer.place} has weights {W.shape} and biases {b.shape}, wanted (I, O) and (O,)")
    for name, a in (("weights", W), ("biases", b)):
        if a.dtype.name not in DTYPES:
            raise ValueError(f"{source}: the {name} of {layer.place} must be float32 or float64, got {a.dtype}")
        try:
            check_finite(f"the {name} of {layer.place}", a)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from None


def between(linears: Sequence[LinearLayer], activation: str | None, source: str) -> list[Layer]:
    """Linear layers with an activation between each two, for sources that do not say which."""
    if len(linears) < 2:
        return list(linears)
    known = " or ".join(map(repr, ACTIVATIONS))
    if activation is None:
        raise ValueError(f"{source} does not say the activation of its hidden layers: activation must be {known}")
    if activation not in ACTIVATIONS:
        raise ValueError(f"{source}: the activation of its hidden layers must be {known}, got {activation!r}")
    layers: list[Layer] = []
    for linear in linears[:-1]:
        layers += [linear, Activation(f"behind {linear.place}", activation)]
    return [*layers, linears[-1]]


def _two_logits(layers: Sequence[Layer], source: str) -> list[Layer]:
    """A single output z behind which a sigmoid stands, as the logits -z/2 and z/2: their softmax is 1 - sigmoid(z) and
    sigmoid(z), and halving rounds nothing.
    """
    layers = list(layers)
    if not layers or not isinstance(layers[-1], Sigmoid):
        return layers
    sigmoid = layers.pop()
    last = layers[-1] if layers else None
    if not isinstance(last, LinearLayer) or last.W.ndim != 2 or last.W.shape[1] != 1:
        raise ValueError(f"{source}: {sigmoid.place}: a sigmoid must follow a linear layer with a single output")
    W, b = (np.concatenate([-a / 2, a / 2], axis=-1) for a in (last.W, last.b))
    return [*layers[:-1], LinearLayer(last.place, W, b)]


def _activation_and_dropout(layers: Sequence[Layer], source: str) -> tuple[str, list[float]]:
    """The activation of all hidden layers, and what share of its inputs each linear layer leaves out in training."""
    activation, rates, rate = None, [], 0.0
    before: Layer = Activation("its beginning", "")  # behind which the same may stand
    for layer in layers:
        match layer, before:
            case LinearLayer(), Activation() | Dropout():
                rates.append(rate)
                rate = 0.0
            case LinearLayer(), LinearLayer():
                raise ValueError(f"{source}: there is no activation between {before.place} and {layer.place}")
            case Activation(place, name), LinearLayer():
                if activation is not None and activation.name != name:
                    mixed = f"{activation.name} ({activation.place}) and {name} ({place})"
                    raise ValueError(f"{source} mixes activations, where an MLP has one: {mixed}")
                activation = layer
            case Dropout(), Activation():
                rate = layer.rate
            case _:
                raise ValueError(f"{source}: an MLP has no {type(layer).__name__} behind {before.place}: {layer.place}")
        before = layer
    if not isinstance(before, LinearLayer):
        raise ValueError(f"{source} must end in a linear layer, whose outputs are the logits, got {before.place}")
    return ACTIVATIONS[0] if activation is None else activation.name, rates
