# SPDX-License-Identifier: MIT
"""Norms and their limits: clipping of the gradient's norm, and of the norms of the columns of W."""

import math

import numpy as np
from numba import njit, prange

from ...support.checks import check_number
from ..arguments import check_changed_in_place, check_dimensions
from ..threads import usable_threads
from . import arithmetic
from .cache import kernel
from .formulas import formula
from .simd import at, broadcast, lanes, load_first, pointer, store_first
from .softmax import sum_of_row
from .updates import LARGE_LAYER

STRIPE = 4096  # a long sum is made of sums of this many numbers: float32 would lose digits in one long chain
TINY_STEP = 2.0**-64  # squares of gradients that explode overflow; those of gradients times this do not


@njit
def norm(dw, P):
    """The length of dw, P numbers, in every lane of a Vector."""
    squares = sum_of_squares(dw, P, broadcast(dw, 1))
    if math.isfinite(arithmetic.max_lanes(squares)):
        return arithmetic.square_root(squares)
    return arithmetic.square_root(sum_of_squares(dw, P, broadcast(dw, TINY_STEP))) / TINY_STEP


@njit
def sum_of_squares(dw, P, factor):
    total = broadcast(dw, 0)
    for start in range(0, P, STRIPE):
        end = min(P, start + STRIPE)
        part = broadcast(dw, 0)
        for i in range(start, end, lanes(dw)):
            g = load_first(at(dw, i), end - i) * factor
            part = part + g * g
        total = total + part
    return sum_of_row(total)


@njit
def clip(dw, P, limit):
    """Holds the norm of dw, P numbers, to the limit."""
    factor = formula.shrink(norm(dw, P), limit)
    for i in range(0, P, lanes(dw)):
        store_first(at(dw, i), P - i, load_first(at(dw, i), P - i) * factor)


@njit(forceinline=True)
def add_square(norms, w, j, left):
    old, new = load_first(at(norms, j), left), load_first(at(w, j), left)
    store_first(at(norms, j), left, old + new * new)


@njit(forceinline=True)
def multiply(norms, w, j, left):
    store_first(at(w, j), left, load_first(at(w, j), left) * load_first(at(norms, j), left))


@njit
def shrink_some_columns(begin, end, W, I, O, limit, norms):
    """Row by row, as the weights lie in memory; most often no norm is above the limit, and none is written."""
    n = lanes(W)
    whole = end - (end - begin) % n
    longest = zero = limit - limit  # a literal would have float32 computed in double
    for j in range(begin, end):
        norms[j] = zero
    for i in range(I):
        w = at(W, i * O)
        for j in range(begin, whole, n):
            add_square(norms, w, j, n)
        if whole < end:
            add_square(norms, w, whole, end - whole)
    for j in range(begin, end):
        norms[j] = math.sqrt(norms[j])
        longest = max(longest, norms[j])
    if longest <= limit:
        return
    for j in range(begin, end):
        norms[j] = formula.shrink(norms[j], limit)
    for i in range(I):
        w = at(W, i * O)
        for j in range(begin, whole, n):
            multiply(norms, w, j, n)
        if whole < end:
            multiply(norms, w, whole, end - whole)


@njit(parallel=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
def shrink_columns(threads, W, I, O, limit, norms):
    """Holds the column norms of W (I,O), a pointer, to the limit. `norms` has place for O numbers."""
    if threads == 1 or I * O < LARGE_LAYER:
        shrink_some_columns(0, O, W, I, O, limit, norms)
    else:
        for share in prange(threads):
            shrink_some_columns(O * share // threads, O * (share + 1) // threads, W, I, O, limit, norms)


@kernel
def _clip_norm(dw, limit):
    clip(pointer(dw, 0), dw.size, limit)


def _limit(limit, dtype):
    """`limit` in this dtype, whose largest number is no limit at all."""
    return dtype.type(min(check_number("limit", limit, "(0, inf)"), float(np.finfo(dtype).max)))


def clip_norm(dw, limit):
    check_changed_in_place(dw=dw)
    _clip_norm(dw, _limit(limit, dw.dtype))


@kernel
def _max_norm(threads, W, limit, norms):
    shrink_columns(threads, pointer(W, 0), W.shape[0], W.shape[1], limit, pointer(norms, 0))


def max_norm(W, limit):
    check_changed_in_place(W=W)
    check_dimensions("W", W, "(I, O)")
    _max_norm(usable_threads(), W, _limit(limit, W.dtype), np.empty(W.shape[1], W.dtype))
