# SPDX-License-Identifier: MIT
"""The passes of a network in one call each, over its flat parameters.

What a product leaves in the cache is finished there, by its epilogue.
"""

import numpy as np
from numba import njit

from ...support.checks import check_no_overflow
from ..arguments import are_alike, check_apart, check_changed_in_place, check_dimensions, check_readable, check_shape
from . import arithmetic, matmul, simd
from .activations import IDENTITY
from .cache import kernel
from .dropout import key_of_row, make_mask, masked
from .epilogues import BACKWARD, FORWARD, STORE, STORE_TURNED, UNIT, UPDATE, Finish, product
from .layout import count_parameters, unpack
from .matmul import NEVER, WHERE_IT_PAYS, count_blocks
from .simd import at, broadcast, lanes, load_first, pointer, store_first
from .updates import LARGE_LAYER, no_update, update_flat

# numba compiles, optimizes and links each function with all that it calls. A large one that is used in two or three
# kernels costs less as text that each of them repeats.
part_of_a_kernel = njit(inline="always")


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
    """From dlogits, in the plan's first error, to the gradients; or, where `fused` is true, to the new parameters.

    Returns the place in the plan's memory where dz of the first layer is.
    """
    itemsize = parameters.itemsize
    layers = plan.sizes.size - 1
    scratch = pointer(plan.memory, plan.scratch)
    above, below = plan.errors
    place, dz_place = parameters.size, above
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
        dz_place, above, below = above, below, above
    return dz_place


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


FITS, MISFITS, OVERFLOWS = np.arange(3)  # what a pass returns: it is done, is not begun, or its logits are not finite
NO_PLACE = -1  # what `_backward` returns where the arrays are not those of the plan


@kernel
def _forward(numbers, memory, parameters, x, training, step, logits):
    plan = unpack(numbers, memory)
    C, N = plan.sizes[-1], len(x)
    if x.shape[1] != plan.sizes[0] or parameters.size != count_parameters(plan) or (training and len(x) > plan.batch):
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
    return FITS if arithmetic.sum_lanes(not_finite) == 0 else OVERFLOWS


@kernel
def _backward(numbers, memory, parameters, gradients, x, dlogits, step):
    plan = unpack(numbers, memory)
    B, C = dlogits.shape
    P = count_parameters(plan)
    if len(x) > plan.batch or x.shape[1] != plan.sizes[0] or dlogits.shape != (len(x), plan.sizes[-1]):
        return NO_PLACE
    if parameters.size != P or gradients.size != P:
        return NO_PLACE
    dz = pointer(plan.memory, plan.errors[0])
    for i in range(B * C):
        dz[i] = dlogits.flat[i]
    inputs = pointer(x, 0)
    if plan.dropout[0] > 0:
        inputs = pointer(plan.memory, plan.outputs[0])  # where the forward pass left them
    update = no_update(parameters)
    return backward_pass(B, inputs, plan, parameters, gradients, gradients, gradients, update, False, step)


def _check_pass(plan, parameters, x, training=True):
    """Refuses a pass whose arrays are not of the plan's sizes and dtype. Slow: the kernel sees it first."""
    dtype, unpacked = plan.arrays[1].dtype, plan.unpacked()
    inputs = int(unpacked.sizes[0])
    check_readable("parameters", parameters, dtype)
    check_shape("parameters", parameters, (int(count_parameters.py_func(unpacked)),))
    check_readable("x", x, dtype)
    check_dimensions("x", x, f"(N, {inputs})")
    check_shape("x", x, (len(x), inputs))
    if training and len(x) > unpacked.batch:
        raise ValueError(f"x must have at most the {unpacked.batch} rows that the plan was made for, got {len(x)}")


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
    """Writes the gradients (P,) after `forward(..., training=True)` on the same x and step.

    Returns the place in the plan's memory where dz (B,O) of the first layer is.
    """
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
    dz_place = _backward(*plan.arrays, parameters, gradients, x, dlogits, step)
    if dz_place == NO_PLACE:
        _check_pass(plan, parameters, x)
        check_shape("gradients", gradients, parameters.shape)
        check_shape("dlogits", dlogits, (len(x), plan.classes))
    return dz_place
