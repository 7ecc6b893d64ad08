# SPDX-License-Identifier: MIT
"""Many training steps in one launch: a kernel that goes on from step to step, with everything on the card.

A launch costs the host several microseconds, and a small network has a dozen small pieces of work a step: launched one
by one, the card would wait for the host most of the time. So all blocks are launched once and go through the steps
together. Where one piece of work reads what another has written, all blocks wait for each other. Between two waits they
run in any order:

    gather      the rows of the batch, after dropout
    forward     a wait a layer: the product, bias, activation and dropout in one piece
    loss        value and gradient in one piece; all blocks stop together where it is not finite
    backward    a wait a layer: dz of the layer below, then the weights of this one, updated while their gradient is
                still in a register. A weight is changed one wait after it was last read
    limits      only where gradients are clipped or norms held

The same maths as training/run.py and cpu/epochs.py, in the same order.
"""

import math
from functools import cache

import numpy as np

from .device import cuda, formulas, types
from .losses import loss_function
from .matmul import finish_backward, finish_forward, finish_update, product_function, store
from .rows import ADAM, PARTS, clip_functions, column_norms, column_sums, dropout_function, update_function

ERRORS = 3  # places for dz: one is read, one written, and one may still be read by blocks that are a piece behind


@cache
def epoch_kernel(dtype, activation, optimizer, tile, few, clipped):
    """epoch(...), whose arguments are those of `signature`, compiled for what the names say.

    few      the loss is shared out as for few classes
    clipped  the gradient is written, measured and shortened before it is used
    """
    finish_gradient = store if clipped else finish_update(dtype, optimizer)
    forward_hidden = product_function(dtype, tile, False, False, finish_forward(dtype, activation)).function
    forward_logits = product_function(dtype, tile, False, False, finish_forward(dtype, None)).function
    backward = product_function(dtype, tile, False, True, finish_backward(dtype, activation)).function
    gradient = product_function(dtype, tile, True, False, finish_gradient).function
    bias_gradient = column_sums(dtype, finish_gradient).function
    loss_share, shrink_share = loss_function(dtype, few).function, column_norms(dtype).function
    squares_share, length = clip_functions(dtype).squares.function, clip_functions(dtype).length
    update, masked, formula = update_function(dtype, optimizer), dropout_function(dtype), formulas(dtype)
    zero = dtype(0)

    @cuda.jit(device=True)
    def wait(arrivals, turn):
        """All blocks wait for each other, for the time number `turn`, counted from 1; returns the next one."""
        cuda.syncthreads()
        if cuda.threadIdx.x == 0:
            cuda.threadfence()  # what this block has written is there before its arrival is
            cuda.atomic.add(arrivals, 0, 1)
            while cuda.atomic.add(arrivals, 0, 0) < turn * cuda.gridDim.x:
                pass
            cuda.threadfence()
        cuda.syncthreads()
        return turn + 1

    @cuda.jit(device=True)
    def key_of_layer(seed, step, layer):
        hash32 = formula.hash32
        return hash32(hash32(hash32(np.uint64(seed)) + np.uint64(step)) + np.uint64(layer))

    @cuda.jit(device=True)
    def gather(B, I, x, rows, key, threshold, scale, to):
        for i in range(cuda.grid(1), B * I, cuda.gridsize(1)):
            row, column = i // I, i % I
            to[i] = masked(x[rows[row] * I + column], key, row, column, threshold, scale)

    @cuda.jit
    def epoch(
        sizes, outputs, kept, thresholds, scales, errors, values_at, parts_at, memory,
        parameters, gradients, first, second, x, t, y, labels, order, batch,
        rates, all_corrections, weights, settings, losses,
        alpha, T, label_kept, label_spread, limit, max_norm, seed, first_step, arrivals,
    ):  # fmt: skip
        turn, layers = 1, sizes.size - 1
        C = sizes[layers]
        for k in range(rates.size):
            step = first_step + k
            rows = order[k * batch : min((k + 1) * batch, order.size)]
            B = rows.size
            rate, corrections = rates[k], (all_corrections[k, 0], all_corrections[k, 1])

            gather(B, sizes[0], x, rows, key_of_layer(seed, step, 0), thresholds[0], scales[0], memory)
            turn = wait(arrivals, turn)

            place = 0
            for layer in range(layers):
                I, O = sizes[layer], sizes[layer + 1]
                a = memory[outputs[layer] : outputs[layer] + B * I]
                out = memory[outputs[layer + 1] : outputs[layer + 1] + B * O]
                W, bias = parameters[place : place + I * O], parameters[place + I * O : place + (I + 1) * O]
                wide_a, wide_W = I % 4 == 0, O % 4 == 0 and place % 4 == 0
                if layer < layers - 1:
                    keep = memory[kept[layer + 1] : kept[layer + 1] + B * O]
                    key = key_of_layer(seed, step, layer + 1)
                    to = (out, bias, keep, key, thresholds[layer + 1], scales[layer + 1])
                    forward_hidden(B, O, I, a, W, wide_a, wide_W, to)
                else:
                    forward_logits(B, O, I, a, W, wide_a, wide_W, (out, bias))
                place += (I + 1) * O
                turn = wait(arrivals, turn)

            s = memory[outputs[layers] : outputs[layers] + B * C]
            ds, values = memory[errors[0] : errors[0] + B * C], memory[values_at : values_at + B]
            loss_share(B, C, s, t, y, labels, rows, ds, values, alpha, T, label_kept, label_spread, weights[k])
            turn = wait(arrivals, turn)
            total = zero
            for b in range(B):  # by every thread, in the same order: all blocks know the same loss
                total += values[b]
            if cuda.grid(1) == 0:
                losses[k] = total * weights[k]
            if not math.isfinite(total):
                return

            for layer in range(layers - 1, -1, -1):
                I, O = sizes[layer], sizes[layer + 1]
                place -= (I + 1) * O
                above, below = errors[(layers - 1 - layer) % ERRORS], errors[(layers - layer) % ERRORS]
                a, dz = memory[outputs[layer] : outputs[layer] + B * I], memory[above : above + B * O]
                middle, end = place + I * O, place + (I + 1) * O
                W = parameters[place:middle]
                wide_a, wide_dz = I % 4 == 0, O % 4 == 0
                if layer > 0:
                    out, keep = memory[below : below + B * I], memory[kept[layer] : kept[layer] + B * I]
                    key = key_of_layer(seed, step, layer)
                    to = (out, keep, key, thresholds[layer], scales[layer])
                    backward(B, I, O, dz, W, wide_dz, wide_dz and place % 4 == 0, to)
                    turn = wait(arrivals, turn)
                if clipped:
                    to_W, to_bias = (gradients[place:middle],), (gradients[middle:end],)
                else:
                    to_W = (W, first[place:middle], second[place:middle], rate, corrections, settings)
                    bias = parameters[middle:end]
                    to_bias = (bias, first[middle:end], second[middle:end], rate, corrections, settings)
                gradient(I, O, B, a, dz, wide_a, wide_dz, to_W)
                bias_gradient(B, O, dz, to_bias)

            if clipped:
                turn = wait(arrivals, turn)
                parts = memory[parts_at : parts_at + 2 * PARTS]
                squares_share(gradients, parts)
                turn = wait(arrivals, turn)
                factor = formula.shrink(length(parts), limit)
                for i in range(cuda.grid(1), parameters.size, cuda.gridsize(1)):
                    update(i, gradients[i] * factor, parameters, first, second, rate, corrections, settings)
            turn = wait(arrivals, turn)
            if max_norm > zero:
                place = 0
                for layer in range(layers):
                    I, O = sizes[layer], sizes[layer + 1]
                    shrink_share(I, O, parameters[place : place + I * O], max_norm)
                    place += (I + 1) * O
                # no wait: nobody reads a weight before the rows of the next batch are gathered, and that has its own

    return epoch


def signature(dtype, optimizer):
    """The types of the arguments of an epoch, as numba calls them."""
    real, whole, word = (types.float32 if dtype().itemsize == 4 else types.float64), types.int64, types.uint32
    reals, wholes = real[::1], whole[::1]
    plan = wholes, wholes, wholes, word[::1], reals, wholes, whole, whole, reals
    data = reals, reals, reals, reals, reals, reals, reals, wholes, wholes, whole
    settings = types.UniTuple(real, 4 if optimizer == ADAM else 3)
    return (*plan, *data, reals, real[:, ::1], reals, settings, reals, *[real] * 6, whole, whole, types.int32[::1])
