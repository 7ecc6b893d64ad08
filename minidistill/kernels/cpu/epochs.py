# SPDX-License-Identifier: MIT
"""A whole epoch in one call: `train_steps`, a loop of forward pass, loss, backward pass and update.

A small network takes a few microseconds per step, and a call into compiled code costs 45 nanoseconds per array.
"""

import math

import numpy as np

from ...support.checks import check_whole
from ..arguments import (
    as_dtype,
    as_labels,
    check_apart,
    check_changed_in_place,
    check_classes,
    check_readable,
    check_shape,
)
from .cache import kernel
from .layout import count_parameters, unpack
from .losses import check_loss_settings, loss_rows
from .network import backward_pass, forward_pass, gather
from .norms import clip, shrink_columns
from .row_loss import LossRecord
from .simd import pointer
from .updates import SGD, UpdateRule, make_update, update_flat


def _check_steps(
    plan, parameters, gradients, state, x, order, batch, rates, labels, targets,
    alpha, temperature, label_smoothing, optimizer,
):  # fmt: skip
    """The arguments of `train_steps`."""
    unpacked, N, classes = plan.unpacked(), len(x), plan.classes
    P = int(count_parameters.py_func(unpacked))
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
    check_shape("x", x, (N, int(unpacked.sizes[0])))
    check_shape("labels", labels, (N,), (N, classes))
    check_shape("targets", targets, (N, classes))
    check_loss_settings(alpha, temperature, label_smoothing, labels=labels, targets=targets)
    if not 0 < check_whole("batch", batch) <= unpacked.batch:
        raise ValueError(f"batch must be in 1..{unpacked.batch}, which the plan was made for, got {batch}")
    if order.ndim != 1 or order.dtype.kind not in "iu":
        raise TypeError(f"order must be whole numbers of shape (rows,), got {order.shape} {order.dtype}")
    check_shape("rates", rates, (-(-len(order) // batch),))
    check_classes("order", order, N)
    if labels is not None and labels.ndim == 1:
        check_classes("labels", as_labels("labels", labels, N), classes)


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

        row_loss = LossRecord(
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
            dw = pointer(gradients, 0)
            clip(dw, gradients.size, cast(optimizer.clip_norm))
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
    labels=None, targets=None, alpha=0.0, temperature=1.0, label_smoothing=0.0, optimizer=UpdateRule(), step=0,
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
    settings = LossRecord(float(alpha), float(temperature), 1 / temperature, float(kept), float(spread), 0.0)
    order = np.ascontiguousarray(order, np.int64)
    done = _train_steps(
        *plan.arrays, parameters, gradients, state[0], state[-1], x, order, batch, labels, y, t,
        settings, optimizer, rates, step, losses,
    )  # fmt: skip
    return losses[:done]
