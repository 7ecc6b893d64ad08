# SPDX-License-Identifier: MIT
"""QuantizedMLP: a network of whole numbers, defined to the last bit (derived in docs/guides/quantize.md).

Compiled kernels and exported code can so be held to it. For a layer with the weight codes W, its bias c and the
multipliers m, in this order, every float operation rounded to float32:

    acc = q @ W + c                       int32, exact: no order of the sums can overflow
    v   = float32(acc) * m                of the last layer these are the logits
    u   = rint(clip(v, -zero, 255 - zero)) + zero       halves go to the even number
    q'  = u, or table[u] where the activation is not ReLU
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ... import ops
from ...kernels import compiled_integers, load_backend, resolved
from ...network import ACTIVATIONS, ROWS_AT_ONCE, Classifier, Outputs
from ...support.checks import check_choice, check_finite, check_rows, check_whole
from ...support.files import read_npz, write_npz
from .codes import LARGEST, MOST_BIAS, WIDEST, Grid, check_bits, pack_nibbles, requantized, unpack_nibbles

KIND = "quantized-network"
NAMES = ("sizes", "activation", "bits", "grids", "codes", "biases", "units", "scales", "zeros", "tables")


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


@dataclass(eq=False, repr=False)
class QuantizedMLP(Classifier):
    """A network of whole numbers, as `quantize` makes it; it predicts as an MLP does, and is not trained."""

    sizes: tuple[int, ...]  # as of an MLP, and so are `activation` and `backend`
    activation: str
    bits: int  # of a weight, 8 or 4
    layers: list[IntegerLayer]
    grids: list[Grid] | None  # of the activations: [inputs, hidden layers...]; None where each row is measured
    backend: Any = None

    def __post_init__(self) -> None:
        self.sizes = tuple(self.sizes)
        self.backend = resolved(self.backend)
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
        """The same with a grid for each row and layer, so that a prediction does not depend on the other rows.

        Products are of whole numbers, all else is float32.
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
    def nbytes(self) -> int:
        """Bytes of weights (two in a byte where they have 4 bits), biases, scales, zero points and tables."""
        weights = sum(_code_bytes(inputs, outputs, self.bits) for inputs, outputs in pairwise(self.sizes))
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
            return cls(**_checked(arrays), backend=backend)
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


def _code_bytes(inputs: int, outputs: int, bits: int) -> int:
    """Bytes of the weight codes (inputs,outputs) of a layer, two of 4 bits in a byte."""
    return -(-inputs * bits // 8) * outputs


def _checked(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """What QuantizedMLP takes, of the arrays of a file; ValueError where they do not belong together."""
    sizes = [check_whole("sizes", size) for size in arrays["sizes"].tolist()]
    if len(sizes) < 2 or max(sizes) > WIDEST:
        raise ValueError(f"sizes {sizes}")
    activation, bits = str(arrays["activation"]), check_bits(arrays["bits"].item())
    check_choice("activation", activation, ACTIVATIONS)
    layers, outputs = len(sizes) - 1, sum(sizes[1:])
    static = len(arrays["grids"]) > 0
    bytes_of_layers = [_code_bytes(inputs, outputs, bits) for inputs, outputs in pairwise(sizes)]
    expected = {
        "grids": (np.float64, (layers if static else 0, 2)),
        "codes": (np.uint8, (sum(bytes_of_layers),)),
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
    steps, zeros = arrays["grids"].T
    if (arrays["scales"] <= 0).any() or (arrays["units"] == 0).any() or (steps <= 0).any():
        raise ValueError("a scale is not above zero")
    if not np.isin(zeros, range(LARGEST + 1)).all():
        raise ValueError("a zero point is not from 0 to 255")
    if static and np.abs(arrays["biases"].astype(np.int64)).max() > 2 * MOST_BIAS:
        raise ValueError("a bias is so large that sums could overflow")
    grids = [Grid(scale, int(zero)) for scale, zero in arrays["grids"].tolist()]
    ends = np.cumsum(sizes[1:-1])
    biases, units = np.split(arrays["biases"], ends), np.split(arrays["units"], ends)       # each (O,)
    packed = np.split(arrays["codes"], np.cumsum(bytes_of_layers[:-1]))
    made = []
    for k, (inputs, outputs) in enumerate(pairwise(sizes)):
        rows = packed[k].reshape(-1, outputs)
        codes = unpack_nibbles(rows, inputs) if bits == 4 else rows.view(np.int8)          # (I,O)
        table = arrays["tables"][k] if k < len(arrays["tables"]) else None
        made.append(IntegerLayer(codes, biases[k], units[k], arrays["scales"][k], int(arrays["zeros"][k]), table))
    return {"sizes": sizes, "activation": activation, "bits": bits, "layers": made, "grids": grids or None}
