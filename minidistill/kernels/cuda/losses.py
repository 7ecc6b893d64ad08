# SPDX-License-Identifier: MIT
"""What a card does to rows of logits: softmax, and losses with their gradients in one kernel each.

A row is shared by a team of threads: by a whole block, or, of rows of few classes, by so few that a block has as many
rows as a warp has threads; otherwise most of its threads would have nothing to do. The formulas are those of rows.py.
"""

import math
import operator
from functools import cache
from types import SimpleNamespace

from .device import THREADS, cuda, formulas, kernel_and_function
from .rows import TEAM, in_pairs, team_function

FEW_CLASSES = 64  # up to here a team has TEAM threads
ROUGH = 64.0  # a temperature above which softened logits are so close that float32's rounding shows
SMALLEST = 1e-37  # the logarithm of a share of 0 is never taken


@cache
def softmax_kernels(dtype, logarithm):
    """forward(C, s, over_T, out) and backward(C, dq, q, over_T, ds), a block a row; of softmax or its logarithm."""
    formula = formulas(dtype)
    backward_of = formula.log_softmax_backward if logarithm else formula.softmax_backward
    add_up, largest = team_function(dtype, operator.add), team_function(dtype, max)
    zero = dtype(0)

    @cuda.jit
    def forward(C, s, over_T, out):
        me = cuda.threadIdx.x
        for b in range(cuda.blockIdx.x, s.size // C, cuda.gridDim.x):
            top, total = s[b * C], zero
            for j in range(me, C, THREADS):
                top = max(top, s[b * C + j])
            top = largest(top)
            for j in range(me, C, THREADS):
                total += formula.exp2(formula.in_bits(s[b * C + j], top, over_T))
            total = add_up(total)
            log_total = formula.log(total)
            for j in range(me, C, THREADS):
                if logarithm:
                    out[b * C + j] = formula.log_softmax(s[b * C + j], top, log_total, over_T)
                else:
                    out[b * C + j] = formula.softmax(formula.exp2(formula.in_bits(s[b * C + j], top, over_T)), total)

    @cuda.jit
    def backward(C, dq, q, over_T, ds):
        me = cuda.threadIdx.x
        for b in range(cuda.blockIdx.x, q.size // C, cuda.gridDim.x):
            part = zero
            for j in range(me, C, THREADS):
                part += dq[b * C + j] if logarithm else dq[b * C + j] * q[b * C + j]
            total = add_up(part)
            for j in range(me, C, THREADS):
                ds[b * C + j] = backward_of(dq[b * C + j], q[b * C + j], total, over_T)

    return SimpleNamespace(forward=forward, backward=backward)


@cache
def loss_function(dtype, few):
    """loss(B, C, s, t, y, labels, order, ds, values, alpha, T, kept, spread, weight): values and gradients of the rows.

    All arrays are flat: s, ds (B,C), values (B,). Row b belongs to row order[b] of t (N,C), y (N,C) and labels (N,),
    which are empty where the loss does without them. `few` says that TEAM threads are enough for a row.

    A row is read once for its sums and once for its gradient. The textbook reads it a third time to find the largest
    logit first; here each thread begins with a guess, and whenever it meets a larger one it multiplies what it has
    summed so far by what the guess was off (Milakov and Gimelshein 2018, section 3). In bits, base 2, as in rows.py.
    """
    formula = formulas(dtype)
    exp2, log, in_bits, both = formula.exp2, formula.log, formula.in_bits, formula.both
    change, log_ratio = formula.change, formula.log_ratio
    cross_entropy_backward, soft_target_backward = formula.cross_entropy_backward, formula.soft_target_backward
    team = TEAM if few else THREADS
    add_up, largest = in_pairs(operator.add, team), in_pairs(max, team)
    zero, one, rough = dtype(0), dtype(1), dtype(ROUGH)
    rows_a_block = THREADS // team

    @cuda.jit(device=True)
    def student_moved(top, new, over_T, total, soft_total):
        """The sums of a row whose largest student's logit was thought to be `top` and is `new`."""
        return total * exp2(in_bits(top, new, one)), soft_total * exp2(in_bits(top, new, over_T))

    def loss_share(B, C, s, t, y, labels, order, ds, values, alpha, T, kept, spread, weight):
        tops = cuda.shared.array((2, THREADS), dtype)
        sums = cuda.shared.array((3, THREADS), dtype)
        me = cuda.threadIdx.x
        lane, leader = me % team, me - me % team
        with_labels, with_teacher = alpha < one, alpha > zero
        over_T = one / T
        for first in range(cuda.blockIdx.x * rows_a_block, B, cuda.gridDim.x * rows_a_block):
            live = first + me // team < B
            b = min(first + me // team, B - 1)  # who has no row does the last one again, and writes nothing
            row = order[b]
            own, other = b * C, row * C

            # the first walk: the sums
            top, top_t = s[own], t[other] if with_teacher else zero
            total, soft_total, total_t = zero, zero, zero
            for j in range(lane, C, team):
                if s[own + j] > top:
                    total, soft_total = student_moved(top, s[own + j], over_T, total, soft_total)
                    top = s[own + j]
                if with_labels:
                    total += exp2(in_bits(s[own + j], top, one))
                if with_teacher:
                    if t[other + j] > top_t:
                        total_t *= exp2(in_bits(top_t, t[other + j], over_T))
                        top_t = t[other + j]
                    soft_total += exp2(in_bits(s[own + j], top, over_T))
                    total_t += exp2(in_bits(t[other + j], top_t, over_T))
            tops[0, me], tops[1, me] = top, top_t
            largest(tops)
            total, soft_total = student_moved(top, tops[0, leader], over_T, total, soft_total)
            total_t *= exp2(in_bits(top_t, tops[1, leader], over_T))
            top, top_t = tops[0, leader], tops[1, leader]
            sums[0, me], sums[1, me], sums[2, me] = total, soft_total, total_t
            add_up(sums)
            total, soft_total, total_t = sums[0, leader], sums[1, leader], sums[2, leader]

            # once a row: what a term is worth. The gradient is linear in the terms
            log_total, of_hard, share, of_change = zero, zero, zero, zero
            shift, ratio, curves, changes = zero, one, zero, zero
            if with_labels:
                log_total = log(total)
                of_hard = both(alpha, cross_entropy_backward(weight / total, zero), zero)
                share = both(alpha, cross_entropy_backward(zero, weight), zero)
            if with_teacher:
                of_change = both(alpha, zero, soft_target_backward(weight / total_t, zero, T))
                shift, ratio = log(soft_total / total_t), total_t / soft_total
            else:
                total_t = one  # the divergence is 0 / 1

            if with_teacher and rough < T:  # `shift` needs more digits than its sums have: a walk for its rounding
                for j in range(lane, C, team):
                    e, e_t = exp2(in_bits(s[own + j], top, over_T)), exp2(in_bits(t[other + j], top_t, over_T))
                    d = log_ratio(s[own + j], t[other + j], top - top_t, over_T, shift)
                    changes += change(e_t, e * ratio, d)
                cuda.syncthreads()
                sums[0, me] = changes
                add_up(sums)
                shift, changes = shift + sums[0, leader] / total_t, zero

            # the second walk: the gradient, and the divergence, which near a match is a sum of small terms
            value = zero
            for j in range(lane, C, team):
                g = zero
                if with_labels:
                    if labels.size > 0:
                        target = one if labels[row] == j else zero
                    else:
                        target = y[other + j]
                    target = formula.smoothed(target, kept, spread)
                    g = exp2(in_bits(s[own + j], top, one)) * of_hard + target * share
                    if target > zero:
                        value += formula.cross_entropy(target, formula.log_softmax(s[own + j], top, log_total, one))
                if with_teacher:
                    e, e_t = exp2(in_bits(s[own + j], top, over_T)), exp2(in_bits(t[other + j], top_t, over_T))
                    d = log_ratio(s[own + j], t[other + j], top - top_t, over_T, shift)
                    step = change(e_t, e * ratio, d)
                    curves, changes = curves + formula.soft_target(e_t, e * ratio, d), changes + step
                    g += step * of_change
                if live:
                    ds[own + j] = g
            cuda.syncthreads()
            sums[0, me], sums[1, me], sums[2, me] = value, curves, changes
            add_up(sums)
            if live and lane == 0:
                teacher_value = formula.soft_target_near_match(sums[1, me] / total_t, sums[2, me] / total_t)
                values[b] = both(alpha, sums[0, me], T * T * teacher_value)
            cuda.syncthreads()

    return kernel_and_function(loss_share)


@cache
def top_k_kernel(dtype):
    """top_k(C, k, s, indices, log_p, T, weight, ds, values), a block a row, all arrays flat.

    s, ds (B,C); indices, log_p (B,k): the classes that the teacher names, and their log-probabilities at T. The rest is
    summed from its own largest logit, not taken as what the named classes leave: it may be tiny.
    """
    formula = formulas(dtype)
    exp, exp2, log, in_bits, log_softmax = formula.exp, formula.exp2, formula.log, formula.in_bits, formula.log_softmax
    add_up, largest = in_pairs(operator.add, THREADS), in_pairs(max, THREADS)
    zero, one, smallest, nothing = dtype(0), dtype(1), dtype(SMALLEST), dtype(-math.inf)

    @cuda.jit
    def top_k(C, k, s, indices, log_p, T, weight, ds, values):
        tops = cuda.shared.array((2, THREADS), dtype)
        sums = cuda.shared.array((3, THREADS), dtype)
        me, over_T = cuda.threadIdx.x, one / T
        for b in range(cuda.blockIdx.x, values.size, cuda.gridDim.x):
            own, names = b * C, b * k
            for j in range(me, C, THREADS):
                ds[own + j] = s[own + j]
            cuda.syncthreads()
            top_named, top_rest = nothing, nothing
            for i in range(me, k, THREADS):
                ds[own + indices[names + i]] = nothing
                top_named = max(top_named, s[own + indices[names + i]])
            cuda.syncthreads()
            for j in range(me, C, THREADS):
                top_rest = max(top_rest, ds[own + j])
            tops[0, me], tops[1, me] = top_named, top_rest
            largest(tops)
            top_rest = tops[1, 0]
            top = max(tops[0, 0], top_rest)

            named, rest, p_named = zero, zero, zero
            for i in range(me, k, THREADS):
                named += exp2(in_bits(s[own + indices[names + i]], top, over_T))
                p_named += exp(log_p[names + i])
            for j in range(me, C, THREADS):
                rest += exp2(in_bits(ds[own + j], top_rest, over_T))
            sums[0, me], sums[1, me], sums[2, me] = named, rest, p_named
            add_up(sums)
            rest, p_rest = sums[1, 0], max(one - sums[2, 0], zero)
            from_top = exp2(in_bits(top_rest, top, over_T))
            total = sums[0, 0] + rest * from_top
            log_total = log(total)

            for j in range(me, C, THREADS):
                e = exp2(in_bits(ds[own + j], top_rest, over_T))
                ds[own + j] = formula.rest_backward(e * from_top / total, p_rest, e / rest, T) * weight
            cuda.syncthreads()
            value = zero
            for i in range(me, k, THREADS):
                log_q = log_softmax(s[own + indices[names + i]], top, log_total, over_T)
                q, p = exp(log_q), exp(log_p[names + i])
                value += formula.soft_target(p, q, log_q - log_p[names + i])
                ds[own + indices[names + i]] = formula.soft_target_backward(q, p, T) * weight
            sums[0, me] = value
            add_up(sums)
            if me == 0:
                log_q_rest = log(rest) + log_softmax(top_rest, top, log_total, over_T)
                d = log_q_rest - log(max(p_rest, smallest))
                value = sums[0, 0] + formula.soft_target(p_rest, rest * from_top / total, d)
                values[b] = value * T * T
            cuda.syncthreads()

    return top_k
