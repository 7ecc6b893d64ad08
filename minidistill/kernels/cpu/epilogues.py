# SPDX-License-Identifier: MIT
"""What becomes of a block of a product while it is in the cache: the product's epilogue.

A `Finish` says which: store the block, add the bias and apply activation and dropout (forward), multiply by the slope
of the activation (backward), or update the weights. Activations cross memory once, and the weight gradients of a large
layer never.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from . import matmul, simd
from .activations import GELU, IDENTITY, RELU, TANH, activate, activate_backward
from .dropout import Mask, key_of_row, masked
from .matmul import internal
from .simd import at, lanes, load, load_first, store_first
from .updates import ADAM, SGD, Update, update_parameters

STORE, STORE_TURNED, FORWARD, BACKWARD, UPDATE = np.arange(5)


class Finish(NamedTuple):
    """What becomes of the blocks of a product, and where they go."""

    kind: int
    out: int           # a pointer: where row 0 begins of the result, or UPDATE: of the weights
    stride: int        # between rows of `out` and of the two below
    first: int         # a pointer. FORWARD: the bias; UPDATE: the first state of the optimizer
    second: int        # a pointer. FORWARD, BACKWARD: what the activation keeps; UPDATE: the optimizer's second state
    activation: int
    mask: Mask
    update: Update


@njit(forceinline=True)
def forward_vector(activation, place, column, key, z, left, finish):
    z = z + load_first(at(finish.first, column), left)
    a = activate(activation, z)
    if activation == GELU:
        store_first(at(finish.second, place), left, z)
    elif activation == TANH and finish.mask.active:
        store_first(at(finish.second, place), left, a)
    if finish.mask.active:
        a = masked(a, finish.mask, key, column)
    store_first(at(finish.out, place), left, a)


@njit(forceinline=True)
def backward_vector(activation, place, column, key, da, left, finish):
    if finish.mask.active:
        da = masked(da, finish.mask, key, column)
    kept = load_first(at(finish.second, place), left)
    store_first(at(finish.out, place), left, activate_backward(activation, da, kept))


@njit(forceinline=True)
def update_vector(optimizer, place, column, key, dw, left, finish):
    update_parameters(optimizer, place, finish.out, finish.first, finish.second, left, dw, finish.update)


@njit(forceinline=True)
def store_vector(choice, place, column, key, value, left, finish):
    store_first(at(finish.out, place), left, value)


def over_block(finish_vector, choice=None):
    """An epilogue that does finish_vector(choice, ...) to each Vector of a block.

    The choice is an activation or an optimizer. Where it is a constant, nothing is asked at each Vector, which would
    cost more than what is then done; and the usual block, two Vectors wide, goes without a loop and without masks.
    """

    @njit
    def finish_block(i, j, height, width, block, stride, place):
        finish = simd.value_at(place)
        chosen = finish.activation if choice is None else choice
        n = lanes(block)
        usual = choice is not None and width == 2 * n
        for r in range(height):
            start, row, key = (i + r) * finish.stride + j, at(block, r * stride), key_of_row(finish.mask, i + r)
            if usual:
                finish_vector(chosen, start, j, key, load(row), n, finish)
                finish_vector(chosen, start + n, j + n, key, load(at(row, n)), n, finish)
            else:
                for c in range(0, width, n):
                    finish_vector(chosen, start + c, j + c, key, load(at(row, c)), width - c, finish)

    return finish_block


finish_relu, finish_forward = over_block(forward_vector, RELU), over_block(forward_vector)
finish_relu_backward, finish_backward = over_block(backward_vector, RELU), over_block(backward_vector)
finish_sgd, finish_adam = over_block(update_vector, SGD), over_block(update_vector, ADAM)
finish_store = over_block(store_vector, IDENTITY)


@njit
def finish_turned(i, j, height, width, block, stride, place):
    """Row i.. and column j.. of the product are column i.. and row j.. of the result."""
    finish = simd.value_at(place)
    for c in range(width):
        row = at(finish.out, (j + c) * finish.stride + i)
        for r in range(height):
            row[r] = block[r * stride + c]


@internal
def finish_block(i, j, height, width, block, stride, place):
    """What the Finish at `place` says: a pointer, for copies of all its fields would cost every block."""
    finish = simd.value_at(place)
    kind, relu = finish.kind, finish.activation == RELU
    if kind == FORWARD and relu:
        finish_relu(i, j, height, width, block, stride, place)
    elif kind == FORWARD:
        finish_forward(i, j, height, width, block, stride, place)
    elif kind == BACKWARD and relu:
        finish_relu_backward(i, j, height, width, block, stride, place)
    elif kind == BACKWARD:
        finish_backward(i, j, height, width, block, stride, place)
    elif kind == STORE:
        finish_store(i, j, height, width, block, stride, place)
    elif kind == STORE_TURNED:
        finish_turned(i, j, height, width, block, stride, place)
    elif finish.update.optimizer == SGD:
        finish_sgd(i, j, height, width, block, stride, place)
    else:
        finish_adam(i, j, height, width, block, stride, place)


@njit
def announce_line(p, start, last):
    simd.prefetch(at(p, start))
    simd.prefetch(at(p, start + last))


@internal
def announce_block(i, j, height, place):
    """An update reads weights and the optimizer's state, which in a large layer are far away."""
    finish = simd.value_at(place)
    if finish.kind == UPDATE:
        last = 2 * lanes(finish.out) - 1  # a row of a block may lie on two cache lines
        for r in range(height):
            start = (i + r) * finish.stride + j
            announce_line(finish.out, start, last)
            announce_line(finish.first, start, last)
            if finish.update.optimizer == ADAM:
                announce_line(finish.second, start, last)


product = matmul.make_product(finish_block, announce_block)
UNIT = np.int64(1)  # the stride along a row
