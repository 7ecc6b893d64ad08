# SPDX-License-Identifier: MIT
"""Where in memory the passes of a network keep what: planned once for its sizes and a batch.

Sizes are data here, not types: one compilation serves every depth and width.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit

from ...support.checks import as_tuple, check_choice, check_number, check_whole
from ..arguments import FLOATS
from ..memory import Places, aligned_zeros
from ..threads import count_in_memory, usable_threads
from . import matmul
from .activations import ACTIVATIONS
from .losses import loss_scratch_size


class MemoryPlan(NamedTuple):
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
    """A MemoryPlan as Python holds it: to pass two arrays takes 0.1 microseconds, a MemoryPlan 3."""

    arrays: tuple           # all its whole numbers, with the bits of the dropout rates as one row; its memory
    classes: int

    def unpacked(self):
        return unpack.py_func(*self.arrays)


@njit
def unpack(numbers, memory):
    threads, above, below, values, scratch, activation, seed, batch = numbers[:8]
    outputs, kept, sizes, rates = numbers[8:].reshape(4, -1)
    errors = above, below
    dropout = rates.view(np.float64)
    return MemoryPlan(sizes, outputs, kept, dropout, memory, errors, values, scratch, activation, seed, batch, threads)


@njit
def count_parameters(plan):
    P = 0
    for k in range(plan.sizes.size - 1):
        P += (plan.sizes[k] + 1) * plan.sizes[k + 1]
    return P


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
    outputs, kept, places = np.zeros(layers + 1, np.int64), np.zeros(layers + 1, np.int64), Places()
    take = places.take
    for k, size in enumerate(sizes):
        outputs[k] = kept[k] = take(batch * size)
        if 0 < k < layers and (activation == "gelu" or (activation == "tanh" and dropout[k] > 0)):
            kept[k] = take(batch * size)
    errors = take(batch * max(sizes)), take(batch * max(sizes))
    values = take(batch)
    of_products = max(matmul.scratch_size(K, dtype, threads) for K in (*sizes, batch))
    scratch = take(max(of_products, loss_scratch_size(sizes[-1], dtype, threads)))
    rates = np.array([*dropout, 0], np.float64).view(np.int64)
    numbers = threads, *errors, values, scratch, ACTIVATIONS[activation], seed & 0xFFFFFFFF, batch
    return count_in_memory(np.array([*numbers, *outputs, *kept, *sizes, *rates], np.int64)), places.end
