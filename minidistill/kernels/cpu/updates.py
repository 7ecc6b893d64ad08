# SPDX-License-Identifier: MIT
"""Parameter updates: SGD with momentum and Adam, one Vector at a time.

In a large layer the epilogue of the weight gradient's product calls them, while the gradient is in registers.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from numba import njit

from ...support.checks import check_whole
from ..arguments import are_alike, as_dtype, check_apart, check_changed_in_place, check_readable, check_shape
from .cache import kernel
from .formulas import formula
from .simd import at, broadcast, lanes, load_first, over_row, pointer, store_first

SGD, ADAM = np.arange(2)
LARGE_LAYER = 1 << 17  # weights: from here on, gradients are not written to memory and read again, but used at once


class UpdateRule(NamedTuple):
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


@njit
def make_update(optimizer, rate, step, parameters):
    """The Update number `step`, counted from 1."""
    cast = parameters.dtype.type
    return Update(
        optimizer.kind, cast(rate), cast(optimizer.weight_decay), cast(optimizer.momentum), optimizer.nesterov,
        cast(optimizer.beta1), cast(optimizer.beta2), cast(optimizer.epsilon),
        cast(1 - optimizer.beta1**step), cast(1 - optimizer.beta2**step),
    )  # fmt: skip


@njit
def no_update(parameters):
    zero = parameters.dtype.type(0)
    return Update(SGD, zero, zero, zero, zero > 0, zero, zero, zero, zero, zero)


@njit(forceinline=True)
def update_parameters(optimizer, place, w, first_state, second_state, left, dw, update):
    """The Vector of parameters at this place, of which `left` lanes count, and what the optimizer remembers of them."""
    w, first_state, second_state = at(w, place), at(first_state, place), at(second_state, place)
    old = load_first(w, left)
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


@njit(forceinline=True)
def update_vector(i, left, result, w, dw, first_state, second_state, update):
    update_parameters(update.optimizer, i, w, first_state, second_state, left, load_first(at(dw, i), left), update)


@njit
def update_flat(P, w, dw, first_state, second_state, update):
    """P parameters, from their gradients and what the optimizer remembers; all are pointers."""
    over_row(update_vector, P, lanes(w), None, w, dw, first_state, second_state, update)


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
    settings = UpdateRule(SGD, float(momentum), bool(nesterov), float(weight_decay))
    _update(w, dw, v, v, settings, float(rate), 1)


def adam_update(w, dw, m, v, rate, step, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0):
    dw = _checked_update(w, dw, m=m, v=v)
    settings = UpdateRule(ADAM, 0.0, False, float(weight_decay), float(beta1), float(beta2), float(epsilon))
    _update(w, dw, m, v, settings, float(rate), check_whole("step", step))
