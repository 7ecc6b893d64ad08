# SPDX-License-Identifier: MIT
"""Codes: the whole numbers that stand for activations and weights, and rounding to them (docs/guides/quantize.md).

Real numbers x stand behind codes q, whole numbers from 0 to 255: x is about scale * (q - zero). Weights have codes from
-127 to 127, or from -7 to 7, and a scale per output unit.
"""

from typing import Any, NamedTuple

import numpy as np

from ...support.checks import check_whole

TOP = {8: 127, 4: 7}  # bits: the largest weight code, as far up as down, so that no weight needs a zero point
LARGEST = 255  # code of an activation
SHRINKS = np.linspace(1.0, 0.3, 36)  # of a range, tried in turn where the mean square error decides
SMALLEST = 1e-30  # a scale or distance below it could vanish in float32
MOST_BIAS = 1 << 29
WIDEST = 1 << 14  # 255 * 127 * WIDEST < 2^29: with a bias, and with the zero point times the weights, below 2^31

# ---------------------------------------------------------------------------------------------- activations


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

    def rounded(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x on the grid, in its dtype, and what was rounded and not clipped."""
        return fake_quantize_forward(x, self.scale, *self.limits)


def fake_quantize_forward(x: np.ndarray, scale: Any, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
    """x (any shape) at whole multiples, from `low` to `high`, of scale () or (O,), and what was not clipped."""
    steps = np.rint(x / scale)                                                  # as x
    inside = (steps >= low) & (steps <= high)                                   # as x, bool
    return (scale * np.clip(steps, low, high)).astype(x.dtype), inside          # as x                    


def fake_quantize_backward(dy: np.ndarray, inside: Any) -> np.ndarray:
    """dx, as if rounding were the identity; what was clipped gets no gradient."""
    return np.asarray(dy * inside)                                              # as x                    


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


def least_scale(b: np.ndarray, inputs: Grid) -> float:
    """The scale of a layer's weights below which the code of a bias (O,) would be too large."""
    return float(np.abs(b).max() / (inputs.scale * MOST_BIAS))


def check_bits(bits: Any) -> int:
    if check_whole("bits", bits) not in TOP:
        raise ValueError(f"bits must be 8 or 4, got {bits}")
    return int(bits)
