# SPDX-License-Identifier: MIT
"""Dropout: the mask as a pure function of (seed, step, layer, row, unit), of Vectors and of whole arrays."""

from typing import NamedTuple

import numpy as np
from numba import njit

from ...support.checks import check_number
from ..arguments import FLOATS, as_floats, check_dimensions
from .arithmetic import count_up
from .cache import kernel
from .formulas import formula
from .simd import broadcast, lanes, pointer, store_first

hash32, keep = formula.hash32, formula.keep


class Mask(NamedTuple):
    """The dropout of one layer at one step."""

    active: bool
    key: int           # the hash of seed, step and layer
    threshold: int     # a unit is kept where its 32 hashed bits reach this
    scale: float       # 1 / (1 - rate)


@njit
def make_mask(rate, seed, step, layer, dtype_of):
    """The Mask for a dropout rate; its scale has the dtype of the array `dtype_of`."""
    key = hash32(np.uint64(seed))
    key = hash32(key + np.uint64(step))
    key = hash32(key + np.uint64(layer))
    one = dtype_of.dtype.type(1)
    return Mask(rate > 0, key, np.uint32(rate * 4294967296.0), one / dtype_of.dtype.type(1 - rate))


@njit
def key_of_row(mask, row):
    """What the row adds to the hash of its units; 0 where nothing is dropped."""
    return hash32(mask.key + np.uint64(row)) if mask.active else np.uint64(0)


@njit
def masked(value, mask, key, column):
    """The Vector `value`, which starts at this column of the row with this key, after dropout."""
    return keep(value, hash32(count_up(value, column) + key), mask.threshold, mask.scale)


@kernel
def _dropout_mask(rate, seed, step, layer, out):
    B, O = out.shape
    mask = make_mask(rate, seed, step, layer, out)
    ones = broadcast(pointer(out, 0), 1)
    for b in range(B):
        key = key_of_row(mask, b)
        for j in range(0, O, lanes(ones)):
            store_first(pointer(out, b * O + j), O - j, masked(ones, mask, key, j))


def dropout_mask(shape, rate, seed, step, layer, dtype=np.float32):
    if np.dtype(dtype) not in FLOATS:
        raise TypeError(f"dtype must be float32 or float64, got {np.dtype(dtype)}")
    check_number("rate", rate, "[0, 1)")
    mask = np.empty(shape, dtype)
    check_dimensions("shape", mask, "(B, O)")
    _dropout_mask(float(rate), seed & 0xFFFFFFFF, step & 0xFFFFFFFF, layer & 0xFFFFFFFF, mask)
    return mask


def dropout_forward(a, rate, seed, step, layer):
    (a,) = as_floats(a=a)
    check_dimensions("a", a, "(B, O)")
    mask = dropout_mask(a.shape, rate, seed, step, layer, a.dtype)
    return a * mask, mask


def dropout_backward(da, mask):
    return da * mask
