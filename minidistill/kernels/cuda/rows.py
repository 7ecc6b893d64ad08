# SPDX-License-Identifier: MIT
"""What a card does to elements and columns, and how threads share a row; logits are in cuda/losses.py.

No formula stands here: rows.py has them, and `formulas` gives them the dtype of the kernels. What is here is who does
what. A *block* is some threads that share fast memory and can wait for each other; blocks know nothing of each other
and take turns in any order. So a block gets what belongs together:

    elements    a thread each: activations, dropout, the optimizers
    columns     WARP of them a block, that its threads read side by side; several threads share a column
    rows        one a block, or, of rows of few classes, as many as a warp has threads

Functions that end in `_share` do the share of one block: `kernel_and_function` makes a kernel of each, and a function
that an epoch (cuda/epochs.py) calls between others.
"""

import math
import operator
from functools import cache
from types import SimpleNamespace

import numpy as np

from ...ops import hash32
from ..rows import WORD
from .device import SIMULATED, THREADS, WARP, cuda, formulas, kernel_and_function

TEAM = THREADS // WARP  # threads for such a row, and for a column
SGD, ADAM = "sgd", "adam"

# ------------------------------------------------------------------------------------------------------------- elements


@cache
def kernel_of_one(formula):
    """elements(a, out): `formula` of each element of a flat array."""

    @cuda.jit
    def elements(a, out):
        for i in range(cuda.grid(1), a.size, cuda.gridsize(1)):
            out[i] = formula(a[i])

    return elements


@cache
def kernel_of_two(formula):
    """elements(a, b, out): `formula` of each two elements of flat arrays."""

    @cuda.jit
    def elements(a, b, out):
        for i in range(cuda.grid(1), a.size, cuda.gridsize(1)):
            out[i] = formula(a[i], b[i])

    return elements


multiply = kernel_of_two(operator.mul)


@cache
def dropout_function(dtype):
    """masked(value, key, row, column, threshold, scale): `value` times the mask of ops.py, the same bits."""
    formula = formulas(dtype)

    @cuda.jit(device=True)
    def masked(value, key, row, column, threshold, scale):
        if scale > formula.ZERO:
            bits = formula.hash32(formula.hash32(key + np.uint64(row)) + np.uint64(column))
            return formula.keep(value, bits, threshold, scale)
        return value

    return masked


def dropout_arguments(rate, seed, step, layer, dtype):
    """key, threshold and scale of the dropout before a layer."""
    key = np.zeros(1, np.uint32)
    for word in (seed, step, layer):
        key = hash32(key + np.uint32(word & WORD))
    return np.uint64(key[0]), *threshold_and_scale(rate, dtype)


def threshold_and_scale(rate, dtype):
    """From which hashed bits on a unit is kept, and by what it is multiplied then: zero where nothing is dropped."""
    return np.uint32(rate * 2**32), dtype(1) / dtype(1 - rate) if rate > 0 else dtype(0)


@cache
def dropout_kernel(dtype):
    """mask(out, columns, key, threshold, scale), over a flat array of rows."""
    masked, one = dropout_function(dtype), dtype(1)

    @cuda.jit
    def mask(out, columns, key, threshold, scale):
        for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
            out[i] = masked(one, key, i // columns, i % columns, threshold, scale)

    return mask


@cache
def update_function(dtype, optimizer):
    """update(i, dw, w, first, second, rate, corrections, settings): one parameter, by SGD or Adam.

    first and second are what the optimizer remembers, (P,) each; corrections are 1 - beta**step of Adam, and settings
    the weight decay and then what the optimizer has.
    """
    formula = formulas(dtype)

    @cuda.jit(device=True)
    def update_sgd(i, dw, w, first, second, rate, corrections, settings):
        weight_decay, momentum, nesterov = settings[0], settings[1], settings[2] > formula.ZERO
        w[i], first[i] = formula.sgd(w[i], dw, first[i], rate, momentum, nesterov, weight_decay)

    @cuda.jit(device=True)
    def update_adam(i, dw, w, first, second, rate, corrections, settings):
        weight_decay, beta1, beta2, epsilon = settings
        w[i], first[i], second[i] = formula.adam(
            w[i], dw, first[i], second[i], rate, corrections[0], corrections[1], beta1, beta2, epsilon, weight_decay
        )

    return update_sgd if optimizer == SGD else update_adam


@cache
def update_kernel(dtype, optimizer):
    """update(dw, w, first, second, rate, corrections, settings), over flat arrays."""
    update_one = update_function(dtype, optimizer)

    @cuda.jit
    def update(dw, w, first, second, rate, corrections, settings):
        for i in range(cuda.grid(1), w.size, cuda.gridsize(1)):
            update_one(i, dw[i], w, first, second, rate, corrections, settings)

    return update


# ---------------------------------------------------------------------------------------- threads that share their work
# Each makes a part, and the parts are put together in pairs: in the same order every time, so the same seed gives the
# same bits. All threads of a block must call these functions, for they wait for each other inside.


@cache
def in_pairs(combine, team, step=1):
    """combined(parts): what the `team` threads that share something have found, at the first of them.

    `parts` is shared memory (n, THREADS), a column a thread; the threads of a team are `step` apart, and `combine` is
    operator.add or max. A thread that has read the result must wait before it writes there again.
    """

    @cuda.jit(device=True)
    def combined(parts):
        me = cuda.threadIdx.x
        cuda.syncthreads()
        half = team * step // 2
        while half >= step:
            if me % (team * step) < half:
                for n in range(parts.shape[0]):
                    parts[n, me] = combine(parts[n, me], parts[n, me + half])
            cuda.syncthreads()
            half //= 2

    return combined


def team_function(dtype, combine, team=THREADS, step=1):
    """whole(part): the same for a single part, and known to all threads of the team.

    Made anew for each caller: numba cannot link shared memory that two functions of a kernel lead to.
    """
    combined = in_pairs(combine, team, step)

    @cuda.jit(device=True)
    def whole(part):
        parts = cuda.shared.array((1, THREADS), dtype)
        me = cuda.threadIdx.x
        parts[0, me] = part
        combined(parts)
        found = parts[0, me - me % (team * step) + me % step]
        cuda.syncthreads()
        return found

    return whole


# -------------------------------------------------------------------------------------------------------------- columns


@cache
def column_sums(dtype, finish):
    """sums(B, O, dz, to): the sum of each column j of dz (B,O), given to finish(0, j, O, value, to)."""
    whole, zero = team_function(dtype, operator.add, TEAM, WARP), dtype(0)

    def sums_share(B, O, dz, to):
        block = cuda.gridDim.x - 1 - cuda.blockIdx.x  # the last first: in an epoch they may have had one product less
        for start in range(block * WARP, O, cuda.gridDim.x * WARP):
            j, part = start + cuda.threadIdx.x % WARP, zero
            if j < O:
                for b in range(cuda.threadIdx.x // WARP, B, TEAM):
                    part += dz[b * O + j]
            total = whole(part)
            if j < O and cuda.threadIdx.x < WARP:
                finish(0, j, O, total, to)

    return kernel_and_function(sums_share)


@cache
def column_norms(dtype):
    """shrink(I, O, W, limit): holds the columns of W (I,O) to a norm."""
    whole, formula, zero = team_function(dtype, operator.add, TEAM, WARP), formulas(dtype), dtype(0)

    def shrink_share(I, O, W, limit):
        for start in range(cuda.blockIdx.x * WARP, O, cuda.gridDim.x * WARP):
            j, part = start + cuda.threadIdx.x % WARP, zero
            if j < O:
                for i in range(cuda.threadIdx.x // WARP, I, TEAM):
                    part += W[i * O + j] * W[i * O + j]
            factor = formula.shrink(formula.square_root(whole(part)), limit)
            if j < O and factor < formula.ONE:
                for i in range(cuda.threadIdx.x // WARP, I, TEAM):
                    W[i * O + j] *= factor

    return kernel_and_function(shrink_share)


# --------------------------------------------------------------------------------------------------- the whole gradient

PARTS = 3 if SIMULATED else 64  # partial sums of a whole vector
TINY_STEP = 2.0**-40            # squares of gradients that explode overflow; those of gradients times this do not


@cache
def clip_functions(dtype):
    """squares(dw, parts), length(parts) and the kernel scale(dw, parts, limit), which hold dw (P,) to a length.

    squares writes PARTS sums of squares of dw, and as many of dw times TINY_STEP; length makes of them the length of
    dw. Two kernels, or a wait of all blocks, lie between.
    """
    formula, add_up = formulas(dtype), in_pairs(operator.add, THREADS)
    zero, tiny = dtype(0), dtype(TINY_STEP)

    def squares_share(dw, parts):
        sums = cuda.shared.array((2, THREADS), dtype)
        me = cuda.threadIdx.x
        for part in range(cuda.blockIdx.x, PARTS, cuda.gridDim.x):
            plain, small = zero, zero
            for i in range(part * THREADS + me, dw.size, PARTS * THREADS):
                plain += dw[i] * dw[i]
                small += (dw[i] * tiny) * (dw[i] * tiny)
            cuda.syncthreads()
            sums[0, me], sums[1, me] = plain, small
            add_up(sums)
            if me == 0:
                parts[part], parts[PARTS + part] = sums[0, 0], sums[1, 0]

    @cuda.jit(device=True)
    def length(parts):
        plain, small = zero, zero
        for part in range(PARTS):
            plain += parts[part]
            small += parts[PARTS + part]
        if math.isinf(plain):
            return formula.square_root(small) / tiny
        return formula.square_root(plain)

    @cuda.jit
    def scale(dw, parts, limit):
        factor = formula.shrink(length(parts), limit)
        for i in range(cuda.grid(1), dw.size, cuda.gridsize(1)):
            dw[i] *= factor

    return SimpleNamespace(squares=kernel_and_function(squares_share), length=length, scale=scale)
