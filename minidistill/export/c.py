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

The file is made of parts with an empty line between them, each an iterable of lines: weights are written as they come.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, pairwise
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
BESIDE_ARRAYS, OF_A_LAYER = 384, 64  # bytes of stack for registers, and for alignment and loop variables of a layer


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
    return separated(_integer_parts(network, name) if whole else _float_parts(network, name))


def _float_parts(network: MLP, name: str) -> Iterator[Iterable[str]]:
    weights, biases = single_precision(network)
    activation = network.activation if len(weights) > 1 else ""  # of hidden layers, where there are any
    rounded = "weights, rounded from float64" if network.dtype == np.float64 else "weights"
    headers = ["math.h"] if activation in ("tanh", "gelu") else []
    portions = [O for I, O in pairwise(network.sizes) if I > PORTION]
    stack = 4 * sum(network.sizes[1:]) + 4 * max(portions, default=0)  # sums, and those of one portion
    yield opening(network, name, rounded, headers, stack)
    for k, (W, b) in enumerate(zip(weights, biases, strict=True)):
        yield chain(array("float", f"{name}_W{k}", W, hexadecimal), array("float", f"{name}_b{k}", b, hexadecimal))
    if activation:
        yield activation_function(activation, name)
    steps = [linear(k, f"z{k - 1}" if k else "x", W.shape, name) for k, W in enumerate(weights)]
    for k, (step, O) in enumerate(zip(steps[:-1], network.sizes[1:], strict=False)):
        step.append(f"    for (int j = 0; j < {O}; j++) z{k}[j] = {name}_{activation}(z{k}[j]);")
    yield prediction(network, name, steps)


def _integer_parts(network: QuantizedMLP, name: str) -> Iterator[Iterable[str]]:
    if network.grids is None:
        raise ValueError("network must be calibrated to become C: give `quantize` rows as its `calibration`")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
        first, multipliers = network.input_multiplier, [layer.multipliers for layer in network.layers]
    for k, factors in enumerate([np.array([first]), *multipliers]):
        check_finite(f"multipliers of layer {k - 1}" if k else "multiplier of the inputs", factors)
    last = len(network.layers) - 1
    stack = 2 * sum(network.sizes[:-1]) + 4 * sum(network.sizes[1:]) + 4 * network.sizes[-1]  # codes, sums and logits
    yield opening(network, name, f"weights of {network.bits} bits", ["stdint.h"], stack)
    code = f"{name}_code(x[j] * {hexadecimal(float(first))}, {network.grids[0].zero})"
    steps = [each("int16_t", "q0", network.sizes[0], code)]
    for k, (layer, factors) in enumerate(zip(network.layers, multipliers, strict=True)):
        # rows of bytes, one for each output; of 4 bits two a byte, with 8 added to each
        codes, ctype = (layer.codes, "int8_t") if network.bits == 8 else (pack_nibbles(layer.codes + 8), "uint8_t")
        arrays = [
            array(ctype, f"{name}_W{k}", codes.T, str, a_line=16),
            array("int32_t", f"{name}_c{k}", layer.bias, str),
            array("float", f"{name}_m{k}", factors, hexadecimal),
        ]
        value, O = f"(float)sum{k}[j] * {name}_m{k}[j]", network.sizes[k + 1]
        code = f"{name}_code({value}, {layer.zero})"
        if layer.table is not None:
            arrays.append(array("uint8_t", f"{name}_{network.activation}{k}", layer.table, str, a_line=16))
            code = f"{name}_{network.activation}{k}[{code}]"
        yield chain(*arrays)
        outputs = each("float", f"z{k}", O, value) if k == last else each("int16_t", f"q{k + 1}", O, code)
        steps.append(integer_sums(k, layer.codes.shape, network.bits, name) + outputs)
    yield code_function(name)
    yield prediction(network, name, steps)


# ---------------------------------------------------------------------------------------------- the parts of a file


def separated(parts: Iterable[Iterable[str]]) -> Iterator[str]:
    """The lines of all parts, with an empty line between each two."""
    for k, part in enumerate(parts):
        if k > 0:
            yield ""
        yield from part


def prototype(network: MLP | QuantizedMLP, name: str) -> str:
    return f"int {name}_predict(const float x[{network.sizes[0]}], float logits[{network.sizes[-1]}])"


def prediction(network: MLP | QuantizedMLP, name: str, steps: list[list[str]]) -> Iterator[str]:
    """The function: its steps, whose last leaves the logits in z; then the first class whose logit is the largest."""
    C, z = network.sizes[-1], f"z{len(network.sizes) - 2}"
    ending = [
        "    int best = 0;",
        f"    for (int j = 0; j < {C}; j++) {{",
        f"        logits[j] = {z}[j];",
        f"        if ({z}[j] > {z}[best]) best = j;",
        "    }",
        "    return best;",
    ]
    return chain([prototype(network, name), "{"], separated([*steps, ending]), ["}"])


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
    stack += BESIDE_ARRAYS + OF_A_LAYER * (len(network.sizes) - 1)
    yield f" * A call takes at most {stack} bytes of stack and no other memory; threads may share it."
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


def activation_function(activation: str, name: str) -> list[str]:
    """What each hidden unit makes of its sum, as in ops.py."""
    scale, cubic = (hexadecimal(float(np.float32(number))) for number in (GELU_SCALE, GELU_CUBIC))
    values = {
        "relu": "z < 0 ? 0 : z",
        "tanh": "tanhf(z)",
        "gelu": f"0.5f * z * (1 + tanhf({scale} * (z + {cubic} * z * z * z)))",
    }
    return [f"static float {name}_{activation}(float z)", "{", f"    return {values[activation]};", "}"]


def linear(k: int, a: str, shape: tuple[int, ...], name: str) -> list[str]:
    """Layer k: the sums z of what `a` holds, weighted.

    Of many inputs each portion is summed by itself, and then their sums: the rounding errors of a sum grow with the
    number of terms in it.
    """
    I, O = shape
    lines = each("float", f"z{k}", O, f"{name}_b{k}[j]")
    if I <= PORTION:
        return [
            *lines,
            f"    for (int i = 0; i < {I}; i++)",
            f"        for (int j = 0; j < {O}; j++) z{k}[j] += {a}[i] * {name}_W{k}[i][j];",
        ]
    return [
        *lines,
        f"    for (int from = 0; from < {I}; from += {PORTION}) {{",
        f"        const int to = from + {PORTION} < {I} ? from + {PORTION} : {I};",
        f"        float part[{O}] = {{0}};",
        "        for (int i = from; i < to; i++)",
        f"            for (int j = 0; j < {O}; j++) part[j] += {a}[i] * {name}_W{k}[i][j];",
        f"        for (int j = 0; j < {O}; j++) z{k}[j] += part[j];",
        "    }",
    ]


def code_function(name: str) -> list[str]:
    """The code of v, which counts steps from the zero point, as `requantized` in deployment/quantization/codes.py.

    What comes in has been rounded to float32. From there all is exact, so it does not matter in what precision it is
    done, nor how the processor would round. NaN gets the lowest code.
    """
    return [
        f"static int16_t {name}_code(float v, int zero)",
        "{",
        f"    const float low = (float)-zero, high = (float)({LARGEST} - zero);",
        "    v = v > low ? (v < high ? v : high) : low;",
        "    const int n = (int)v; /* towards zero */",
        "    const float rest = v - (float)n;",
        "    const float half = n % 2 == 0 ? 0.5f : 0x1.fffffep-2f; /* the one below it: halves go to the even */",
        "    return (int16_t)(n + (rest > half) - (rest < -half) + zero);",
        "}",
    ]


def integer_sums(k: int, shape: tuple[int, ...], bits: int, name: str) -> list[str]:
    """Layer k's sums of whole numbers. Each product fits into 16 bits, which `int` may have, and the sum into 32."""
    I, O = shape
    q, W = f"q{k}", f"{name}_W{k}[j]"
    if bits == 8:
        terms = [f"        for (int i = 0; i < {I}; i++) sum += {q}[i] * {W}[i];"]
    else:
        terms = [
            f"        for (int i = 0; i < {I // 2}; i++)",
            f"            sum += {q}[2 * i] * (({W}[i] & 15) - 8) + {q}[2 * i + 1] * (({W}[i] >> 4) - 8);",
        ]
        if I % 2 == 1:
            terms.append(f"        sum += {q}[{I - 1}] * (({W}[{I // 2}] & 15) - 8);")
    return [
        f"    int32_t sum{k}[{O}];",
        f"    for (int j = 0; j < {O}; j++) {{",
        f"        int32_t sum = {name}_c{k}[j];",
        *terms,
        f"        sum{k}[j] = sum;",
        "    }",
    ]


def each(ctype: str, name: str, size: int, value: str) -> list[str]:
    """A local array, filled with `value` of j."""
    return [f"    {ctype} {name}[{size}];", f"    for (int j = 0; j < {size}; j++) {name}[j] = {value};"]
