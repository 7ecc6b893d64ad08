# SPDX-License-Identifier: MIT
"""Quantisation: networks whose weights and activations are whole numbers of 8 or 4 bits (derived in
docs/guides/quantize.md).

`quantize` makes a `QuantizedMLP` of a trained network: a byte or half a byte a weight, and integer products. Rows of
calibration data tell how large activations become; without any, each row is measured when it comes. What the rounding
costs, `QuantizationAwareMLP` wins back: it learns on, from labels or from a teacher, while it feels the rounding.

The integer network is defined to the last bit, so that compiled kernels and exported code can be held to it. Real
numbers x stand behind codes q, whole numbers from 0 to 255: x is about scale * (q - zero). For a layer with the weight
codes W, its bias c and the multipliers m, in this order, every float operation rounded to float32:

    acc = q @ W + c                       int32, exact: no order of the sums can overflow
    v   = float32(acc) * m                of the last layer these are the logits
    u   = rint(clip(v, -zero, 255 - zero)) + zero       halves go to the even number
    q'  = u, or table[u] where the activation is not ReLU
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ... import ops
from ...data.scaling import MOST_APART, apart, column_sizes
from ...kernels import compiled_integers, load_backend, resolved
from ...network import ACTIVATIONS, MLP, ROWS_AT_ONCE, Cache, Outputs
from ...support.checks import check_choice, check_finite, check_number, check_rows, check_whole, warn
from ...support.files import read_npz, write_npz

TOP = {8: 127, 4: 7}  # the largest weight code: as far up as down, so that no weight needs a zero point
LARGEST = 255  # code of an activation
METHODS = ("minmax", "percentile", "mse")
SHRINKS = np.linspace(1.0, 0.3, 36)  # of a range, tried in turn where the mean square error decides
SAMPLE = 1 << 16  # values by which ranges are judged
SMALLEST = 1e-30  # below it, what is wanted of float32 could vanish
MOST_BIAS = 1 << 29
MOST_ERROR = 0.2  # of the first layer's outputs, as a share of their distance to the mean row
REMEDY = (
    "its inputs differ too much in scale for one step. Quantize a network of standardized rows, before "
    "fold_standardization, and standardize the rows that it is given"
)
WIDEST = 1 << 14  # 255 * 127 * WIDEST < 2^29: with a bias, and with the zero point times the weights, below 2^31

# ---------------------------------------------------------------------------------------------- codes


class Grid(NamedTuple):
    """The numbers that the codes 0 to 255 stand for: scale * (code - zero)."""

    scale: float
    zero: int

    @classmethod
    def over(cls, low: float, high: float) -> "Grid":
        """The finest one from `low` to `high` that has 0 on it, as ReLU, padding and black pixels want it."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = high / LARGEST - low / LARGEST
        scale = scale if scale > SMALLEST else 1.0  # there is nothing but zeros
        return cls(scale, int(np.rint(-low / scale)))

    @property
    def limits(self) -> tuple[int, int]:
        """The whole numbers of steps from 0 to either end."""
        return -self.zero, LARGEST - self.zero

    def values(self, codes: np.ndarray) -> np.ndarray:
        """float32, in the shape of the codes."""
        return np.asarray(np.float32(self.scale) * (codes.astype(np.float32) - np.float32(self.zero)))


class Grids(NamedTuple):
    """What calibration found: of the inputs, of what each hidden layer says, and of that before its activation."""

    inputs: Grid
    hidden: list[Grid]
    before: list[Grid | None]  # None for ReLU: its slope is one or zero, and codes need no table


def fake_quantize_forward(x, scale, low, high):  # type: ignore[no-untyped-def]  # x any shape, scale () or (O,)
    steps = np.rint(x / scale)                                                  # as x
    inside = (steps >= low) & (steps <= high)                                   # as x, bool
    return (scale * np.clip(steps, low, high)).astype(x.dtype), inside          # as x                    


def fake_quantize_backward(dy, inside):  # type: ignore[no-untyped-def]  # each as x
    return dy * inside                # as if rounding were not there            as x                     


def requantized(v: np.ndarray, zero: int) -> np.ndarray:
    """Codes (uint8) of v (float32, any shape), which counts steps from 0."""
    return np.asarray((np.rint(np.clip(v, -zero, LARGEST - zero)) + zero).astype(np.uint8))


# ---------------------------------------------------------------------------------------------- weights


class WeightCodes(NamedTuple):
    """W[:,o] is about scale * units[o] * codes[:,o]."""

    codes: np.ndarray  # (I,O) int8
    units: np.ndarray  # (O,) uint8, from 1
    scale: float       # of the layer
    inside: np.ndarray  # (I,O) bool: what was rounded and not clipped


def weight_codes(W: np.ndarray, bits: int, least: float = 0.0) -> WeightCodes:
    """The codes of W (I,O), with a scale for each output unit that takes one byte; the layer's is at least `least`.

    A unit's scale is rounded up, so that this clips nothing.
    """
    top = TOP[bits]
    steps = unit_scales(W.astype(np.float64), top)                              # (O,)
    scale = max(steps.max() / LARGEST, least, SMALLEST)
    units = np.clip(np.ceil(steps / scale), 1, LARGEST).astype(np.uint8)        # (O,)                    
    rounded = np.rint(W / (scale * units))                                      # (I,O)
    inside = np.abs(rounded) <= top
    return WeightCodes(np.clip(rounded, -top, top).astype(np.int8), units, scale, inside)


def unit_scales(W: np.ndarray, top: int) -> np.ndarray:  # W (I,O)
    """The step of each unit's weights (O,): the largest weight gets the largest code, or with 4 bits may be clipped.

    With 8 bits the steps are fine, and clipping costs more than it gains.
    """
    full = np.abs(W).max(axis=0) / top                                          # (O,)
    if top == TOP[8]:
        return np.asarray(full)
    tried = np.maximum(full, np.finfo(W.dtype).tiny) * SHRINKS[:, None]         # (T,O)
    errors = [np.square(W - fake_quantize_forward(W, step, -top, top)[0]).sum(axis=0) for step in tried]
    return np.asarray(full * SHRINKS[np.argmin(errors, axis=0)])                # (O,)                    


def pack_nibbles(codes: np.ndarray) -> np.ndarray:
    """Codes (I,O) from -8 to 7 as bytes (I/2 rounded up, O): an even row in the lower half, the odd one above it."""
    nibbles = np.zeros((len(codes) + len(codes) % 2, codes.shape[1]), np.uint8)
    nibbles[: len(codes)] = codes.astype(np.uint8) & 15
    return nibbles[::2] | nibbles[1::2] << 4


def unpack_nibbles(packed: np.ndarray, rows: int) -> np.ndarray:
    """The codes (rows,O), int8, of which `pack_nibbles` made these bytes."""
    nibbles = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1, packed.shape[1])[:rows]
    return ((nibbles ^ 8).astype(np.int8) - 8).astype(np.int8)                  # the sign bit counts -8


# ---------------------------------------------------------------------------------------------- calibration


def calibrate(network: MLP, calibration: Any, method: str = "mse", percentile: float = 99.99) -> Grids:
    """The grids of a network's activations, by what they are on the rows `calibration` (N,I); labels are not needed.

    method      "minmax": all that was seen;  "percentile": without the outermost at either end;
                "mse": the range with the least mean square error, rounding and clipping together
    percentile  which ones are kept, in (50, 100]

    Raises ValueError for rows that are all the same, of another width or not finite, and for a network with NaN.
    """
    check_choice("method", method, METHODS)
    check_number("percentile", percentile, "(50, 100]")
    check_quantizable(network)
    x = check_rows("calibration", calibration, columns=network.sizes[0], dtype=network.dtype)
    if (x == x[0]).all():
        raise ValueError(f"calibration must have rows that differ, to show a range: got {len(x)} equal")

    def grid(values: np.ndarray) -> Grid:
        check_finite("an activation on calibration", values)
        return Grid.over(*range_of(values, method, percentile))

    hidden = network.outputs(x).hidden                                          # each (N,H)
    layers = zip([x, *hidden[:-1]], network.weights[:-1], network.biases[:-1], strict=False)
    before = [None if network.activation == "relu" else grid(h @ W + b) for h, W, b in layers]
    grids = Grids(grid(x), [grid(h) for h in hidden], before)
    warn_of_first_layer(network, x, grids.inputs)
    return grids


@np.errstate(over="ignore", invalid="ignore")
def warn_of_first_layer(network: MLP, x: np.ndarray, inputs: Grid) -> None:
    """Warns where the grids of x (N,I) and of the first layer's weights, one step for all columns, lose its outputs.

    The median row is judged, for a broken one may be clipped. Its error is at most 5% of the distance to the mean row
    where columns have one scale, and 60% and more where a network takes raw columns of different scales.
    """
    W = network.weights[0]                                                      # (I,O)
    codes, units, scale, _ = weight_codes(W, 8)
    z, rounded = x @ W, _on_grid(x, inputs)[0] @ (codes * (scale * units))      # each (N,O)
    errors, distances = (np.median(np.square(d).sum(axis=1)) for d in (rounded - z, z - z.mean(axis=0)))
    error = np.sqrt(errors / max(distances, SMALLEST))
    if error > MOST_ERROR:
        warn(f"8 bits change the outputs of the first layer by {error:.0%} of their deviation: {REMEDY}")


def range_of(values: np.ndarray, method: str, percentile: float) -> tuple[float, float]:
    """The lowest and the highest value that is to have a code of its own; `values` have any shape."""
    if method == "percentile":
        low, high = np.percentile(values, [100 - percentile, percentile])
        return float(low), float(high)
    low, high = float(values.min()), float(values.max())
    if method == "minmax":
        return low, high
    flat = values.ravel()
    some = flat[:: -(-flat.size // SAMPLE)].astype(np.float64)                  # (S,)
    grids = [Grid.over(low * shrink, high * shrink) for shrink in SHRINKS]
    errors = [np.square(some - fake_quantize_forward(some, g.scale, *g.limits)[0]).mean() for g in grids]
    best = SHRINKS[np.argmin(errors)]
    return float(low * best), float(high * best)


def check_quantizable(network: Any) -> None:
    """Refuses what is no MLP, has NaN, or is so wide that 32 bits could not hold its sums."""
    if not isinstance(network, MLP):
        raise TypeError(f"network must be an MLP, got {type(network).__name__}")
    network.check_exportable()
    if max(network.sizes) > WIDEST:
        raise ValueError(f"network.sizes must be at most {WIDEST:,} each to be quantised, got {network.sizes}")


def check_bits(bits: Any) -> int:
    if check_whole("bits", bits) not in TOP:
        raise ValueError(f"bits must be 8 or 4, got {bits}")
    return int(bits)


# ---------------------------------------------------------------------------------------------- integer networks


@dataclass(frozen=True, eq=False)
class IntegerLayer:
    """One layer. `bias` has in it what the zero point of the inputs adds: acc = q @ codes + bias."""

    codes: np.ndarray         # (I,O) int8
    bias: np.ndarray          # (O,) int32; float32 where activations are measured row by row
    units: np.ndarray         # (O,) uint8
    scale: np.float32         # of the layer
    zero: int = 0             # of the codes before the activation
    table: np.ndarray | None = None  # (256,) uint8: the activation's code for each of these; None for ReLU

    @property
    def multipliers(self) -> np.ndarray:
        """What an accumulator of each unit is multiplied by, (O,) float32."""
        return self.scale * self.units.astype(np.float32)


class QuantizedMLP:
    """A network of whole numbers, as `quantize` makes it; it predicts as an MLP does, and is not trained.

    sizes       as of an MLP, and so are `activation` and `backend`
    bits        of a weight, 8 or 4
    layers      an `IntegerLayer` each
    grids       of the activations: [inputs, hidden layers...]; None where each row is measured when it comes
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str,
        bits: int,
        layers: list[IntegerLayer],
        grids: list[Grid] | None,
        backend: str | None = None,
    ) -> None:
        self.sizes = tuple(sizes)
        self.activation = activation
        self.bits = bits
        self.layers = layers
        self.grids = grids
        self.backend = resolved(backend)
        self.ops = load_backend(self.backend)
        self.compiled = compiled_integers(self)  # None where the backend has no more than the functions of ops.py

    @property
    def input_multiplier(self) -> np.float32:
        """How many steps of the inputs' grid are 1: codes are requantized(x * input_multiplier, grids[0].zero)."""
        assert self.grids is not None
        return np.float32(1 / self.grids[0].scale)

    # ------------------------------------------------------------------------------------------ prediction

    def logits(self, x: Any) -> np.ndarray:
        """Logits (N,C), float32, of x (N,I); ValueError where x has another width, NaN or infinity."""
        if self.compiled is not None and self.grids is not None:
            return np.asarray(self.compiled.logits(check_rows("x", x, columns=self.sizes[0], dtype=np.float32)))
        return np.concatenate([logits for logits, _ in self._portions(x)])

    def outputs(self, x: Any) -> Outputs:
        """Logits and all hidden activations of x (N,I), as numbers; ValueError as `logits`."""
        logits, hidden = zip(*self._portions(x), strict=True)
        return Outputs(np.concatenate(logits), [np.concatenate(parts) for parts in zip(*hidden, strict=True)])

    def predict_proba(self, x: Any, temperature: float = 1.0) -> np.ndarray:
        """Probabilities (N,C) of the classes, softened by `temperature`."""
        check_number("temperature", temperature, "[1e-6, inf)")
        probabilities, _ = self.ops.softmax_forward(self.logits(x), temperature)
        return np.asarray(probabilities)

    def predict(self, x: Any) -> np.ndarray:
        """The likeliest class (N,) of each row of x (N,I)."""
        labels: np.ndarray = self.logits(x).argmax(axis=1)
        return labels

    def _portions(self, x: Any) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
        """Logits and hidden activations of some rows at a time."""
        x = check_rows("x", x, columns=self.sizes[0], dtype=np.float32)
        forward = self.measured_forward if self.grids is None else self.forward
        for start in range(0, len(x), ROWS_AT_ONCE):
            yield forward(x[start : start + ROWS_AT_ONCE])

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Logits (B,C) and hidden activations of x (B,I) float32, by the definition above."""
        assert self.grids is not None
        hidden = []
        with np.errstate(over="ignore"):  # what is beyond float32 is beyond the grid, and clipped
            q = requantized(x * self.input_multiplier, self.grids[0].zero)      # (B,I)
        for layer, grid in zip(self.layers, self.grids[1:], strict=False):
            v = accumulated(q, layer.codes, layer.bias).astype(np.float32) * layer.multipliers  # (B,O)
            q = requantized(v, layer.zero)                                      # (B,O)                   
            q = q if layer.table is None else layer.table[q]                    # (B,O)
            hidden.append(grid.values(q))
        last = self.layers[-1]
        return accumulated(q, last.codes, last.bias).astype(np.float32) * last.multipliers, hidden

    def measured_forward(self, x: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """The same with a grid for each row and layer, over what that row has there.

        Each row has its own, so that what is said of it does not hang on the rows beside it. The products are of whole
        numbers, what is between them is float32.
        """
        a, hidden = x, []                                                       # (B,I)
        for k, layer in enumerate(self.layers):
            low, high = (limit(a, axis=1, initial=0, keepdims=True) for limit in (np.min, np.max))
            s = high / LARGEST - low / LARGEST                                  # (B,1)
            s[s == 0] = 1
            zero = np.rint(-low / s)                                            # (B,1)
            q = np.clip(np.rint(a / s) + zero, 0, LARGEST).astype(np.uint8)     # (B,I)
            product = accumulated(q, layer.codes, 0) if self.compiled is None else self.compiled.product(k, q)
            acc = product - zero.astype(np.int32) * layer.codes.sum(axis=0, dtype=np.int32)         # (B,O)
            z = acc.astype(np.float32) * (s * layer.multipliers) + layer.bias   # (B,O)                   
            if k < len(self.layers) - 1:
                a, _ = getattr(ops, f"{self.activation}_forward")(z)            # (B,O)
                hidden.append(a)
        return z, hidden

    # ------------------------------------------------------------------------------------------ size and files

    @property
    def num_parameters(self) -> int:
        """Weights and biases."""
        return sum((inputs + 1) * outputs for inputs, outputs in pairwise(self.sizes))

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds that the matrix products of one sample take."""
        return sum(inputs * outputs for inputs, outputs in pairwise(self.sizes))

    @property
    def nbytes(self) -> int:
        """Bytes of weights (two in a byte where they have 4 bits), biases, scales, zero points and tables."""
        weights = sum(-(-inputs * self.bits // 8) * outputs for inputs, outputs in pairwise(self.sizes))
        scales = sum(layer.bias.nbytes + layer.units.nbytes + layer.scale.nbytes for layer in self.layers)
        tables = sum(layer.table.nbytes for layer in self.layers if layer.table is not None)
        activations = 0 if self.grids is None else 5 + len(self.layers) - 1  # the inputs' scale, and zero points
        return weights + scales + tables + activations

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the network to one .npz file, whole or not there; OSError where it cannot."""
        codes = [pack_nibbles(layer.codes) if self.bits == 4 else layer.codes for layer in self.layers]
        tables = [layer.table for layer in self.layers if layer.table is not None]
        write_npz(path, KIND, {
            "sizes": self.sizes,
            "activation": self.activation,
            "bits": self.bits,
            "grids": np.array(self.grids or [], np.float64).reshape(-1, 2),
            "codes": np.concatenate([part.ravel().view(np.uint8) for part in codes]),
            "biases": np.concatenate([layer.bias for layer in self.layers]),
            "units": np.concatenate([layer.units for layer in self.layers]),
            "scales": np.array([layer.scale for layer in self.layers], np.float32),
            "zeros": np.array([layer.zero for layer in self.layers], np.uint8),
            "tables": np.array(tables, np.uint8).reshape(-1, LARGEST + 1),
        })  # fmt: skip

    @classmethod
    def load(cls, path: str | os.PathLike[str], backend: str | None = None) -> "QuantizedMLP":
        """The network saved at `path`; ValueError for a damaged file or one that holds something else."""
        arrays = read_npz(path, KIND, NAMES)
        try:
            sizes, activation, bits, layers, grids = _checked(arrays)
            return cls(sizes, activation, bits, layers, grids, backend)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{path} is not a {KIND} of minidistill, or is damaged: {error}") from None

    def __reduce__(self) -> tuple[Any, ...]:
        """How it goes to another process, on the backend of its name there."""
        return QuantizedMLP, (self.sizes, self.activation, self.bits, self.layers, self.grids, self.backend)

    def __repr__(self) -> str:
        shape, ranges = "-".join(map(str, self.sizes)), "measured row by row" if self.grids is None else "calibrated"
        return f"QuantizedMLP({shape}, {self.activation}, {self.bits} bits, {ranges}, {self.nbytes:,} bytes)"


def accumulated(q: np.ndarray, codes: np.ndarray, bias: Any) -> np.ndarray:  # q (B,I)  codes (I,O)  bias (O,)
    """q @ codes + bias, (B,O) int32, exact: BLAS has floats only, but whole numbers below 2^53 are exact in float64."""
    return np.asarray((q.astype(np.float64) @ codes.astype(np.float64)).astype(np.int32) + bias)


KIND = "quantized-network"
NAMES = ("sizes", "activation", "bits", "grids", "codes", "biases", "units", "scales", "zeros", "tables")


def _checked(arrays: dict[str, np.ndarray]) -> tuple[Any, ...]:
    """What QuantizedMLP takes, of the arrays of a file; ValueError where they do not belong together."""
    sizes = [check_whole("sizes", size) for size in arrays["sizes"].tolist()]
    if len(sizes) < 2 or max(sizes) > WIDEST:
        raise ValueError(f"sizes {sizes}")
    activation, bits = str(arrays["activation"]), check_bits(arrays["bits"].item())
    check_choice("activation", activation, ACTIVATIONS)
    layers, outputs = len(sizes) - 1, sum(sizes[1:])
    static = len(arrays["grids"]) > 0
    rows = [-(-size * bits // 8) for size in sizes[:-1]]  # of bytes
    expected = {
        "grids": (np.float64, (layers if static else 0, 2)),
        "codes": (np.uint8, (sum(row * size for row, size in zip(rows, sizes[1:], strict=True)),)),
        "biases": (np.int32 if static else np.float32, (outputs,)),
        "units": (np.uint8, (outputs,)),
        "scales": (np.float32, (layers,)),
        "zeros": (np.uint8, (layers,)),
        "tables": (np.uint8, (layers - 1 if static and activation != "relu" else 0, LARGEST + 1)),
    }
    for name, (dtype, shape) in expected.items():
        if arrays[name].dtype != dtype or arrays[name].shape != shape:
            raise ValueError(f"{name} is {arrays[name].dtype} {arrays[name].shape}, not {np.dtype(dtype)} {shape}")
        check_finite(name, arrays[name])
    if (arrays["scales"] <= 0).any() or (arrays["units"] == 0).any() or (arrays["grids"][:, 0] <= 0).any():
        raise ValueError("a scale is not above zero")
    if ((arrays["grids"][:, 1] % 1 != 0) | (arrays["grids"][:, 1] < 0) | (arrays["grids"][:, 1] > LARGEST)).any():
        raise ValueError("a zero point is not from 0 to 255")
    if static and np.abs(arrays["biases"].astype(np.int64)).max() > 2 * MOST_BIAS:
        raise ValueError("a bias is so large that sums could overflow")
    made, code, unit = [], 0, 0
    for k, (row, size) in enumerate(zip(rows, sizes[1:], strict=True)):
        packed = arrays["codes"][code : code + row * size].reshape(row, size)
        codes = unpack_nibbles(packed, sizes[k]) if bits == 4 else packed.view(np.int8)
        some = slice(unit, unit + size)
        table = arrays["tables"][k] if k < len(arrays["tables"]) else None
        parts = arrays["biases"][some], arrays["units"][some], arrays["scales"][k], int(arrays["zeros"][k])
        made.append(IntegerLayer(codes, *parts, table))
        code, unit = code + row * size, unit + size
    grids = [Grid(scale, int(zero)) for scale, zero in arrays["grids"].tolist()]
    return sizes, activation, bits, made, grids if static else None


def quantize(
    network: MLP,
    calibration: Any = None,
    bits: int | None = None,
    method: str = "mse",
    percentile: float = 99.99,
) -> QuantizedMLP:
    """The integer network of a trained one, which stays as it is.

    calibration  rows (N,I) that tell how large activations become, some hundred of those it learned from; or `Grids`.
                 None measures each row when it comes, which takes longer and is not bound to those rows
    bits         of a weight: 8 (the default) or 4
    method       how the ranges of activations are found, and `percentile`: as in `calibrate`

    A `QuantizationAwareMLP` brings bits and ranges of its own. Raises ValueError as `calibrate`, and for other bits.
    All inputs have one step: gives a UserWarning where they differ so much in scale that the first layer is lost.
    """
    if isinstance(network, QuantizationAwareMLP):
        if calibration is not None or bits not in (None, network.bits):
            raise ValueError(f"a QuantizationAwareMLP has ranges and {network.bits} bits of its own: give neither")
        calibration, bits = network.grids, network.bits
    bits = check_bits(8 if bits is None else bits)
    check_quantizable(network)
    if calibration is None:
        if apart(column_sizes(network.weights[0].T)[1]) > MOST_APART:
            warn(f"the first layer's weights of some inputs are {MOST_APART:g} times as large as others: {REMEDY}")
        layers, ranges = _measured_layers(network, bits), None
    else:
        given = isinstance(calibration, Grids)
        grids = calibration if given else calibrate(network, calibration, method, percentile)
        layers, ranges = _integer_layers(network, grids, bits), [grids.inputs, *grids.hidden]
    return QuantizedMLP(network.sizes, network.activation, bits, layers, ranges, network.backend)


def _integer_layers(network: MLP, grids: Grids, bits: int) -> list[IntegerLayer]:
    layers, ranges = [], [grids.inputs, *grids.hidden]
    for k, (W, b) in enumerate(zip(network.weights, network.biases, strict=True)):
        inputs = ranges[k]
        codes, units, scale, _ = weight_codes(W, bits, least_scale(b, inputs))
        steps = inputs.scale * scale * units                                    # (O,)  of an accumulator
        c = np.rint(b / steps) - inputs.zero * codes.sum(axis=0, dtype=np.int64)    # (O,)                
        if k == len(network.weights) - 1:
            zero, target, table = 0, 1.0, None
        else:
            before = grids.before[k]
            target, zero = before or ranges[k + 1]
            table = None if before is None else activation_table(network.activation, before, ranges[k + 1])
        layers.append(IntegerLayer(codes, c.astype(np.int32), units, np.float32(inputs.scale * scale / target),
                                   zero, table))  # fmt: skip
    return layers


def _measured_layers(network: MLP, bits: int) -> list[IntegerLayer]:
    layers = []
    for W, b in zip(network.weights, network.biases, strict=True):
        codes, units, scale, _ = weight_codes(W, bits)
        layers.append(IntegerLayer(codes, b.astype(np.float32), units, np.float32(scale)))
    return layers


def least_scale(b: np.ndarray, inputs: Grid) -> float:
    """The scale of a layer's weights below which the code of a bias (O,) would be too large."""
    return float(np.abs(b).max() / (inputs.scale * MOST_BIAS))


def activation_table(activation: str, before: Grid, after: Grid) -> np.ndarray:
    """The code after the activation for each code before it, (256,) uint8."""
    z = before.scale * (np.arange(LARGEST + 1) - before.zero)                   # (256,) float64
    a, _ = getattr(ops, f"{activation}_forward")(z)
    return requantized(a / after.scale, after.zero)                             # (256,)                  


# ---------------------------------------------------------------------------------------------- learning with it


class FakeCache(Cache):
    """A forward pass's cache, and what of inputs and weights was rounded and not clipped."""

    inputs_inside: np.ndarray
    weights_inside: list[np.ndarray]


class QuantizationAwareMLP(MLP):
    """A network that learns as the float network that it is, and answers as the integer network it will be.

    It starts from a trained `network`, of which it takes a copy, and goes through `fit` or `distill` like any other.
    Weights and activations are rounded on the way forward; on the way back rounding counts as the identity. The ranges
    of its activations are those of the trained network and stay: it learns to live with them.

    calibration, bits, method, percentile   as in `quantize`, which makes the integer network of it in the end

    `parameters` are the unrounded ones, and `save` writes a plain network with these. Raises as `calibrate` does.
    """

    def __init__(
        self, network: MLP, calibration: Any, bits: int = 8, method: str = "mse", percentile: float = 99.99
    ) -> None:
        self.bits = check_bits(bits)
        check_quantizable(network)
        if calibration is None:
            raise ValueError("calibration must be rows (N,I) that show the ranges of activations, got None")
        given = isinstance(calibration, Grids)
        self.grids: Grids = calibration if given else calibrate(network, calibration, method, percentile)
        settings = (network.activation, network.dropout, network.seed, network.dtype, network.backend)
        super().__init__(network.sizes, *settings)
        self.parameters[:] = network.parameters
        self.slope = self.activate_backward
        self.activate_backward = self._rounded_activation_backward

    def forward(
        self, x: np.ndarray, training: bool = False, step: int = 0, layerwise: bool = False
    ) -> tuple[np.ndarray, Any]:
        """As of an MLP, with inputs, weights and hidden activations on their grids."""
        cache = FakeCache([], [], [])
        cache.weights_inside = []
        a, cache.inputs_inside = _on_grid(x, self.grids.inputs)                 # (B,I)
        last = len(self.weights) - 1
        for k in range(last + 1):
            mask = None
            if training and self.dropout[k] > 0:
                a, mask = self.ops.dropout_forward(a, self.dropout[k], self.seed, step, k)  # (B,I)
            W, b, inside = self.rounded(k)                                      # (I,O), (O,), (I,O)
            z, linear = self.ops.linear_forward(a, W, b)                        # (B,O)
            a, activation = self._rounded_activation(k, z) if k < last else (z, None)       # (B,O)
            cache.dropout.append(mask)
            cache.linear.append(linear)
            cache.activation.append(activation)
            cache.weights_inside.append(inside)
        return a, cache

    def backward(
        self, dlogits: np.ndarray, cache: Any, input_gradient: bool = False, dhidden: Sequence[Any] | None = None
    ) -> np.ndarray | None:
        """As of an MLP; what was clipped gets no gradient."""
        dx = super().backward(dlogits, cache, input_gradient, dhidden)          # through the rounded weights
        for dW, inside in zip(self.weight_gradients, cache.weights_inside, strict=True):
            dW *= inside                                                        # (I,O)                   
        return None if dx is None else np.asarray(fake_quantize_backward(dx, cache.inputs_inside))

    def check_exportable(self) -> None:
        """ValueError for NaN. The exported network is the float network, with unrounded parameters."""
        check_finite("network.parameters", self.parameters)

    def rounded(self, layer: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """W (I,O) and b (O,) of a layer as the integer network has them, and where W was not clipped."""
        W, b = self.weights[layer], self.biases[layer]
        inputs = self.grids.hidden[layer - 1] if layer else self.grids.inputs
        codes, units, scale, inside = weight_codes(W, self.bits, least_scale(b, inputs))
        steps = inputs.scale * scale * units                                    # (O,)
        return codes * (scale * units).astype(self.dtype), (np.rint(b / steps) * steps).astype(self.dtype), inside

    def _rounded_activation(self, layer: int, z: np.ndarray) -> tuple[np.ndarray, Any]:
        before = self.grids.before[layer]
        z, inside = (z, None) if before is None else _on_grid(z, before)        # (B,O)
        a, kept = self.activate(z)                                              # (B,O)
        a, inside_after = _on_grid(a, self.grids.hidden[layer])                 # (B,O)
        return a, (kept, inside, inside_after)

    def _rounded_activation_backward(self, da: np.ndarray, cache: Any) -> np.ndarray:
        kept, inside, inside_after = cache
        dz = self.slope(fake_quantize_backward(da, inside_after), kept)         # (B,O)
        return np.asarray(dz if inside is None else fake_quantize_backward(dz, inside))

    def copy(self, backend: str | None = None) -> "QuantizationAwareMLP":
        """A network of its own with the same weights and ranges."""
        return QuantizationAwareMLP(self._unrounded(backend), self.grids, self.bits)

    def __reduce__(self) -> tuple[Any, ...]:
        return QuantizationAwareMLP, (self._unrounded(self.backend), self.grids, self.bits)

    def _unrounded(self, backend: str | None) -> MLP:
        network = MLP(**self._settings(), backend=backend)
        network.parameters[:] = self.parameters
        return network


def _on_grid(x: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    y, inside = fake_quantize_forward(x, grid.scale, *grid.limits)
    return y, inside
