# SPDX-License-Identifier: MIT
"""One C99 file: a network's weights and a function that predicts, for where there is no Python.

Each layer's sums are a local array, the outer loop goes over the inputs and the inner one over the outputs. There W
(I,O) is read as it lies, the compiler makes vectors of the sums without being allowed to reorder any, and where the
layer is narrow keeps them in registers. With gcc -O3 this was the fastest order of those tried, or close to it, at
widths from 10 to 512; a dot product for each output is the slowest. docs/guides/export.md says how fast it is.

A network of whole numbers gives the bits of its definition in deployment/quantization. Whole numbers may be summed in
any order, so here the dot product is the fastest, and W is written (O,I). Codes are held in 16 bits, of which
processors multiply and add pairs. Floats are multiplied once, and from then on nothing is rounded: there is no sum that
a compiler could reorder or contract with the multiplication.

The file is made of parts, each a function that gives lines: `opening`, `array`, `ending`, and what stands between them
for floats and for whole numbers.
"""

import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..deployment.quantization import QuantizedMLP
from ..deployment.quantization.codes import LARGEST, pack_nibbles
from ..network import MLP
from ..ops import GELU_CUBIC, GELU_SCALE
from ..support.checks import check_finite
from ..support.files import replacing
from .layers import check_network, single_precision

PORTION = 64  # inputs


def to_c(network: MLP | QuantizedMLP, path: str | os.PathLike[str], name: str = "mlp") -> None:
    """Writes the network as one C99 file, whole or not there: `int NAME_predict(const float x[I], float logits[C])`.

    The function writes the logits and returns the class, the first of the largest, as `MLP.predict` does. It keeps no
    state and allocates nothing, so any number of threads may call it; x must be finite. Weights of an MLP are float32;
    those of a float64 network are rounded to the nearest. Those of a `QuantizedMLP` have 8 or 4 bits as there, and its
    logits are the same to the last bit.

    Raises ValueError for a `name` that cannot begin a C identifier, for weights that are not finite in float32 and for
    a `QuantizedMLP` without calibration, OSError where the file cannot be written.
    """
    lines = _lines(network, name)
    first = next(lines)  # what is wrong with network or name is said before anything is written
    with replacing(path) as stream:
        stream.write(f"{first}\n".encode())
        stream.writelines(f"{line}\n".encode() for line in lines)


def c_source(network: MLP | QuantizedMLP, name: str = "mlp") -> str:
    """The text of the file that `to_c` writes; errors as there."""
    return "".join(f"{line}\n" for line in _lines(network, name))


def _lines(network: Any, name: str) -> Iterator[str]:
    whole = isinstance(network, QuantizedMLP)
    if not whole:
        check_network(network)
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(f"name must begin with a letter and go on with letters, digits and _, got {name!r}")
    return _integer_lines(network, name) if whole else _float_lines(network, name)


def _float_lines(network: MLP, name: str) -> Iterator[str]:
    weights, biases = single_precision(network)
    activation = network.activation if len(weights) > 1 else ""  # of hidden layers, where there are any
    rounded = "weights, rounded from float64" if network.dtype == np.float64 else "weights"
    headers = ["math.h"] if activation in ("tanh", "gelu") else []
    yield from opening(network, name, rounded, headers, stack=4 * sum(network.sizes[1:]))
    for k, (W, b) in enumerate(zip(weights, biases, strict=True)):
        yield ""
        yield from array("float", f"{name}_W{k}", W, hexadecimal)
        yield from array("float", f"{name}_b{k}", b, hexadecimal)
    yield ""
    if activation:
        yield from activation_function(activation, name)
        yield ""
    yield prototype(network, name)
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


def _integer_lines(network: QuantizedMLP, name: str) -> Iterator[str]:
    if network.grids is None:
        raise ValueError("network must be calibrated to become C: give `quantize` rows as its `calibration`")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
        first, multipliers = network.input_multiplier, [layer.multipliers for layer in network.layers]
    for k, factors in enumerate([np.array([first]), *multipliers]):
        check_finite(f"multipliers of layer {k - 1}" if k else "multiplier of the inputs", factors)
    last = len(network.layers) - 1
    stack = 2 * sum(network.sizes[:-1]) + 4 * sum(network.sizes[1:]) + 4 * network.sizes[-1]  # codes, sums and logits
    yield from opening(network, name, f"weights of {network.bits} bits", ["stdint.h"], stack)
    for k, (layer, factors) in enumerate(zip(network.layers, multipliers, strict=True)):
        yield ""
        yield from integer_weights(f"{name}_W{k}", layer.codes, network.bits)
        yield from array("int32_t", f"{name}_c{k}", layer.bias, str)
        yield from array("float", f"{name}_m{k}", factors, hexadecimal)
        if layer.table is not None:
            yield from array("uint8_t", f"{name}_{network.activation}{k}", layer.table, str, a_line=16)
    yield ""
    yield from code_function(name)
    yield ""
    yield prototype(network, name)
    yield "{"
    yield from each("int16_t", "q0", network.sizes[0],
                    f"{name}_code(x[j] * {hexadecimal(float(first))}, {network.grids[0].zero})")  # fmt: skip
    yield ""
    for k, layer in enumerate(network.layers):
        yield from integer_sums(k, layer.codes.shape, network.bits, name)
        v, outputs = f"(float)sum{k}[j] * {name}_m{k}[j]", network.sizes[k + 1]
        if k == last:
            yield from each("float", f"z{k}", outputs, v)
        else:
            code = f"{name}_code({v}, {layer.zero})"
            code = code if layer.table is None else f"{name}_{network.activation}{k}[{code}]"
            yield from each("int16_t", f"q{k + 1}", outputs, code)
        yield ""
    yield from ending(f"z{last}", network.sizes[-1])
    yield "}"


# ---------------------------------------------------------------------------------------------- the parts of a file


def prototype(network: MLP | QuantizedMLP, name: str) -> str:
    return f"int {name}_predict(const float x[{network.sizes[0]}], float logits[{network.sizes[-1]}])"


def opening(network: MLP | QuantizedMLP, name: str, weights: str, headers: list[str], stack: int) -> Iterator[str]:
    """The comment that says what this is, how to compile and how to call it; headers, sizes and the declaration."""
    I, C = network.sizes[0], network.sizes[-1]
    shape = "-".join(map(str, network.sizes))
    hidden = f", {network.activation}" if len(network.sizes) > 2 else ""
    yield f"/* A multi-layer perceptron {shape}{hidden}: {network.num_parameters} {weights}, by minidistill."
    yield " *"
    yield f" * Compile:  gcc -std=c99 -O3 -c {name}.c{', and link with -lm' if 'math.h' in headers else ''}"
    yield f" * Declare:  {prototype(network, name)};"
    yield f" * Call:     float x[{I}] = {{ ... }}, logits[{C}];"
    yield f" *           int label = {name}_predict(x, logits);"
    yield " *"
    yield f" * x is one row as the network takes it, finite; label is the first of the largest logits, 0 to {C - 1}."
    yield f" * A call takes {stack} bytes of stack and no other memory; threads may share it."
    yield " */"
    yield from (f"#include <{header}>" for header in headers)
    yield ""
    yield f"enum {{ {name}_inputs = {I}, {name}_classes = {C} }};"
    yield ""
    yield f"{prototype(network, name)};"


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
    yield from each("float", f"z{k}", O, f"{name}_b{k}[j]")
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


def code_function(name: str) -> Iterator[str]:
    """The code of v, which counts steps from the zero point, as `requantized` in deployment/quantization/codes.py.

    What comes in has been rounded to float32. From there all is exact, so it does not matter in what precision it is
    done, nor how the processor would round. NaN gets the lowest code.
    """
    yield f"static int16_t {name}_code(float v, int zero)"
    yield "{"
    yield f"    const float low = (float)-zero, high = (float)({LARGEST} - zero);"
    yield "    v = v > low ? (v < high ? v : high) : low;"
    yield "    const int n = (int)v; /* towards zero */"
    yield "    const float rest = v - (float)n;"
    yield "    const float half = n % 2 == 0 ? 0.5f : 0x1.fffffep-2f; /* the one below it: halves go to the even */"
    yield "    return (int16_t)(n + (rest > half) - (rest < -half) + zero);"
    yield "}"


def integer_weights(name: str, codes: np.ndarray, bits: int) -> Iterator[str]:
    """The codes (I,O) of a layer as rows of bytes, one for each output; of 4 bits two a byte, with 8 added to each."""
    if bits == 8:
        return array("int8_t", name, codes.T, str, a_line=16)
    return array("uint8_t", name, pack_nibbles(codes + 8).T, str, a_line=16)


def integer_sums(k: int, shape: tuple[int, ...], bits: int, name: str) -> Iterator[str]:
    """Layer k's sums of whole numbers. Each product fits into 16 bits, which `int` may have, and the sum into 32."""
    I, O = shape
    q, W = f"q{k}", f"{name}_W{k}[j]"
    yield f"    int32_t sum{k}[{O}];"
    yield f"    for (int j = 0; j < {O}; j++) {{"
    yield f"        int32_t sum = {name}_c{k}[j];"
    if bits == 8:
        yield f"        for (int i = 0; i < {I}; i++) sum += {q}[i] * {W}[i];"
    else:
        yield f"        for (int i = 0; i < {I // 2}; i++)"
        yield f"            sum += {q}[2 * i] * (({W}[i] & 15) - 8) + {q}[2 * i + 1] * (({W}[i] >> 4) - 8);"
        if I % 2 == 1:
            yield f"        sum += {q}[{I - 1}] * (({W}[{I // 2}] & 15) - 8);"
    yield f"        sum{k}[j] = sum;"
    yield "    }"


def each(ctype: str, name: str, size: int, value: str) -> Iterator[str]:
    """A local array, filled with `value` of j."""
    yield f"    {ctype} {name}[{size}];"
    yield f"    for (int j = 0; j < {size}; j++) {name}[j] = {value};"


def ending(z: str, classes: int) -> Iterator[str]:
    """Hands the logits out, and the first class whose logit is the largest."""
    yield "    int best = 0;"
    yield f"    for (int j = 0; j < {classes}; j++) {{"
    yield f"        logits[j] = {z}[j];"
    yield f"        if ({z}[j] > {z}[best]) best = j;"
    yield "    }"
    yield "    return best;"
