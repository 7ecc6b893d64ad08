# SPDX-License-Identifier: MIT
"""The loss of one row of logits with its gradient, or of as many rows as a Vector has lanes.

All terms exp((s - top) / T) of a row are relative to one number, which cancels in the end. The textbook takes the
largest logit, and reads the row to find it. But any number will do that is not so far below the largest that a sum
overflows: in a long row the largest of the first numbers is nearly always one, and memory is read once, while the core
computes.
"""

from typing import NamedTuple

from numba import njit

from . import simd
from .arithmetic import first, lane_0, max_lanes, one_hot
from .formulas import formula
from .simd import at, broadcast, lanes, load_first, over_row, store_first
from .softmax import FAR, make_reductions


class LossRecord(NamedTuple):
    """(1-alpha) CE(s, y) + alpha T^2 KL(p || q). All numbers have the dtype of the logits."""

    alpha: float
    temperature: float
    over_temperature: float
    kept: float        # of a label, 1 - e, by label smoothing
    spread: float      # e / C
    weight: float      # 1 / B


GLANCE = 512           # numbers of a long row whose largest is taken for that of all at first
TOO_LARGE = 2.0**FAR   # for terms and their sums, which end far below the largest float32, 2**128
NEAR_MATCH = 1 / 512   # a divergence below is what large sums leave, and is summed again from small terms


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
    def add_terms(j, left, sums, rows, tops, over_T, squarings):
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
        sums = over_row(add_terms, length, n, (zero, zero, zero, zero), rows, tops, over_T, squarings)
        return sum_of_row(sums[0]), sum_of_row(sums[1]), sum_of_row(sums[2]), sum_of_row(sums[3])

    @njit(forceinline=True)
    def add_changes(j, left, sums, rows, tops_apart, over_T, shift, ratio):
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
        tops_apart, ratio = tops[0] - tops[1], total_t / total
        sums = over_row(add_changes, length, n, (zero, zero), rows, tops_apart, over_T, shift, ratio)
        curves, changes = sum_of_row(sums[0]) / total_t, sum_of_row(sums[1]) / total_t
        return formula.soft_target_near_match(curves, changes), changes

    @njit(forceinline=True)
    def combine_vector(j, left, result, rows, squarings, factors, out):
        (hard, soft, teacher), (of_hard, of_soft, of_teacher) = rows, factors
        rest = load_first(at(soft, j), left) * of_soft + load_first(at(teacher, j), left) * of_teacher
        store_first(at(out, j), left, squared(load_first(at(hard, j), left), squarings) * of_hard + rest)

    @njit
    def combine(length, rows, squarings, factors, out):
        """out = the sum of three rows of terms, the first squared so many times, each times its factor."""
        over_row(combine_vector, length, lanes(out), None, rows, squarings, factors, out)

    @njit
    def add_targets(length, s, top, log_total, y, label, share, ds, loss):
        """Adds to ds the `share` of each target, which is negative; returns their cross-entropy."""
        n = lanes(s)
        value, zero, one = broadcast(s, 0), broadcast(s, 0), broadcast(s, 1)
        if label >= 0 and loss.spread == 0:  # all targets but one are zero
            ds[label] += max_lanes(share)
            return formula.cross_entropy(one, formula.log_softmax(broadcast(s, s[label]), top, log_total, one))
        for j in range(0, length, n):
            left = length - j
            target = one_hot(zero, j, label) if label >= 0 else load_first(at(y, j), left)
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
            if seen == length or max_lanes(max(total, max(soft_total, total_t))) < TOO_LARGE:
                break
            seen = length

        log_total, value, teacher_value = zero, zero, zero
        if with_labels:
            log_total = formula.log(total)
        q_of_term, p_of_term = weight / soft_total, weight / total_t
        if with_teacher:
            shift = formula.log(soft_total / total_t)
            teacher_value = formula.soft_target_of_row(apart, total_t, shift)
            if (-max_lanes(-teacher_value) if rows_in_lanes else lane_0(teacher_value)) < NEAR_MATCH:
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


loss_of_row = make_loss(rows_in_lanes=False)
loss_of_lanes = make_loss(rows_in_lanes=True)
