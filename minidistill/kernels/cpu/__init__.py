# SPDX-License-Identifier: MIT
"""The numba backend: the names of ops.py, compiled; and whole passes and whole epochs in one call.

No formula stands here. rows.py has them, matmul.py has the products; this file brings the numbers to them:

    1  the formulas, compiled for Vectors
    2  products and what is done to their blocks: bias and activation, the slope, the update of the weights
    3  rows of logits: softmax and the losses
    4  the passes of a network over flat vectors, and `train_steps`, a loop of them
    5  what ops.py exports, under the same names

Why a whole epoch in one call: a small network takes a few microseconds a step, and a call into compiled code costs 45
nanoseconds an array. And why fused: what a product leaves in the cache is finished there, so that activations cross
memory once, and weight gradients, in training without clipping, not at all.

Sizes are data here, not types: one compilation serves every depth and width.
"""

import math
import threading
from functools import lru_cache
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
from numba import njit, prange, types
from numba.extending import overload

from ...ops import kl_terms, one_hot  # noqa: F401  (a backend exports all names of ops)
from ...support.checks import as_tuple, check_choice, check_no_overflow, check_number, check_whole
from .. import aligned_zeros, rows
from ..arguments import (
    FLOATS,
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
    check_written,
    is_apart,
)
from ..threads import count_in_memory, guarded, usable_threads
from . import matmul, simd
from .cache import kept_on_disk
from .matmul import NEVER, WHERE_IT_PAYS, count_blocks, internal
from .simd import at, broadcast, first, lanes, load, load_first, pointer, store_first

kernel = lambda function: guarded(kept_on_disk(njit(function)))  # noqa: E731  a compiled function that Python calls

# numba compiles, optimizes and links each function with all that it calls. A large one that is used in two or three
# kernels costs less as text that each of them repeats.
part_of_a_kernel = njit(inline="always")

# ----------------------------------------------------------------------------------------------------- 1  the formulas


def by_dtype(single, double):
    """A function of one Vector: `single` where it holds float32, `double` where it holds float64."""

    def choose(x):
        raise NotImplementedError("for compiled code")

    @overload(choose, strict=False)
    def _choose(x):
        chosen = single if x.dtype == types.float32 else double
        return lambda x: chosen(x)

    return choose


@njit
def within_single(x):
    return max(min(x, rows.LIMIT_SINGLE), -rows.LIMIT_SINGLE)


@njit
def within_double(x):
    return max(min(x, rows.LIMIT_DOUBLE), -rows.LIMIT_DOUBLE)


@njit
def not_below_single(x):
    return max(x, rows.LOWEST_SINGLE)


@njit
def not_below_double(x):
    return max(x, rows.LOWEST_DOUBLE)


formula = rows.compiled(
    njit,
    square_root=simd.square_root,
    nearest=simd.nearest,
    power_of_two=simd.power_of_two,
    exponent=simd.exponent,
    where_positive=simd.where_positive,
    choose_positive=simd.choose_positive,
    where_at_least=simd.where_at_least,
    curve=by_dtype(njit(rows.curve_single), njit(rows.curve_double)),
    series2=by_dtype(njit(rows.series2_single), njit(rows.series2_double)),
    odd_series=by_dtype(njit(rows.odd_series_single), njit(rows.odd_series_double)),
    within_range=by_dtype(within_single, within_double),
    not_below_range=by_dtype(not_below_single, not_below_double),
    **{name: np.uint64(getattr(rows, name)) for name in ("WORD", "MIX_1", "MIX_2", "SHIFT_15", "SHIFT_16")},
)
hash32, keep = formula.hash32, formula.keep

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
    return keep(value, hash32(simd.count_up(value, column) + key), mask.threshold, mask.scale)


# ------------------------------------------------------------------------------ 2  products, and what becomes of blocks


SGD, ADAM = np.arange(2)


class Update(NamedTuple):
    """One step of an optimizer. All numbers have the dtype of the parameters."""

    optimizer: int
    rate: float
    weight_decay: float
    momentum: float
    nesterov: bool
    beta1: float
    beta2: float
    epsilon: float
    correction1: float
    correction2: float


@njit(forceinline=True)
def update_parameters(optimizer, w, states, left, dw, update):
    """One Vector of parameters, of which `left` lanes count, and what the optimizer remembers of them."""
    (first_state, second_state), old = states, load_first(w, left)
    if optimizer == SGD:
        v = load_first(first_state, left)
        new, v = formula.sgd(old, dw, v, update.rate, update.momentum, update.nesterov, update.weight_decay)
        store_first(first_state, left, v)
    else:
        m, v = load_first(first_state, left), load_first(second_state, left)
        rate, beta1, beta2 = broadcast(w, update.rate), broadcast(w, update.beta1), broadcast(w, update.beta2)
        new, m, v = formula.adam(
            old, dw, m, v, rate, update.correction1, update.correction2,
            beta1, beta2, update.epsilon, update.weight_decay,
        )  # fmt: skip
        store_first(first_state, left, m)
        store_first(second_state, left, v)
    store_first(w, left, new)


@njit
def update_flat(P, w, dw, first_state, second_state, update):
    """P parameters, from their gradients and what the optimizer remembers; all are pointers."""
    n, optimizer = lanes(w), update.optimizer
    whole = P - P % n
    for i in range(0, whole, n):
        states = at(first_state, i), at(second_state, i)
        update_parameters(optimizer, at(w, i), states, n, load(at(dw, i)), update)
    if whole < P:
        i, left = whole, P - whole
        states = at(first_state, i), at(second_state, i)
        update_parameters(optimizer, at(w, i), states, left, load_first(at(dw, i), left), update)


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
    states = at(finish.first, place), at(finish.second, place)
    update_parameters(optimizer, at(finish.out, place), states, left, dw, finish.update)


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
LARGE_LAYER = 1 << 17  # weights: from here on, gradients are not written to memory and read again, but used at once
UNIT = np.int64(1)  # the stride along a row


# ---------------------------------------------------------------------------------------------------- 3  rows of logits


# A row of many classes is read Vector by Vector, and at its end a sum or a maximum is taken across the lanes. Rows of
# few classes are turned first, so that a lane holds a row and a Vector the same class of several: nothing crosses
# lanes, and the exponentials of eight rows are under way at the same time. The loops are the same, and so are the
# formulas.
#
# All terms exp((s - top) / T) of a row are relative to one number, which cancels in the end. The textbook takes the
# largest logit, and walks over the row to find it. But any number will do that is not so far below the largest that a
# sum overflows: of a long row a glance finds one nearly always, and memory is read once, while the core computes.


class Loss(NamedTuple):
    """(1-alpha) CE(s, y) + alpha T^2 KL(p || q). All numbers have the dtype of the logits."""

    alpha: float
    temperature: float
    over_temperature: float
    kept: float        # of a label, 1 - e, by label smoothing
    spread: float      # e / C
    weight: float      # 1 / B


GLANCE = 512           # numbers of a long row whose largest is taken for that of all,
FAR = 64.0             # until a term shows to be more than so many bits above it; then the row is looked at whole
TOO_LARGE = 2.0**FAR   # for terms and their sums, which end far below the largest float32, 2**128
NEAR_MATCH = 1 / 512   # a divergence below is what large sums leave, and is summed again from small terms


def make_reductions(rows_in_lanes):
    @njit
    def sum_of_row(v):
        """The sum of all numbers of a row, in every lane."""
        return v if rows_in_lanes else broadcast(v, simd.sum_lanes(v))

    @njit
    def largest(length, s):
        n = lanes(s)
        top = load(s) if rows_in_lanes else broadcast(s, s[0])
        for j in range(0, length - n + 1, n):
            top = max(load(at(s, j)), top)
        if rows_in_lanes:
            return top
        most = simd.max_lanes(top)
        for j in range(length - length % n, length):
            most = max(s[j], most)
        return broadcast(s, most)

    @njit(forceinline=True)
    def term(bits):
        return formula.exp2(bits if rows_in_lanes else min(bits, FAR))

    @njit(forceinline=True)
    def term_of_vector(j, left, s, top, over_T, out):
        e = term(formula.in_bits(load_first(at(s, j), left), top, over_T))
        store_first(at(out, j), left, e)
        return first(e, left)

    @njit
    def exponentials(length, s, top, over_T, out):
        """Writes the terms exp((s - top) / T) to out; returns their sum over each row. over_T is a Vector, as top."""
        n = lanes(s)
        total = broadcast(s, 0)
        whole = length - length % n
        for j in range(0, whole, n):
            total = total + term_of_vector(j, n, s, top, over_T, out)
        if whole < length:
            total = total + term_of_vector(whole, length - whole, s, top, over_T, out)
        return sum_of_row(total)

    return sum_of_row, largest, term, exponentials


@njit(forceinline=True)
def squared(x, times):
    if times > 0:
        x = x * x
    if times > 1:
        x = x * x
    return x


def make_loss(rows_in_lanes):
    sum_of_row, largest, term, exponentials = make_reductions(rows_in_lanes)

    @njit(forceinline=True)
    def add_terms(j, left, rows, tops, over_T, squarings, sums):
        (s, t, soft, teacher, ds), (top, top_t), (total, soft_total, total_t, apart) = rows, tops, sums
        if not rows_in_lanes:
            simd.prefetch(at(ds, j))  # memory is idle here; where ds is written, it is all that is waited for
        bits = formula.in_bits(load_first(at(s, j), left), top, over_T)
        bits_t = formula.in_bits(load_first(at(t, j), left), top_t, over_T)
        e, e_t = term(bits), term(bits_t)
        store_first(at(soft, j), left, e)
        store_first(at(teacher, j), left, e_t)
        total = total + first(squared(e, squarings), left)
        soft_total, total_t = soft_total + first(e, left), total_t + first(e_t, left)
        return total, soft_total, total_t, apart + first(e_t * (bits_t - bits), left)

    @njit
    def soft_terms(length, rows, tops, over_T, squarings):
        """Writes the terms at T of s and t to soft and teacher. `rows` are these four and ds, which is written later.

        Returns four sums: of the student's terms, squared so many times; of these terms; of the teacher's; and of how
        far the two are apart.
        """
        n, zero = lanes(rows[0]), broadcast(rows[0], 0)
        sums = zero, zero, zero, zero
        whole = length - length % n
        for j in range(0, whole, n):
            sums = add_terms(j, n, rows, tops, over_T, squarings, sums)
        if whole < length:
            sums = add_terms(whole, length - whole, rows, tops, over_T, squarings, sums)
        return sum_of_row(sums[0]), sum_of_row(sums[1]), sum_of_row(sums[2]), sum_of_row(sums[3])

    @njit(forceinline=True)
    def add_changes(j, left, rows, tops_apart, over_T, shift, ratio, sums):
        (s, t, soft, teacher), (curves, changes) = rows, sums
        d = formula.log_ratio(load_first(at(s, j), left), load_first(at(t, j), left), tops_apart, over_T, shift)
        e, e_t = load_first(at(soft, j), left) * ratio, load_first(at(teacher, j), left)
        change = formula.change(e_t, e, d)
        store_first(at(teacher, j), left, change)
        return curves + first(formula.soft_target(e_t, e, d), left), changes + first(change, left)

    @njit
    def near_match(length, rows, tops, over_T, shift, total, total_t):
        """The divergence of rows that nearly match, and the mean of q / p - 1, which is 0 but for rounding.

        Replaces the teacher's terms by their change to the student's: the gradient is a difference as well.
        """
        n, zero = lanes(rows[0]), broadcast(rows[0], 0)
        sums, tops_apart, ratio = (zero, zero), tops[0] - tops[1], total_t / total
        whole = length - length % n
        for j in range(0, whole, n):
            sums = add_changes(j, n, rows, tops_apart, over_T, shift, ratio, sums)
        if whole < length:
            sums = add_changes(whole, length - whole, rows, tops_apart, over_T, shift, ratio, sums)
        curves, changes = sum_of_row(sums[0]) / total_t, sum_of_row(sums[1]) / total_t
        return formula.soft_target_near_match(curves, changes), changes

    @njit(forceinline=True)
    def combine_vector(j, left, rows, squarings, factors, out):
        (hard, soft, teacher), (of_hard, of_soft, of_teacher) = rows, factors
        rest = load_first(at(soft, j), left) * of_soft + load_first(at(teacher, j), left) * of_teacher
        store_first(at(out, j), left, squared(load_first(at(hard, j), left), squarings) * of_hard + rest)

    @njit
    def combine(length, rows, squarings, factors, out):
        """out = the sum of three rows of terms, the first squared so many times, each times its factor."""
        n = lanes(out)
        whole = length - length % n
        for j in range(0, whole, n):
            combine_vector(j, n, rows, squarings, factors, out)
        if whole < length:
            combine_vector(whole, length - whole, rows, squarings, factors, out)

    @njit
    def add_targets(length, s, top, log_total, y, label, share, ds, loss):
        """Adds to ds the `share` of each target, which is negative; returns their cross-entropy."""
        n = lanes(s)
        value, zero, one = broadcast(s, 0), broadcast(s, 0), broadcast(s, 1)
        if label >= 0 and loss.spread == 0:  # all targets but one are zero
            ds[label] += simd.max_lanes(share)
            return formula.cross_entropy(one, formula.log_softmax(broadcast(s, s[label]), top, log_total, one))
        for j in range(0, length, n):
            left = length - j
            target = simd.one_hot(zero, j, label) if label >= 0 else load_first(at(y, j), left)
            target = formula.smoothed(target, loss.kept, loss.spread)
            log_q = formula.log_softmax(load_first(at(s, j), left), top, log_total, one)
            value = value + first(formula.cross_entropy(target, log_q), left)
            store_first(at(ds, j), left, load_first(at(ds, j), left) + target * share)
        return sum_of_row(value)

    @njit
    def loss_of(length, s, t, y, label, ds, scratch, loss):
        """The loss of a row, or of each row in the lanes; writes the gradient to ds. y holds targets if label is -1.

        The gradient is linear in the probabilities, each of which is a term over its total: so the formulas are asked
        once a row what a term is worth, and the elements are sums of products.
        """
        zero, one, over_T = broadcast(s, 0), broadcast(s, 1), broadcast(s, loss.over_temperature)
        T, alpha, weight = loss.temperature, broadcast(s, loss.alpha), broadcast(s, loss.weight)
        with_labels, with_teacher = loss.alpha < 1, loss.alpha > 0
        by_squaring = with_teacher and (T == 1 or T == 2 or T == 4)  # exp(s) is exp(s/2) squared
        squarings = int(T) // 2 if with_labels and by_squaring else 0
        hard, soft, teacher = ds, scratch, at(scratch, length)
        if with_teacher and (by_squaring or not with_labels):
            hard = soft
        if not with_teacher:  # a row without terms is read all the same, and its factor is zero: any numbers will do
            soft, teacher = hard, hard

        total, soft_total, total_t, apart, top_t = one, one, one, zero, zero
        seen = length if rows_in_lanes else min(length, GLANCE)
        while True:
            top = largest(seen, s)
            if with_teacher:
                top_t = largest(seen, t)
                rows, tops = (s, t, soft, teacher, ds), (top, top_t)
                total, soft_total, total_t, apart = soft_terms(length, rows, tops, over_T, squarings)
            if with_labels and not by_squaring:
                total = exponentials(length, s, top, one, hard)
            if seen == length or simd.max_lanes(max(total, max(soft_total, total_t))) < TOO_LARGE:
                break
            seen = length

        log_total, value, teacher_value = zero, zero, zero
        if with_labels:
            log_total = formula.log(total)
        q_of_term, p_of_term = weight / soft_total, weight / total_t
        if with_teacher:
            shift = formula.log(soft_total / total_t)
            teacher_value = formula.soft_target_of_row(apart, total_t, shift)
            if (-simd.max_lanes(-teacher_value) if rows_in_lanes else simd.lane_0(teacher_value)) < NEAR_MATCH:
                rows, tops = (s, t, soft, teacher), (top, top_t)
                teacher_value, change = near_match(length, rows, tops, over_T, shift, soft_total, total_t)
                q_of_term, p_of_term = -change * q_of_term, -p_of_term  # q - p is the terms' change, less change * q
        of_hard = formula.both(alpha, formula.cross_entropy_backward(weight / total, zero), zero)
        of_soft = formula.both(alpha, zero, formula.soft_target_backward(q_of_term, zero, T))
        of_teacher = formula.both(alpha, zero, formula.soft_target_backward(zero, p_of_term, T))
        combine(length, (hard, soft, teacher), squarings, (of_hard, of_soft, of_teacher), ds)
        if with_labels:
            share = formula.both(alpha, formula.cross_entropy_backward(zero, weight), zero)
            value = add_targets(length, s, top, log_total, y, label, share, ds, loss)
        return formula.both(alpha, value, T * T * teacher_value)

    return loss_of


sum_of_row, largest_of_row, _, exponentials_of_row = make_reductions(rows_in_lanes=False)
loss_of_row = make_loss(rows_in_lanes=False)
loss_of_lanes = make_loss(rows_in_lanes=True)
FEW_CLASSES = 64
LOGITS_FOR_THREADS = 1 << 13  # below, waking another core takes longer than the rows


def loss_scratch_size(C, dtype, threads):
    """Numbers of scratch memory for `loss_rows`: two rows of terms a thread, and four arrays to turn few classes in."""
    turned = 6 * min(C, FEW_CLASSES) * simd.REGISTER_BYTES // np.dtype(dtype).itemsize
    return max(turned, 2 * C * threads)


@njit
def turn(rows, columns, source, stride, target, target_stride):
    """Writes the transpose of (rows, columns) numbers; the rows of the source are `stride` apart."""
    n = lanes(source)
    squares = columns - columns % n if rows == n else 0
    for c in range(0, squares, n):
        simd.copy_transposed(at(source, c), stride, at(target, c * target_stride), target_stride)
    for r in range(rows):
        for c in range(squares, columns):
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
        for c in range(0, C - C % n if rows == n else 0, n):
            simd.copy_transposed(at(turned_ds, c * n), n, at(ds, b * C + c), C)
        for i in range(rows):
            for c in range(C - C % n if rows == n else 0, C):
                ds[(b + i) * C + c] = turned_ds[c * n + i]
            if labels.size:
                turned_y[labels[order[b + i]] * n + i] = 0


@njit
def loss_of_one(b, C, s, t, y, labels, ds, values, loss, order, scratch):
    row = order[b]
    label = labels[row] if labels.size else -1
    value = loss_of_row(C, at(s, b * C), pointer(t, row * C), pointer(y, row * C), label, at(ds, b * C), scratch, loss)
    values[b] = simd.max_lanes(value)


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


# ------------------------------------------------------------------------------------------- 4  the passes of a network


class Plan(NamedTuple):
    """What the compiled passes of one network know and use, for batches of up to `batch` rows."""

    sizes: np.ndarray       # (L+1,) int64: inputs, hidden units, classes
    outputs: np.ndarray     # (L+1,) int64: where in memory the batch's activations of each layer are; 0 the inputs
    kept: np.ndarray        # (L+1,) int64: what the activations keep for the backward pass; often the same place
    dropout: np.ndarray     # (L+1,) float64: a rate for what each layer takes in; the last is not used
    memory: np.ndarray      # (.,) all numbers that are not parameters
    errors: tuple           # two places in memory: dz of a layer and of the one below
    values: int             # a place in memory: the loss of each row
    scratch: int            # a place in memory: for matmul.py and the loss
    activation: int
    seed: int
    batch: int
    threads: int


class PackedPlan(NamedTuple):
    """A Plan as Python holds it: to hand over two arrays takes 0.1 microseconds, the Plan as it is would take 3."""

    arrays: tuple           # all whole numbers of the Plan, with the bits of the dropout rates as one row; its memory
    classes: int

    def unpacked(self):
        return unpack.py_func(*self.arrays)


@njit
def unpack(numbers, memory):
    threads, above, below, values, scratch, activation, seed, batch = numbers[:8]
    outputs, kept, sizes, rates = numbers[8:].reshape(4, -1)
    errors = above, below
    dropout = rates.view(np.float64)
    return Plan(sizes, outputs, kept, dropout, memory, errors, values, scratch, activation, seed, batch, threads)


def _check_plan(sizes, activation, dropout, seed, batch, dtype, threads):
    """Refuses what no memory can be planned for."""
    sizes = as_tuple("sizes", sizes, "at least two whole numbers, inputs to classes")
    if len(sizes) < 2:
        raise ValueError(f"sizes must be at least two numbers, inputs to classes, got {sizes}")
    for name, number in (*(("sizes", size) for size in sizes), ("batch", batch), ("threads", threads)):
        check_whole(name, number)
    check_whole("seed", seed, minimum=0)
    check_choice("activation", activation, tuple(ACTIVATIONS))
    if dtype not in FLOATS:
        raise TypeError(f"dtype must be float32 or float64, got {np.dtype(dtype)}")
    dropout = as_tuple("dropout", dropout, "a list of one rate for each layer")
    if len(dropout) != len(sizes) - 1:
        raise ValueError(f"dropout must hold a rate for each of {len(sizes) - 1} layers, got {len(dropout)}")
    for rate in dropout:
        check_number("dropout", rate, "[0, 1)")


def plan(sizes, activation="relu", dropout=None, seed=0, batch=128, dtype=np.float32, threads=None):
    """A network's plan, made once; `dropout` holds a rate for each layer, `threads` says how many cores (else all)."""
    threads = usable_threads() if threads is None else threads
    try:
        dropout = (0.0,) * (len(sizes) - 1) if dropout is None else tuple(dropout)
        numbers, end = _layout(tuple(sizes), activation, dropout, seed, batch, np.dtype(dtype), threads)
    except TypeError:  # what is no list, or cannot be hashed
        _check_plan(sizes, activation, dropout, seed, batch, dtype, threads)
        raise
    return PackedPlan((numbers, aligned_zeros(end, dtype)), int(sizes[-1]))


@lru_cache(maxsize=256)  # a training loop in Python makes a plan for each step
def _layout(sizes, activation, dropout, seed, batch, dtype, threads):
    """The whole numbers of a plan, and how many numbers of memory it takes."""
    _check_plan(sizes, activation, dropout, seed, batch, dtype, threads)
    layers = len(sizes) - 1
    outputs, kept, end = np.zeros(layers + 1, np.int64), np.zeros(layers + 1, np.int64), 0

    def take(numbers):
        nonlocal end
        start, end = end, end + -(-numbers // 16) * 16
        return start

    for k, size in enumerate(sizes):
        outputs[k] = kept[k] = take(batch * size)
        hidden = 0 < k < layers
        if hidden and (activation == "gelu" or (activation == "tanh" and dropout[k] > 0)):
            kept[k] = take(batch * size)
    errors = take(batch * max(sizes)), take(batch * max(sizes))
    values = take(batch)
    of_products = max(matmul.scratch_size(K, dtype, threads) for K in (*sizes, batch))
    scratch = take(max(of_products, loss_scratch_size(sizes[-1], dtype, threads)))
    rates = np.array([*dropout, 0], np.float64).view(np.int64)
    numbers = threads, *errors, values, scratch, ACTIVATIONS[activation], seed & 0xFFFFFFFF, batch
    return count_in_memory(np.array([*numbers, *outputs, *kept, *sizes, *rates], np.int64)), end


@njit
def no_update(parameters):
    zero = parameters.dtype.type(0)
    return Update(SGD, zero, zero, zero, zero > 0, zero, zero, zero, zero, zero)


@part_of_a_kernel
def forward_pass(B, x, plan, parameters, training, step):
    """From the inputs at `x` (a pointer, B rows) to the logits, which are left in the plan's last output."""
    itemsize = parameters.itemsize
    layers = plan.sizes.size - 1
    scratch = pointer(plan.memory, plan.scratch)
    a, place = x, 0
    for k in range(layers):
        I, O = plan.sizes[k], plan.sizes[k + 1]
        hidden = k < layers - 1
        rate = plan.dropout[k + 1] if hidden and training else 0.0
        finish = Finish(
            FORWARD, pointer(plan.memory, plan.outputs[k + 1]), O, pointer(parameters, place + I * O),
            pointer(plan.memory, plan.kept[k + 1]), plan.activation if hidden else IDENTITY,
            make_mask(rate, plan.seed, step, k + 1, parameters), no_update(parameters),
        )  # fmt: skip
        W, at_finish = pointer(parameters, place), simd.address_of(finish)
        product(plan.threads, B, O, I, a, I, UNIT, W, O, UNIT, itemsize, scratch, WHERE_IT_PAYS, at_finish)
        a = finish.out
        place += (I + 1) * O


ROWS_TOGETHER = 16  # so many rows are read side by side: few enough that the processor sees where each one goes on


@njit
def sum_rows(B, O, dz, db):
    """db (O,) = the sum of the rows of dz (B,O)."""
    for top in range(0, B, ROWS_TOGETHER):
        bottom = min(B, top + ROWS_TOGETHER)
        for j in range(0, O, lanes(dz)):
            total = broadcast(dz, 0) if top == 0 else load_first(at(db, j), O - j)
            for b in range(top, bottom):
                total = total + load_first(at(dz, b * O + j), O - j)
            store_first(at(db, j), O - j, total)


@part_of_a_kernel
def backward_pass(B, x, plan, parameters, gradients, first_state, second_state, update, fused, step):
    """From dlogits, in the plan's first error, to the gradients; or, where `fused` is true, to the new parameters."""
    itemsize = parameters.itemsize
    layers = plan.sizes.size - 1
    scratch = pointer(plan.memory, plan.scratch)
    above, below = plan.errors
    place = parameters.size
    for k in range(layers - 1, -1, -1):
        I, O = plan.sizes[k], plan.sizes[k + 1]
        place -= (I + 1) * O
        W, dz = pointer(parameters, place), pointer(plan.memory, above)
        a = pointer(plan.memory, plan.outputs[k]) if k > 0 else x
        first_of, second_of = pointer(first_state, place), pointer(second_state, place)
        mask = make_mask(plan.dropout[k] if k > 0 else 0.0, plan.seed, step, k, parameters)
        if k > 0:  # before W changes
            finish = Finish(
                BACKWARD, pointer(plan.memory, below), I, W, pointer(plan.memory, plan.kept[k]),
                plan.activation, mask, update,
            )  # fmt: skip
            at_finish = simd.address_of(finish)
            product(plan.threads, B, I, O, dz, O, UNIT, W, UNIT, O, itemsize, scratch, WHERE_IT_PAYS, at_finish)
        at_once = fused and I * O >= LARGE_LAYER
        fewer_blocks = count_blocks(O, I, lanes(W)) < count_blocks(I, O, lanes(W))
        turned = fewer_blocks and I * itemsize < matmul.PAGE_BYTES and not at_once
        if at_once:
            finish = Finish(UPDATE, W, O, first_of, second_of, IDENTITY, mask, update)
        else:
            kind = STORE_TURNED if turned else STORE
            finish = Finish(kind, pointer(gradients, place), O, W, W, IDENTITY, mask, update)
        at_finish = simd.address_of(finish)
        if turned:  # dW.T = dz.T @ a: where there are few outputs, rows of a fill the Vectors better than those of dz
            product(plan.threads, O, I, B, dz, UNIT, O, a, I, UNIT, itemsize, scratch, NEVER, at_finish)
        else:
            product(plan.threads, I, O, B, a, UNIT, I, dz, O, UNIT, itemsize, scratch, WHERE_IT_PAYS, at_finish)
        db = pointer(gradients, place + I * O)
        sum_rows(B, O, dz, db)
        if at_once:
            bias = I * O
            update_flat(O, at(W, bias), db, at(first_of, bias), at(second_of, bias), update)
        elif fused:
            update_flat((I + 1) * O, W, pointer(gradients, place), first_of, second_of, update)
        above, below = below, above


ROWS_AHEAD = 4


@njit
def gather(B, x, order, plan, step):
    """The inputs of a batch, rows `order` of x (N,I), side by side and after dropout: a pointer to them."""
    I = plan.sizes[0]
    mask = make_mask(plan.dropout[0], plan.seed, step, 0, plan.memory)
    consecutive = not mask.active
    for b in range(1, B):
        consecutive = consecutive and order[b] == order[0] + b
    if consecutive:
        return pointer(x, order[0] * I)
    to = pointer(plan.memory, plan.outputs[0])
    line = 64 // x.itemsize
    for b in range(B):
        if b + ROWS_AHEAD < B:  # rows in a random order are a surprise to the processor: it is told of them in time
            ahead = pointer(x, order[b + ROWS_AHEAD] * I)
            for j in range(0, min(I, 8 * line), line):
                simd.prefetch(at(ahead, j))
        row, key = pointer(x, order[b] * I), key_of_row(mask, b)
        for j in range(0, I, lanes(to)):
            value = load_first(at(row, j), I - j)
            if mask.active:
                value = masked(value, mask, key, j)
            store_first(at(to, b * I + j), I - j, value)
    return to


class Optimizer(NamedTuple):
    """The settings of an optimizer; a limit of 0 is none."""

    kind: int = SGD
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    clip_norm: float = 0.0
    max_norm: float = 0.0


@njit
def make_update(optimizer, rate, step, parameters):
    """The Update number `step`, counted from 1."""
    cast = parameters.dtype.type
    return Update(
        optimizer.kind, cast(rate), cast(optimizer.weight_decay), cast(optimizer.momentum), optimizer.nesterov,
        cast(optimizer.beta1), cast(optimizer.beta2), cast(optimizer.epsilon),
        cast(1 - optimizer.beta1**step), cast(1 - optimizer.beta2**step),
    )  # fmt: skip


STRIPE = 4096  # a long sum is made of sums of this many numbers: float32 would lose digits in one long chain


TINY_STEP = 2.0**-64  # squares of gradients that explode overflow; those of gradients times this do not


@njit
def norm(dw, P):
    """The length of dw, P numbers, in every lane of a Vector."""
    squares = sum_of_squares(dw, P, broadcast(dw, 1))
    if math.isfinite(simd.max_lanes(squares)):
        return simd.square_root(squares)
    return simd.square_root(sum_of_squares(dw, P, broadcast(dw, TINY_STEP))) / TINY_STEP


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
def scale(dw, P, factor):
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


@njit
def count_parameters(plan):
    P = 0
    for k in range(plan.sizes.size - 1):
        P += (plan.sizes[k] + 1) * plan.sizes[k + 1]
    return P


FITS, MISFITS, OVERFLOWS = np.arange(3)  # what a pass returns: it is done, is not begun, or its logits are not finite


@kernel
def _forward(numbers, memory, parameters, x, training, step, logits):
    plan = unpack(numbers, memory)
    C, N = plan.sizes[-1], len(x)
    if x.shape[1] != plan.sizes[0] or parameters.size != count_parameters(plan):
        return MISFITS
    if training and len(x) > plan.batch:
        return MISFITS
    out = pointer(plan.memory, plan.outputs[-1])
    not_finite = broadcast(out, 0)
    for start in range(0, N, plan.batch):
        B = min(plan.batch, N - start)
        inputs = pointer(x, start * plan.sizes[0])
        if training and plan.dropout[0] > 0:
            inputs = gather(B, x, np.arange(start, start + B), plan, step)
        forward_pass(B, inputs, plan, parameters, training, step)
        for i in range(0, B * C, lanes(out)):
            left = B * C - i
            some = load_first(at(out, i), left)
            not_finite = not_finite + some * 0
            store_first(pointer(logits, start * C + i), left, some)
    return FITS if simd.sum_lanes(not_finite) == 0 else OVERFLOWS


@kernel
def _backward(numbers, memory, parameters, gradients, x, dlogits, step):
    plan = unpack(numbers, memory)
    B, C = dlogits.shape
    P = count_parameters(plan)
    if len(x) > plan.batch or x.shape[1] != plan.sizes[0] or dlogits.shape != (len(x), plan.sizes[-1]):
        return MISFITS
    if parameters.size != P or gradients.size != P:
        return MISFITS
    dz = pointer(plan.memory, plan.errors[0])
    for i in range(B * C):
        dz[i] = dlogits.flat[i]
    inputs = pointer(x, 0)
    if plan.dropout[0] > 0:
        inputs = pointer(plan.memory, plan.outputs[0])  # where the forward pass left them
    backward_pass(B, inputs, plan, parameters, gradients, gradients, gradients, no_update(parameters), False, step)
    return FITS


def _check_pass(plan, parameters, x, training=True):
    """Refuses a pass whose arrays are not of the plan's sizes and dtype. Slow: the kernel sees it first."""
    dtype, unpacked = plan.arrays[1].dtype, plan.unpacked()
    sizes = unpacked.sizes.tolist()
    check_readable("parameters", parameters, dtype)
    check_shape("parameters", parameters, (sum((I + 1) * O for I, O in pairwise(sizes)),))
    check_readable("x", x, dtype)
    check_dimensions("x", x, f"(N, {sizes[0]})")
    check_shape("x", x, (len(x), sizes[0]))
    if training and len(x) > unpacked.batch:
        raise ValueError(f"x must have at most the {unpacked.batch} rows that the plan was made for, got {len(x)}")


def _check_steps(
    plan, parameters, gradients, state, x, order, batch, rates, labels, targets,
    alpha, temperature, label_smoothing, optimizer,
):  # fmt: skip
    """The arguments of `train_steps`."""
    unpacked, N = plan.unpacked(), len(x)
    sizes, classes = unpacked.sizes.tolist(), plan.classes
    P = sum((I + 1) * O for I, O in pairwise(sizes))
    check_readable("parameters", parameters, plan.arrays[1].dtype)
    check_readable("gradients", gradients, parameters.dtype)
    check_readable("state", state, parameters.dtype)
    check_changed_in_place(parameters=parameters, gradients=gradients, state=state)
    check_shape("parameters", parameters, (P,))
    check_shape("gradients", gradients, (P,))
    check_shape("state", state, *([(1, P), (2, P)] if optimizer.kind == SGD else [(2, P)]))
    check_apart("gradients", gradients, parameters=parameters, state=state, x=x, targets=targets)
    check_apart("parameters", parameters, state=state, x=x, targets=targets)
    check_apart("state", state, x=x, targets=targets)
    check_shape("x", x, (N, sizes[0]))
    check_shape("labels", labels, (N,), (N, classes))
    check_shape("targets", targets, (N, classes))
    _check_settings(alpha, temperature, label_smoothing, labels=labels, targets=targets)
    if not 0 < check_whole("batch", batch) <= unpacked.batch:
        raise ValueError(f"batch must be in 1..{unpacked.batch}, which the plan was made for, got {batch}")
    if order.ndim != 1 or order.dtype.kind not in "iu":
        raise TypeError(f"order must be whole numbers of shape (rows,), got {order.shape} {order.dtype}")
    check_shape("rates", rates, (-(-len(order) // batch),))
    check_classes("order", order, N)
    if labels is not None and labels.ndim == 1:
        check_classes("labels", as_labels("labels", labels, N), classes)


def forward(plan, parameters, x, training=False, step=0):
    """Logits (N,C) of x (N,I). In training N is at most the plan's batch, and the plan keeps what `backward` needs.

    Raises TypeError or ValueError for arrays of other shapes, dtypes or layouts; NotFiniteError, not in training, where
    the logits overflow.
    """
    numbers, memory = plan.arrays
    dtype = memory.dtype
    try:  # _check_pass takes longer than a small network
        of_one_dtype = x.dtype is dtype and parameters.dtype is dtype
        likely = of_one_dtype and x.flags.c_contiguous and parameters.flags.c_contiguous and x.ndim == 2
    except AttributeError:
        likely = False
    if not likely:
        _check_pass(plan, parameters, x, training)
    logits = np.empty((len(x), plan.classes), dtype)
    done = _forward(numbers, memory, parameters, x, training, step, logits)
    if done:  # FITS is 0
        _check_pass(plan, parameters, x, training)
    if done and not training:
        check_no_overflow(logits, x, parameters)
    return logits


def backward(plan, parameters, gradients, x, dlogits, step=0):
    """Writes the gradients (P,) after `forward(..., training=True)` on the same x and step."""
    memory = plan.arrays[1]
    if not (
        are_alike(gradients, parameters) and are_alike(x) and are_alike(dlogits) and gradients.flags.writeable
        and gradients.dtype is x.dtype is dlogits.dtype is memory.dtype and x.ndim == dlogits.ndim == 2
        and not np.may_share_memory(gradients, parameters) and not np.may_share_memory(gradients, x)
    ):  # fmt: skip
        for name, array in (("x", x), ("gradients", gradients), ("dlogits", dlogits), ("parameters", parameters)):
            check_readable(name, array, memory.dtype)
        check_changed_in_place(gradients=gradients)
        check_apart("gradients", gradients, parameters=parameters, x=x)
        check_dimensions("x", x, "(B, I)")
        check_dimensions("dlogits", dlogits, "(B, C)")
    if _backward(*plan.arrays, parameters, gradients, x, dlogits, step) == MISFITS:
        _check_pass(plan, parameters, x)
        check_shape("gradients", gradients, parameters.shape)
        check_shape("dlogits", dlogits, (len(x), plan.classes))


@kernel
def _train_steps(
    numbers, memory, parameters, gradients, first_state, second_state, x, order, batch, labels, y, t,
    loss, optimizer, rates, step, losses,
):  # fmt: skip
    plan = unpack(numbers, memory)
    cast = parameters.dtype.type
    classes = plan.sizes[-1]
    fused = optimizer.clip_norm == 0
    values = plan.memory[plan.values : plan.values + plan.batch]
    s, ds = pointer(plan.memory, plan.outputs[-1]), pointer(plan.memory, plan.errors[0])
    for k in range(losses.size):
        rows = order[k * batch : (k + 1) * batch]
        B = rows.size
        inputs = gather(B, x, rows, plan, step + k)
        forward_pass(B, inputs, plan, parameters, True, step + k)

        row_loss = Loss(
            cast(loss.alpha), cast(loss.temperature), cast(loss.over_temperature),
            cast(loss.kept), cast(loss.spread), cast(1) / cast(B),
        )  # fmt: skip
        loss_rows(
            plan.threads, B, classes, s, t, y, labels, ds, values, row_loss, rows, pointer(plan.memory, plan.scratch)
        )
        total = cast(0)
        for b in range(B):
            total += values[b]
        losses[k] = total * row_loss.weight
        if not math.isfinite(losses[k]):
            return k + 1

        update = make_update(optimizer, rates[k], step + k + 1, parameters)
        backward_pass(B, inputs, plan, parameters, gradients, first_state, second_state, update, fused, step + k)
        if not fused:
            dw, limit = pointer(gradients, 0), cast(optimizer.clip_norm)
            scale(dw, gradients.size, formula.shrink(norm(dw, gradients.size), limit))
            first_of, second_of = pointer(first_state, 0), pointer(second_state, 0)
            update_flat(parameters.size, pointer(parameters, 0), dw, first_of, second_of, update)
        if optimizer.max_norm > 0:
            place = 0
            for layer in range(plan.sizes.size - 1):
                I, O = plan.sizes[layer], plan.sizes[layer + 1]
                W, free = pointer(parameters, place), pointer(plan.memory, plan.errors[0])
                shrink_columns(plan.threads, W, I, O, cast(optimizer.max_norm), free)
                place += (I + 1) * O
    return losses.size


def _only_read(array):
    """A view that cannot be written to: numba compiles a version for such arrays and another one for others."""
    view = array.view()
    view.flags.writeable = False
    return view


def train_steps(
    plan, parameters, gradients, state, x, order, batch, rates,
    labels=None, targets=None, alpha=0.0, temperature=1.0, label_smoothing=0.0, optimizer=Optimizer(), step=0,
):  # fmt: skip
    """Trains on the rows `order` of x, `batch` at a time; returns the loss of each step, up to one that is not finite.

    parameters, gradients (P,) and the optimizer's state (K,P) are changed in place; without clipping the gradients stay
    in registers and the array is not touched. labels: (N,) whole numbers or (N,C) probabilities; targets: the teacher's
    logits (N,C). rates: (S,) learning rates. `step` counts from 0 over the whole run, and chooses the dropout masks.
    """
    x, order, rates = np.asarray(x), np.asarray(order), as_dtype("rates", rates, np.float64)
    labels, targets = (None if array is None else np.asarray(array) for array in (labels, targets))
    _check_steps(
        plan, parameters, gradients, state, x, order, batch, rates, labels, targets,
        alpha, temperature, label_smoothing, optimizer,
    )  # fmt: skip
    dtype, classes = parameters.dtype, plan.classes
    nothing = np.empty((0, classes), dtype)
    whole = labels is not None and labels.ndim == 1
    y = nothing if whole or labels is None else as_dtype("labels", labels, dtype)
    labels = np.ascontiguousarray(labels, np.int64) if whole else np.empty(0, np.int64)
    t = nothing if targets is None else as_dtype("targets", targets, dtype)
    x, y, t, labels = map(_only_read, (as_dtype("x", x, dtype), y, t, labels))
    losses = np.full(len(rates), np.nan, dtype)
    kept, spread = 1 - label_smoothing, label_smoothing / classes
    settings = Loss(float(alpha), float(temperature), 1 / temperature, float(kept), float(spread), 0.0)
    order = np.ascontiguousarray(order, np.int64)
    done = _train_steps(
        *plan.arrays, parameters, gradients, state[0], state[-1], x, order, batch, labels, y, t,
        settings, optimizer, rates, step, losses,
    )  # fmt: skip
    return losses[:done]


# ------------------------------------------------------------------------ losses for any number of classes, in one pass


@kernel
def _distillation(s, t, y, labels, loss, threads, order, scratch, ds, values):
    B, C = s.shape
    for label in labels:
        if not 0 <= label < C:
            return MISFITS
    loss_rows(threads, B, C, pointer(s, 0), t, y, labels, pointer(ds, 0), values, loss, order, pointer(scratch, 0))
    return FITS


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


def _check_settings(alpha, temperature, label_smoothing=0.0, **arrays):
    """Refuses a loss of other settings, or without the labels or the teacher, in this order, that have a weight."""
    check_number("alpha", alpha, "[0, 1]")
    check_number("temperature", temperature, "(0, inf)")
    check_number("label_smoothing", label_smoothing, "[0, 1)")
    for (name, array), weight in zip(arrays.items(), (1 - alpha, alpha), strict=True):
        if array is None and weight > 0:
            raise ValueError(f"{name} must be given where alpha is {alpha:g}")


def distillation_loss(s, t=None, y=None, temperature=1.0, alpha=0.0, label_smoothing=0.0, threads=None, out=None):
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
        _check_settings(alpha, temperature, label_smoothing, y=y, t=t)
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
    loss = Loss(*map(dtype, numbers))
    threads = usable_threads() if threads is None else threads
    if type(threads) is not int or threads < 1:
        threads = check_whole("threads", threads)
    scratch = np.empty(loss_scratch_size(C, dtype, threads), dtype)
    ds, values = np.empty((B, C), dtype) if out is None else out, np.empty(B, dtype)
    order = np.arange(B)
    if _distillation(s, t, y, labels, loss, threads, order, scratch, ds, values) == MISFITS:
        check_classes("y", labels, C)
    return values.mean(), ds


@njit
def top_k_row(C, k, s, indices, log_p, T, weight, ds):
    """T^2 KL of one row between the k classes that the teacher names, the rest being one, and the student.

    The rest is summed from its own largest logit, not taken as what the named classes leave: it may be tiny.
    """
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
        ds[indices[i]] = simd.max_lanes(formula.soft_target_backward(q, p, T) * weight)
    return simd.max_lanes(value) * T * T


SMALLEST = 1e-37  # the logarithm of a share of 0 is never taken


@kernel
def _top_k(s, indices, log_p, T, weight, threads, ds, values):
    top_k_rows(threads, s, indices, log_p, T, weight, ds, values)


@njit
def top_k_of_one(b, s, indices, log_p, T, weight, ds, values):
    C, k = s.shape[1], indices.shape[1]
    row, named, own_log_p = pointer(s, b * C), pointer(indices, b * k), pointer(log_p, b * k)
    values[b] = top_k_row(C, k, row, named, own_log_p, T, weight, pointer(ds, b * C))


@njit(parallel=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
def top_k_rows(threads, s, indices, log_p, T, weight, ds, values):
    B, C = s.shape
    if threads == 1 or B * C < LOGITS_FOR_THREADS:
        for b in range(B):
            top_k_of_one(b, s, indices, log_p, T, weight, ds, values)
    else:
        for b in prange(B):
            top_k_of_one(b, s, indices, log_p, T, weight, ds, values)


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


def top_k_target_backward(cache):
    return cache


# --------------------------------------------------------------------------------------------- 5  the names of ops.py


def _turned(A):
    """A as a C-contiguous array, and whether that is its transpose."""
    if A.T.flags.c_contiguous and not A.flags.c_contiguous:
        return A.T, True
    return np.ascontiguousarray(A), False


_scratch = threading.local()


def _product(A, B, bias=None, out=None):
    """A @ B, + bias where there is one; both are of one dtype."""
    (M, K), N, dtype = A.shape, B.shape[1], B.dtype
    in_place = out is not None and out.dtype == dtype and out.flags.c_contiguous
    C = out if in_place else np.empty((M, N), dtype)
    (a, a_turned), (b, b_turned) = _turned(A), _turned(B)
    threads = usable_threads()
    size = matmul.scratch_size(K, dtype, threads) * dtype.itemsize
    if getattr(_scratch, "memory", None) is None or _scratch.memory.nbytes < size:
        _scratch.memory = np.empty(size, np.uint8)
    bias = np.empty(0, dtype) if bias is None else np.ascontiguousarray(bias, dtype)
    _multiply(a, a_turned, b, b_turned, bias, C, _scratch.memory.view(dtype), threads)
    if out is not None and out is not C:
        out[...] = C
        return out
    return C


@kernel
def _multiply(a, a_turned, b, b_turned, bias, C, scratch, threads):
    M, N = C.shape
    K = a.shape[0] if a_turned else a.shape[1]
    mask, update = make_mask(0.0, 0, 0, 0, C), no_update(C)
    out = pointer(C, 0)
    kind, row = (FORWARD, pointer(bias, 0)) if bias.size else (STORE, out)
    a_row, a_col = (UNIT, M) if a_turned else (K, UNIT)
    b_row, b_col = (UNIT, K) if b_turned else (N, UNIT)
    finish = Finish(kind, out, N, row, out, IDENTITY, mask, update)
    A, B, own = pointer(a, 0), pointer(b, 0), pointer(scratch, 0)
    product(threads, M, N, K, A, a_row, a_col, B, b_row, b_col, C.itemsize, own, WHERE_IT_PAYS, simd.address_of(finish))


def _operands(**arrays):
    """The arrays of a product, of one dtype; their layout is for `_turned` to see."""
    found = list(arrays.values())
    if not all(isinstance(array, np.ndarray) and array.dtype == found[0].dtype in FLOATS for array in found):
        found = as_floats(**arrays)
    for name, array in zip(arrays, found, strict=True):
        if 0 in array.shape:
            raise ValueError(f"{name} is empty: got shape {array.shape}")
    return found


def linear_forward(x, W, b):
    x, W, b = _operands(x=x, W=W, b=b)
    check_dimensions("x", x, "(B, I)")
    check_dimensions("W", W, "(I, O)")
    check_shape("W", W, (x.shape[1], W.shape[1]))
    check_shape("b", b, (W.shape[1],))
    return _product(x, W, b), (x, W)


def linear_backward(dz, cache, dW=None, db=None, skip_dx=False):
    dz, x, W = _operands(dz=dz, x=cache[0], W=cache[1])
    check_dimensions("x", x, "(B, I)")
    check_dimensions("W", W, "(I, O)")
    check_shape("W", W, (x.shape[1], W.shape[1]))
    check_shape("dz", dz, (len(x), W.shape[1]))
    check_written("dW", dW, W.shape)
    check_written("db", db, W.shape[1:])
    if dW is not None:
        check_apart("dW", dW, dz=dz, x=x, W=W, db=db)
    dx = None if skip_dx else _product(dz, W.T)
    dW = _product(x.T, dz, out=dW)
    db = np.sum(dz, axis=0, out=db)
    return dx, dW, db


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


def _activation(code, z):
    (z,) = as_floats(z=z)
    a = np.empty_like(z)
    _activate(code, z, a)
    return a


def _activation_backward(code, da, **kept):
    da, kept = as_floats(da=da, **kept)
    check_shape("da", da, kept.shape)
    dz = np.empty_like(da)
    _activate_backward(code, da, kept, dz)
    return dz


def relu_forward(z):
    a = _activation(RELU, z)
    return a, a


def relu_backward(da, a):
    return _activation_backward(RELU, da, a=a)


def tanh_forward(z):
    a = _activation(TANH, z)
    return a, a


def tanh_backward(da, a):
    return _activation_backward(TANH, da, a=a)


def gelu_forward(z):
    return _activation(GELU, z), z


def gelu_backward(da, z):
    return _activation_backward(GELU, da, z=z)


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


def _rows(function, logarithm, T, **arrays):
    arrays, names = as_floats(**arrays), list(arrays)
    check_dimensions(names[0], arrays[0], "(B, C)")
    for name, array in zip(names, arrays, strict=True):
        check_shape(name, array, arrays[0].shape)
    if arrays[0].shape[1] == 0:
        raise ValueError(f"{names[0]} must have at least one class, got {arrays[0].shape}")
    out = np.empty_like(arrays[0])
    function(*arrays, out.dtype.type(1 / T), out, logarithm)
    return out


def log_softmax_forward(s, T=1.0):
    log_q = _rows(_softmax, True, T, s=s)
    return log_q, (log_q, T)


def log_softmax_backward(dlog_q, cache):
    log_q, T = cache
    return _rows(_softmax_backward, True, T, dlog_q=dlog_q, log_q=log_q)


def softmax_forward(s, T=1.0):
    q = _rows(_softmax, False, T, s=s)
    return q, (q, T)


def softmax_backward(dq, cache):
    q, T = cache
    return _rows(_softmax_backward, False, T, dq=dq, q=q)


def cross_entropy_forward(s, y):
    """As in ops.py; the gradient comes with the value, and is the cache."""
    return distillation_loss(s, None, y)


def cross_entropy_backward(cache):
    return cache


def soft_target_forward(s, t, T):
    return distillation_loss(s, t, None, T, 1.0)


def soft_target_backward(cache):
    return cache


@kernel
def _update(w, dw, first_state, second_state, optimizer, rate, step):
    update = make_update(optimizer, rate, step, w)
    update_flat(w.size, pointer(w, 0), pointer(dw, 0), pointer(first_state, 0), pointer(second_state, 0), update)


def _checked_update(w, dw, **states):
    """dw as the kernel reads it; refuses what it could not change in place, or would read after it has changed."""
    written = (w, *states.values())
    if are_alike(dw, *written) and all(array.flags.writeable for array in written):
        pairs = combinations((dw, *written), 2)
        if not any(np.may_share_memory(*pair) for pair in pairs):
            return dw
    check_changed_in_place(w=w, **states)
    dw = as_dtype("dw", dw, w.dtype)
    check_shape("dw", dw, w.shape)
    check_apart("w", w, dw=dw, **states)
    for name, state in states.items():
        check_readable(name, state, w.dtype)
        check_shape(name, state, w.shape)
        check_apart(name, state, dw=dw, **{other: array for other, array in states.items() if other != name})
    return dw


def sgd_update(w, dw, v, rate, momentum=0.9, nesterov=False, weight_decay=0.0):
    dw = _checked_update(w, dw, v=v)
    settings = Optimizer(SGD, float(momentum), bool(nesterov), float(weight_decay))
    _update(w, dw, v, v, settings, float(rate), 1)


def adam_update(w, dw, m, v, rate, step, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0):
    dw = _checked_update(w, dw, m=m, v=v)
    settings = Optimizer(ADAM, 0.0, False, float(weight_decay), float(beta1), float(beta2), float(epsilon))
    _update(w, dw, m, v, settings, float(rate), check_whole("step", step))


@kernel
def _clip_norm(dw, limit):
    scale(pointer(dw, 0), dw.size, formula.shrink(norm(pointer(dw, 0), dw.size), limit))


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
