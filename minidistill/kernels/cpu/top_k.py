# SPDX-License-Identifier: MIT
"""Top-k targets: the loss of rows whose teacher names k classes and leaves the rest as one."""

import math

import numpy as np
from numba import njit, prange

from ..arguments import as_dtype, as_floats, check_classes, check_dimensions, check_shape
from ..threads import usable_threads
from . import arithmetic
from .cache import parallel_kernel
from .formulas import formula
from .losses import LOGITS_FOR_THREADS
from .simd import at, broadcast, lanes, load_first, pointer, store_first
from .softmax import exponentials_of_row, largest_of_row

SMALLEST = 1e-37  # the logarithm of a share of 0 is never taken


@njit
def top_k_row(b, s, indices, log_p, T, weight, ds, values):
    """values[b] = T^2 KL of row b between the k classes that the teacher names, the rest being one, and the student.

    The rest is summed from its own largest logit, not taken as what the named classes leave: it may be tiny.
    """
    C, k = s.shape[1], indices.shape[1]
    s, ds = pointer(s, b * C), pointer(ds, b * C)
    indices, log_p = pointer(indices, b * k), pointer(log_p, b * k)
    n = lanes(s)
    over_T = weight / weight / T
    for j in range(0, C, n):
        store_first(at(ds, j), C - j, load_first(at(s, j), C - j))
    top = broadcast(s, s[indices[0]])
    for i in range(k):
        top = max(top, broadcast(s, s[indices[i]]))
        ds[indices[i]] = -math.inf
    top_rest = largest_of_row(C, ds)
    top = max(top, top_rest)
    rest = exponentials_of_row(C, ds, top_rest, broadcast(s, over_T), ds)

    from_top = formula.exp(formula.scaled(top_rest, top, over_T))
    total, p_rest = rest * from_top, broadcast(s, 1)
    for i in range(k):
        total = total + formula.exp(formula.scaled(broadcast(s, s[indices[i]]), top, over_T))
        p_rest = p_rest - formula.exp(broadcast(s, log_p[i]))
    p_rest, log_total = max(p_rest, broadcast(s, 0)), formula.log(total)

    log_q_rest = formula.log(rest) + formula.log_softmax(top_rest, top, log_total, over_T)
    log_p_rest = formula.log(max(p_rest, broadcast(s, SMALLEST)))
    value = formula.soft_target(p_rest, rest * from_top / total, log_q_rest - log_p_rest)
    for j in range(0, C, n):
        e = load_first(at(ds, j), C - j)
        slope = formula.rest_backward(e * from_top / total, p_rest, e / rest, T)
        store_first(at(ds, j), C - j, slope * weight)
    for i in range(k):
        log_q = formula.log_softmax(broadcast(s, s[indices[i]]), top, log_total, over_T)
        one_log_p = broadcast(s, log_p[i])
        q, p = formula.exp(log_q), formula.exp(one_log_p)
        value = value + formula.soft_target(p, q, log_q - one_log_p)
        ds[indices[i]] = arithmetic.max_lanes(formula.soft_target_backward(q, p, T) * weight)
    values[b] = arithmetic.max_lanes(value) * T * T


@parallel_kernel
def _top_k(s, indices, log_p, T, weight, threads, ds, values):
    B, C = s.shape
    if threads == 1 or B * C < LOGITS_FOR_THREADS:
        for b in range(B):
            top_k_row(b, s, indices, log_p, T, weight, ds, values)
    else:
        for b in prange(B):
            top_k_row(b, s, indices, log_p, T, weight, ds, values)


def top_k_target_forward(s, indices, log_p, T):
    (s,), indices = as_floats(s=s), np.asarray(indices)
    check_dimensions("s", s, "(B, C)")
    (B, C), dtype = s.shape, s.dtype.type
    check_dimensions("indices", indices, "(B, k)")
    if indices.dtype.kind not in "iu":
        raise TypeError(f"indices must be whole numbers, got {indices.dtype}")
    if len(indices) != B or not 0 < indices.shape[1] < C:
        raise ValueError(f"indices must be some of the {C} classes for each of {B} rows, got {indices.shape}")
    check_classes("indices", indices, C)
    indices, log_p = np.ascontiguousarray(indices, np.int64), as_dtype("log_p", log_p, dtype)
    check_shape("log_p", log_p, indices.shape)
    ds, values = np.empty(s.shape, dtype), np.empty(B, dtype)
    _top_k(s, indices, log_p, dtype(T), dtype(1 / B), usable_threads(), ds, values)
    return values.mean(), ds
