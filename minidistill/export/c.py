# SPDX-License-Identifier: MIT
"""One C99 file: a network's weights and a function that predicts, for where there is no Python.

Each layer's sums are a local array, the outer loop goes over the inputs and the inner one over the outputs. There W
(I,O) is read as it lies, the compiler makes vectors of the sums without being allowed to reorder any, and where the
layer is narrow keeps them in registers. With gcc -O3 this was the fastest order of those tried, or close to it, at
widths from 10 to 512; a dot product for each output is the slowest. docs/export.md says how fast it is.

The file is made of parts, each a function that gives lines: `banner`, `array`, `activation_function`, `linear`,
`ending`.
"""

import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..files import replacing
from ..network import MLP
from ..ops import GELU_CUBIC, GELU_SCALE
from .layers import check_network, single_precision

PORTION = 64  # inputs


def to_c(network: MLP, path: str | os.PathLike[str], name: str = "mlp") -> None:
    """Writes the network as one C99 file, whole or not there: `int NAME_predict(const float x[I], float logits[C])`.

    The function writes the logits and returns the class, the first of the largest, as `MLP.predict` does. It keeps no
    state and allocates nothing, so any number of threads may call it; x must be finite. Weights are float32; those of a
    float64 network are rounded to the nearest.

    Raises ValueError for a `name` that cannot begin a C identifier and for weights that are not finite in float32,
    OSError where the file cannot be written.
    """
    lines = _lines(network, name)
    first = next(lines)  # what is wrong with network or name is said before anything is written
    with replacing(path) as stream:
        stream.write(f"{first}\n".encode())
        stream.writelines(f"{line}\n".encode() for line in lines)


def c_source(network: MLP, name: str = "mlp") -> str:
    """The text of the file that `to_c` writes; errors as there."""
    return "".join(f"{line}\n" for line in _lines(network, name))


def _lines(network: MLP, name: str) -> Iterator[str]:
    check_network(network)
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(f"name must begin with a letter and go on with letters, digits and _, got {name!r}")
    weights, biases = single_precision(network)
    activation = network.activation if len(weights) > 1 else ""  # of hidden layers, where there are any
    needs_libm = activation in ("tanh", "gelu")
    head = f"int {name}_predict(const float x[{network.sizes[0]}], float logits[{network.sizes[-1]}])"

    yield from banner(network, name, head, needs_libm)
    if needs_libm:
        yield "#include <math.h>"
    yield ""
    yield f"enum {{ {name}_inputs = {network.sizes[0]}, {name}_classes = {network.sizes[-1]} }};"
    yield ""
    yield f"{head};"
    for k, (W, b) in enumerate(zip(weights, biases, strict=True)):
        yield ""
        yield from array("float", f"{name}_W{k}", W, hexadecimal)
        yield from array("float", f"{name}_b{k}", b, hexadecimal)
    yield ""
    if activation:
        yield from activation_function(activation, name)
        yield ""
    yield head
    yield "{"
    a = "x"
    for k, W in enumerate(weights):
        yield from linear(k, a, W.shape, name)
        a = f"z{k}"
        if k < len(weights) - 1:
            yield f"    for (int j = 0; j < {W.shape[1]}; j++) {a}[j] = {name}_{activation}({a}[j]);"
        yield ""
    yield from ending(a, network.sizes[-1])
    yield "}"


# ---------------------------------------------------------------------------------------------- the parts of a file


def banner(network: MLP, name: str, head: str, needs_libm: bool) -> Iterator[str]:
    """The comment at the top: what this is, how to compile and how to call it."""
    I, C = network.sizes[0], network.sizes[-1]
    shape = "-".join(map(str, network.sizes))
    hidden = f", {network.activation}" if len(network.sizes) > 2 else ""
    rounded = ", rounded from float64" if network.dtype == np.float64 else ""
    yield f"/* A multi-layer perceptron {shape}{hidden}: {network.num_parameters} weights{rounded}, by minidistill."
    yield " *"
    yield f" * Compile:  gcc -std=c99 -O3 -c {name}.c{', and link with -lm' if needs_libm else ''}"
    yield f" * Declare:  {head};"
    yield f" * Call:     float x[{I}] = {{ ... }}, logits[{C}];"
    yield f" *           int label = {name}_predict(x, logits);"
    yield " *"
    yield f" * x is one row as the network takes it, finite; label is the first of the largest logits, 0 to {C - 1}."
    yield f" * A call takes {4 * sum(network.sizes[1:])} bytes of stack and no other memory; threads may share it."
    yield " */"


def array(ctype: str, name: str, values: np.ndarray, literal: Callable[[Any], str], a_line: int = 6) -> Iterator[str]:
    """A constant array of one or two dimensions, `a_line` numbers a line; `literal` writes a number as C does."""
    size = "".join(f"[{n}]" for n in values.shape)
    yield f"static const {ctype} {name}{size} = {{"
    for row in values.tolist() if values.ndim == 2 else [values.tolist()]:
        if values.ndim == 2:
            yield "    {"
        for k in range(0, len(row), a_line):
            yield f"    {', '.join(map(literal, row[k : k + a_line]))},"
        if values.ndim == 2:
            yield "    },"
    yield "};"


def hexadecimal(number: float) -> str:
    """A float as C reads it without rounding: 0x1.8p-1f is 0.75."""
    digits, exponent = number.hex().split("p")
    return f"{digits.rstrip('0').rstrip('.')}p{exponent}f"


def activation_function(activation: str, name: str) -> Iterator[str]:
    """What each hidden unit makes of its sum, as in ops.py."""
    yield f"static float {name}_{activation}(float z)"
    yield "{"
    if activation == "relu":
        yield "    return z < 0 ? 0 : z;"
    elif activation == "tanh":
        yield "    return tanhf(z);"
    else:
        scale, cubic = (hexadecimal(float(np.float32(number))) for number in (GELU_SCALE, GELU_CUBIC))
        yield f"    return 0.5f * z * (1 + tanhf({scale} * (z + {cubic} * z * z * z)));"
    yield "}"


def linear(k: int, a: str, shape: tuple[int, ...], name: str) -> Iterator[str]:
    """Layer k: the sums z of what `a` holds, weighted.

    Of many inputs each portion is summed by itself, and then their sums: the rounding errors of a sum grow with the
    number of terms in it.
    """
    I, O = shape
    yield f"    float z{k}[{O}];"
    yield f"    for (int j = 0; j < {O}; j++) z{k}[j] = {name}_b{k}[j];"
    if I <= PORTION:
        yield f"    for (int i = 0; i < {I}; i++)"
        yield f"        for (int j = 0; j < {O}; j++) z{k}[j] += {a}[i] * {name}_W{k}[i][j];"
        return
    yield f"    for (int from = 0; from < {I}; from += {PORTION}) {{"
    yield f"        const int to = from + {PORTION} < {I} ? from + {PORTION} : {I};"
    yield f"        float part[{O}] = {{0}};"
    yield "        for (int i = from; i < to; i++)"
    yield f"            for (int j = 0; j < {O}; j++) part[j] += {a}[i] * {name}_W{k}[i][j];"
    yield f"        for (int j = 0; j < {O}; j++) z{k}[j] += part[j];"
    yield "    }"


def ending(z: str, classes: int) -> Iterator[str]:
    """Hands the logits out, and the first class whose logit is the largest."""
    yield "    int best = 0;"
    yield f"    for (int j = 0; j < {classes}; j++) {{"
    yield f"        logits[j] = {z}[j];"
    yield f"        if ({z}[j] > {z}[best]) best = j;"
    yield "    }"
    yield "    return best;"
