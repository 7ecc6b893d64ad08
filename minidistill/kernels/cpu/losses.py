# SPDX-License-Identifier: MIT
"""The distillation loss of a batch of logits with its gradient, in one pass over each row."""

import math

import numpy as np
from numba import njit, prange

from ...support.checks import check_number, check_whole
from ..arguments import (
    are_alike,
    as_dtype,
    as_floats,
    as_labels,
    check_apart,
    check_changed_in_place,
    check_classes,
    check_dimensions,
    check_readable,
    check_shape,
    is_apart,
)
from ..threads import usable_threads
from . import arithmetic, blocks, simd
from .cache import kernel
from .row_loss import LossRecord, loss_of_lanes, loss_of_row
from .simd import at, lanes, pointer, store_first

FEW_CLASSES = 64
LOGITS_FOR_THREADS = 1 << 13  # below, waking another core takes longer than the rows


def loss_scratch_size(C, dtype, threads):
    """Numbers of scratch memory for `loss_rows`: two rows of terms a thread, and four arrays to turn few classes in."""
    turned = 6 * min(C, FEW_CLASSES) * simd.REGISTER_BYTES // np.dtype(dtype).itemsize
    return max(turned, 2 * C * threads)


@njit
def turn(rows, columns, source, stride, target, target_stride):
    """Writes the transpose of (rows, columns) numbers, as far as possible in squares; rows are a stride apart."""
    n = lanes(source)
    whole_rows, whole_columns = rows - rows % n, columns - columns % n
    for r in range(0, whole_rows, n):
        for c in range(0, whole_columns, n):
            blocks.copy_transposed(at(source, r * stride + c), stride, at(target, c * target_stride + r), target_stride)
    for r in range(rows):
        for c in range(whole_columns if r < whole_rows else 0, columns):
            target[c * target_stride + r] = source[r * stride + c]


@njit
def loss_of_few_classes(B, C, s, t, y, labels, ds, values, loss, order, scratch):
    n = lanes(s)
    turned_s, turned_t, turned_y = scratch, at(scratch, C * n), at(scratch, 2 * C * n)
    turned_ds, terms = at(scratch, 3 * C * n), at(scratch, 4 * C * n)
    for i in range(3 * C * n):
        scratch[i] = 0
    for b in range(0, B, n):
        rows = min(n, B - b)
        turn(rows, C, at(s, b * C), C, turned_s, n)
        for i in range(rows):
            row = order[b + i]
            if t.size:
                turn(1, C, pointer(t, row * C), C, at(turned_t, i), n)
            if y.size:
                turn(1, C, pointer(y, row * C), C, at(turned_y, i), n)
            if labels.size:
                turned_y[labels[row] * n + i] = 1
        value = loss_of_lanes(C * n, turned_s, turned_t, turned_y, -1, turned_ds, terms, loss)
        store_first(pointer(values, b), rows, value)
        turn(C, rows, turned_ds, n, at(ds, b * C), C)
        if labels.size:
            for i in range(rows):
                turned_y[labels[order[b + i]] * n + i] = 0


@njit
def loss_of_one(b, C, s, t, y, labels, ds, values, loss, order, scratch):
    row = order[b]
    label = labels[row] if labels.size else -1
    value = loss_of_row(C, at(s, b * C), pointer(t, row * C), pointer(y, row * C), label, at(ds, b * C), scratch, loss)
    values[b] = arithmetic.max_lanes(value)


@njit(parallel=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
def loss_rows(threads, B, C, s, t, y, labels, ds, values, loss, order, scratch):
    """The losses of rows s and, in ds, their gradients.

    Row b belongs to row order[b] of t, y and labels, which are empty where the loss does without them.
    """
    if C <= FEW_CLASSES:
        loss_of_few_classes(B, C, s, t, y, labels, ds, values, loss, order, scratch)
    elif threads == 1 or B * C < LOGITS_FOR_THREADS:
        for b in range(B):
            loss_of_one(b, C, s, t, y, labels, ds, values, loss, order, scratch)
    else:
        for share in prange(threads):
            for b in range(B * share // threads, B * (share + 1) // threads):
                loss_of_one(b, C, s, t, y, labels, ds, values, loss, order, at(scratch, share * 2 * C))


@kernel
def _distillation(s, t, y, labels, loss, threads, order, scratch, ds, values):
    B, C = s.shape
    for label in labels:
        if not 0 <= label < C:
            return False
    loss_rows(threads, B, C, pointer(s, 0), t, y, labels, pointer(ds, 0), values, loss, order, pointer(scratch, 0))
    return True


def _rows_of_logits(s, t, out):
    """s and t as the kernel reads them; refuses what does not belong together."""
    (s,) = as_floats(s=s)
    check_dimensions("s", s, "(B, C)")
    if s.size == 0:
        raise ValueError(f"s must have at least one row and one class, got {s.shape}")
    t = None if t is None else as_dtype("t", t, s.dtype)
    check_shape("t", t, s.shape)
    if out is not None:
        check_readable("out", out, s.dtype)
        check_shape("out", out, s.shape)
    return s, t


def check_loss_settings(alpha, temperature, label_smoothing=0.0, **arrays):
    """Refuses a loss of other settings, or without the labels or the teacher, in this order, that have a weight."""
    check_number("alpha", alpha, "[0, 1]")
    check_number("temperature", temperature, "(0, inf)")
    check_number("label_smoothing", label_smoothing, "[0, 1)")
    for (name, array), weight in zip(arrays.items(), (1 - alpha, alpha), strict=True):
        if array is None and weight > 0:
            raise ValueError(f"{name} must be given where alpha is {alpha:g}")


def distillation_loss(s, t=None, y=None, temperature=1.0, alpha=0.0, label_smoothing=0.0, *, threads=None, out=None):
    """(1-alpha) CE(s, y) + alpha T^2 KL(p || q) and its gradient ds (B,C), with no other array of that size.

    y: (B,) labels or (B,C) probabilities, None where alpha is 1; t: the teacher's logits (B,C), None where alpha is 0.
    out: an array like s for the gradient; where there are many classes, memory fresh from the system takes its time.
    """
    t, y = None if alpha == 0 else t, None if alpha == 1 else y
    if not (are_alike(s, t, out) and s.ndim == 2 and s.size):
        s, t = _rows_of_logits(s, t, out)
    (B, C), dtype = s.shape, s.dtype.type
    with_both = (t is not None or alpha == 0) and (y is not None or alpha == 1)
    if not (with_both and 0 <= alpha <= 1 and 0 < temperature < math.inf and 0 <= label_smoothing < 1):
        check_loss_settings(alpha, temperature, label_smoothing, y=y, t=t)
    nothing = np.empty((0, C), dtype)
    whole = y is not None and np.ndim(y) == 1
    labels = as_labels("y", np.asarray(y), B) if whole else np.empty(0, np.int64)
    if y is not None and not whole:
        y = as_dtype("y", y, dtype)
        check_shape("y", y, (B,), (B, C))
    if out is not None and not (out.flags.writeable and is_apart(out, s, t, y)):
        check_changed_in_place(out=out)
        check_apart("out", out, s=s, t=t, y=y)
    y, t = nothing if whole or y is None else y, nothing if t is None else t
    numbers = alpha, temperature, 1 / temperature, 1 - label_smoothing, label_smoothing / C, 1 / B
    loss = LossRecord(*map(dtype, numbers))
    threads = usable_threads() if threads is None else threads
    if type(threads) is not int or threads < 1:
        threads = check_whole("threads", threads)
    scratch = np.empty(loss_scratch_size(C, dtype, threads), dtype)
    ds, values = np.empty((B, C), dtype) if out is None else out, np.empty(B, dtype)
    if not _distillation(s, t, y, labels, loss, threads, np.arange(B), scratch, ds, values):
        check_classes("y", labels, C)
    return values.mean(), ds
