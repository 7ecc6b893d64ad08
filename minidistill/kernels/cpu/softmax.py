# SPDX-License-Identifier: MIT
"""Reductions over rows of logits, and softmax and log-softmax with their backward passes.

A row of many classes is read Vector by Vector, and at its end a sum or a maximum is taken across the lanes. Rows of few
classes are transposed first, so that a lane holds a row and a Vector the same class of several: nothing crosses lanes,
and the exponentials of eight rows are under way at the same time. The loops are the same, and so are the formulas.
"""

import numpy as np
from numba import njit

from ..arguments import as_floats, check_dimensions, check_shape
from .arithmetic import first, max_lanes, sum_lanes
from .cache import kernel
from .formulas import formula
from .simd import at, broadcast, lanes, load, load_first, over_row, pointer, store_first

FAR = 64.0  # bits that a term may be above what it is relative to; beyond, row_loss.py takes the row's largest


def make_reductions(rows_in_lanes):
    @njit
    def sum_of_row(v):
        """The sum of all numbers of a row, in every lane."""
        return v if rows_in_lanes else broadcast(v, sum_lanes(v))

    @njit
    def largest(length, s):
        n = lanes(s)
        top = load(s) if rows_in_lanes else broadcast(s, s[0])
        for j in range(0, length - n + 1, n):
            top = max(load(at(s, j)), top)
        if rows_in_lanes:
            return top
        most = max_lanes(top)
        for j in range(length - length % n, length):
            most = max(s[j], most)
        return broadcast(s, most)

    @njit(forceinline=True)
    def term(bits):
        return formula.exp2(bits if rows_in_lanes else min(bits, FAR))

    @njit(forceinline=True)
    def add_term(j, left, total, s, top, over_T, out):
        e = term(formula.in_bits(load_first(at(s, j), left), top, over_T))
        store_first(at(out, j), left, e)
        return total + first(e, left)

    @njit
    def exponentials(length, s, top, over_T, out):
        """Writes the terms exp((s - top) / T) to out; returns their sum over each row. over_T is a Vector, as top."""
        return sum_of_row(over_row(add_term, length, lanes(s), broadcast(s, 0), s, top, over_T, out))

    return sum_of_row, largest, term, exponentials


sum_of_row, largest_of_row, _, exponentials_of_row = make_reductions(rows_in_lanes=False)


@kernel
def _softmax(s, over_T, out, logarithm):
    B, C = s.shape
    n = lanes(pointer(s, 0))
    for b in range(B):
        row, to = pointer(s, b * C), pointer(out, b * C)
        top = largest_of_row(C, row)
        total = exponentials_of_row(C, row, top, broadcast(row, over_T), to)
        log_total = formula.log(total)
        for j in range(0, C, n):
            if logarithm:
                q = formula.log_softmax(load_first(at(row, j), C - j), top, log_total, over_T)
            else:
                q = formula.softmax(load_first(at(to, j), C - j), total)
            store_first(at(to, j), C - j, q)


@kernel
def _softmax_backward(dq, q, over_T, out, logarithm):
    B, C = q.shape
    n = lanes(pointer(q, 0))
    for b in range(B):
        total = broadcast(pointer(q, 0), 0)
        for j in range(0, C, n):
            d, p = load_first(pointer(dq, b * C + j), C - j), load_first(pointer(q, b * C + j), C - j)
            total = total + (d if logarithm else d * p)
        total = sum_of_row(total)
        for j in range(0, C, n):
            d, p = load_first(pointer(dq, b * C + j), C - j), load_first(pointer(q, b * C + j), C - j)
            if logarithm:
                ds = formula.log_softmax_backward(d, p, total, over_T)
            else:
                ds = formula.softmax_backward(d, p, total, over_T)
            store_first(pointer(out, b * C + j), C - j, ds)


def softmax_rows(logarithm, direction, T, **arrays):
    arrays, names = as_floats(**arrays), list(arrays)
    check_dimensions(names[0], arrays[0], "(B, C)")
    for name, array in zip(names, arrays, strict=True):
        check_shape(name, array, arrays[0].shape)
    if arrays[0].shape[1] == 0:
        raise ValueError(f"{names[0]} must have at least one class, got {arrays[0].shape}")
    out = np.empty_like(arrays[0])
    rows = _softmax if direction == "forward" else _softmax_backward
    rows(*arrays, out.dtype.type(1 / T), out, logarithm)
    return out
