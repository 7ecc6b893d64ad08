# SPDX-License-Identifier: MIT
"""Activations: of the Vectors in a product's epilogue, and of whole arrays."""

import numpy as np
from numba import njit

from ..arguments import as_floats, check_shape
from .cache import kernel
from .formulas import formula
from .simd import lanes, load_first, pointer, store_first

IDENTITY, RELU, TANH, GELU = np.arange(4)  # int64: a Python constant would have numba compile a version for each value
ACTIVATIONS = {"relu": RELU, "tanh": TANH, "gelu": GELU}


@njit(forceinline=True)
def activate(activation, z):
    if activation == RELU:
        return formula.relu(z)
    if activation == TANH:
        return formula.tanh(z)
    if activation == GELU:
        return formula.gelu(z)
    return z


@njit(forceinline=True)
def activate_backward(activation, da, kept):
    """dz, from what the activation kept: z for GELU, its output for the others."""
    if activation == RELU:
        return formula.relu_backward(da, kept)
    if activation == TANH:
        return formula.tanh_backward(da, kept)
    if activation == GELU:
        return formula.gelu_backward(da, kept)
    return da


@kernel
def _activate(activation, z, out):
    for i in range(0, z.size, lanes(pointer(z, 0))):
        left = z.size - i
        store_first(pointer(out, i), left, activate(activation, load_first(pointer(z, i), left)))


@kernel
def _activate_backward(activation, da, kept, out):
    for i in range(0, da.size, lanes(pointer(da, 0))):
        left = da.size - i
        dz = activate_backward(activation, load_first(pointer(da, i), left), load_first(pointer(kept, i), left))
        store_first(pointer(out, i), left, dz)


def activation(name, z):
    (z,) = as_floats(z=z)
    a = np.empty_like(z)
    _activate(ACTIVATIONS[name], z, a)
    return a


def activation_backward(name, da, **kept):
    da, kept = as_floats(da=da, **kept)
    check_shape("da", da, kept.shape)
    dz = np.empty_like(da)
    _activate_backward(ACTIVATIONS[name], da, kept, dz)
    return dz
