# SPDX-License-Identifier: MIT
"""What a card does to elements and columns, and how threads share a row; logits are in cuda/losses.py.

No formula stands here: rows.py has them, and `formulas` gives them the dtype of the kernels. What is here is who does
what. A *block* is some threads that share fast memory and can wait for each other; blocks know nothing of each other
and take turns in any order. So a block gets what belongs together:

    elements    a thread each: activations, dropout, the optimizers
    columns     WARP of them a block, that its threads read side by side; several threads share a column
    rows        one a block, or, of rows of few classes, as many as a warp has threads

Threads that share a row or a column each make a part, and the parts are added up in shared memory, in pairs: in the
same order every time, so the same seed gives the same bits.

Functions that end in `_share` do the share of one block, number `block` of `blocks`. The kernels below them are called
with one such share a block; an epoch (cuda/epochs.py) calls the same functions one after the other.
"""

import math
from functools import cache
from types import SimpleNamespace

import numpy as np

from ...ops import hash32
from ..rows import WORD
from .device import SIMULATED, THREADS, WARP, cuda, formulas

TEAM = THREADS // WARP  # threads for such a row, and for a column
SGD, ADAM = "sgd", "adam"

# ------------------------------------------------------------------------------------------------------------- elements


@cache
def activation_kernels(dtype, activation):
    """forward(z, a) and backward(da, kept, dz), over flat arrays."""
    forward_of = getattr(formulas(dtype), activation)
    backward_of = getattr(formulas(dtype), f"{activation}_backward")

    @cuda.jit
    def forward(z, a):
        for i in range(cuda.grid(1), z.size, cuda.gridsize(1)):
            a[i] = forward_of(z[i])

    @cuda.jit
    def backward(da, kept, dz):
        for i in range(cuda.grid(1), da.size, cuda.gridsize(1)):
            dz[i] = backward_of(da[i], kept[i])

    return SimpleNamespace(forward=forward, backward=backward)


@cuda.jit
def multiply(a, mask, out):
    for i in range(cuda.grid(1), a.size, cuda.gridsize(1)):
        out[i] = a[i] * mask[i]


@cache
def dropout_functions(dtype):
    """Which units a step leaves out, by the hash of ops.py: the same bits."""
    formula = formulas(dtype)
    hash32, keep, zero = formula.hash32, formula.keep, formula.ZERO

    @cuda.jit(device=True)
    def key_of_layer(seed, step, layer):
        return hash32(hash32(hash32(np.uint64(seed)) + np.uint64(step)) + np.uint64(layer))

    @cuda.jit(device=True)
    def masked(value, key, row, column, threshold, scale):
        """`value` times the mask; a scale of zero says that there is no dropout."""
        if scale > zero:
            return keep(value, hash32(hash32(key + np.uint64(row)) + np.uint64(column)), threshold, scale)
        return value

    return SimpleNamespace(key_of_layer=key_of_layer, masked=masked)


def key_of(seed, step, layer):
    """What `key_of_layer` finds, on the host."""
    key = np.zeros(1, np.uint32)
    for word in (seed, step, layer):
        key = hash32(key + np.uint32(word & WORD))
    return np.uint64(key[0])


def threshold_and_scale(rate, dtype):
    """From which hashed bits on a unit is kept, and by what it is multiplied then: zero where nothing is dropped."""
    return np.uint32(rate * 2**32), dtype(1) / dtype(1 - rate) if rate > 0 else dtype(0)


@cache
def dropout_kernel(dtype):
    """mask(out, columns, seed, step, layer, threshold, scale), over a flat array of rows."""
    functions, one = dropout_functions(dtype), dtype(1)
    key_of_layer, masked = functions.key_of_layer, functions.masked

    @cuda.jit
    def mask(out, columns, seed, step, layer, threshold, scale):
        key = key_of_layer(seed, step, layer)
        for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
            out[i] = masked(one, key, i // columns, i % columns, threshold, scale)

    return mask


@cache
def update_function(dtype, optimizer):
    """update(i, dw, w, first, second, rate, corrections, settings): one parameter, by SGD or Adam.

    first and second are what the optimizer remembers, (P,) each; corrections are 1 - beta**step of Adam, and settings
    what `optimizer_settings` makes.
    """
    sgd, adam, zero = formulas(dtype).sgd, formulas(dtype).adam, dtype(0)

    @cuda.jit(device=True)
    def update_sgd(i, dw, w, first, second, rate, corrections, settings):
        weight_decay, momentum, nesterov = settings[0], settings[1], settings[2] > zero
        w[i], first[i] = sgd(w[i], dw, first[i], rate, momentum, nesterov, weight_decay)

    @cuda.jit(device=True)
    def update_adam(i, dw, w, first, second, rate, corrections, settings):
        weight_decay, beta1, beta2, epsilon = settings
        w[i], first[i], second[i] = adam(
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


# -------------------------------------------------------------------------------------------------------------- columns


@cache
def column_function(dtype):
    """total(j, B, O, dz, squared): the sum of column j of dz (B,O), or of its squares, known to its threads.

    All threads of a block call it, those of a column that does not exist too: they wait for each other inside.
    """
    zero = dtype(0)

    @cuda.jit(device=True)
    def total(j, B, O, dz, squared):
        parts = cuda.shared.array(THREADS, dtype)
        me = cuda.threadIdx.x
        part = zero
        if j < O:
            for b in range(me // WARP, B, TEAM):
                value = dz[b * O + j]
                part += value * value if squared else value
        parts[me] = part
        cuda.syncthreads()
        half = TEAM // 2
        while half > 0:
            if me < half * WARP:
                parts[me] += parts[me + half * WARP]
            cuda.syncthreads()
            half //= 2
        found = parts[me % WARP]
        cuda.syncthreads()
        return found

    return total


@cache
def column_kernels(dtype):
    """sums(B, O, dz, db) and shrink(I, O, W, limit), which holds the columns of W (I,O) to a norm."""
    total, formula = column_function(dtype), formulas(dtype)
    square_root, shrink_to, one = formula.square_root, formula.shrink, dtype(1)

    @cuda.jit
    def sums(B, O, dz, db):
        for start in range(cuda.blockIdx.x * WARP, O, cuda.gridDim.x * WARP):
            j = start + cuda.threadIdx.x % WARP
            found = total(j, B, O, dz, False)
            if j < O and cuda.threadIdx.x < WARP:
                db[j] = found

    @cuda.jit(device=True)
    def shrink_share(block, blocks, I, O, W, limit):
        for start in range(block * WARP, O, blocks * WARP):
            j = start + cuda.threadIdx.x % WARP
            factor = shrink_to(square_root(total(j, I, O, W, True)), limit)
            if j < O and factor < one:
                for i in range(cuda.threadIdx.x // WARP, I, TEAM):
                    W[i * O + j] *= factor

    @cuda.jit
    def shrink(I, O, W, limit):
        shrink_share(cuda.blockIdx.x, cuda.gridDim.x, I, O, W, limit)

    return SimpleNamespace(sums=sums, shrink=shrink, shrink_share=shrink_share)


# ----------------------------------------------------------------------------------------------------------------- rows
# What is done to rows of logits is in cuda/losses.py; here is how the threads of a row add up what they have found.


@cache
def team_functions(dtype, team):
    """add_up(parts) and largest(parts): what the `team` threads of a row have found, in place, at their first thread.

    `parts` is shared memory (n, THREADS), a column a thread. Whoever has read the result must wait before he writes
    there again.
    """

    @cuda.jit(device=True)
    def add_up(parts):
        me = cuda.threadIdx.x
        cuda.syncthreads()
        half = team // 2
        while half > 0:
            if me % team < half:
                for n in range(parts.shape[0]):
                    parts[n, me] += parts[n, me + half]
            cuda.syncthreads()
            half //= 2

    @cuda.jit(device=True)
    def largest(parts):
        me = cuda.threadIdx.x
        cuda.syncthreads()
        half = team // 2
        while half > 0:
            if me % team < half:
                for n in range(parts.shape[0]):
                    parts[n, me] = max(parts[n, me], parts[n, me + half])
            cuda.syncthreads()
            half //= 2

    return SimpleNamespace(add_up=add_up, largest=largest)


# --------------------------------------------------------------------------------------------------- the whole gradient

PARTS = 3 if SIMULATED else 64  # partial sums of a whole vector
TINY_STEP = 2.0**-40            # squares of gradients that explode overflow; those of gradients times this do not


@cache
def norm_functions(dtype):
    """squares_share(part, dw, parts): a part of two sums of squares of dw (P,), of dw itself and of dw times TINY_STEP.

    length(parts) makes of all parts the length of dw. Two kernels, or a wait of all blocks, lie between.
    """
    square_root = formulas(dtype).square_root
    add_up = team_functions(dtype, THREADS).add_up
    zero, tiny = dtype(0), dtype(TINY_STEP)

    @cuda.jit(device=True)
    def squares_share(part, dw, parts):
        sums = cuda.shared.array((2, THREADS), dtype)
        me = cuda.threadIdx.x
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
            return square_root(small) / tiny
        return square_root(plain)

    return SimpleNamespace(squares_share=squares_share, length=length)


@cache
def clip_kernels(dtype):
    """squares(dw, parts) and then scale(dw, parts, limit): holds dw (P,) to a length."""
    functions, shrink_to = norm_functions(dtype), formulas(dtype).shrink
    squares_share, length = functions.squares_share, functions.length

    @cuda.jit
    def squares(dw, parts):
        for part in range(cuda.blockIdx.x, PARTS, cuda.gridDim.x):
            squares_share(part, dw, parts)

    @cuda.jit
    def scale(dw, parts, limit):
        factor = shrink_to(length(parts), limit)
        for i in range(cuda.grid(1), dw.size, cuda.gridsize(1)):
            dw[i] *= factor

    return SimpleNamespace(squares=squares, scale=scale)
