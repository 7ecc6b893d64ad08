# SPDX-License-Identifier: MIT
"""Adapters of JAX: a jitted function per step, or one `lax.scan` over all steps. ImportError where it is missing."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from ...network import MLP
from .cases import MOMENTUM, RATE, SOFT, Forward, LossGradient, Training, Work


def jax_loss(jax: Any, distil: bool) -> Callable[[Any, Any, Any], Any]:
    log_softmax, T, alpha = jax.nn.log_softmax, SOFT.temperature, SOFT.alpha

    def loss(s: Any, t: Any, y: Any) -> Any:
        hard = -jax.numpy.take_along_axis(log_softmax(s), y[:, None], 1).mean()
        if not distil:
            return hard
        log_q, log_p = log_softmax(s / T), log_softmax(t / T)
        soft = (jax.numpy.exp(log_p) * (log_p - log_q)).sum(axis=1).mean()
        return (1 - alpha) * hard + alpha * T * T * soft

    return loss


def jax_network(jax: Any, network: MLP) -> tuple[Any, Callable[[Any, Any], Any]]:
    """Its parameters, and the function of them and the rows that gives logits."""

    def forward(layers: Any, x: Any) -> Any:
        *hidden, (W_last, b_last) = layers
        for W, b in hidden:
            x = jax.nn.relu(x @ W + b)
        return x @ W_last + b_last

    return jax.tree.map(jax.numpy.array, list(zip(network.weights, network.biases, strict=True))), forward


def jax_training(case: Training, threads: int, scan: bool = False) -> Work:
    """A call a step; or, with `scan`, all steps in one call."""
    jax = import_module("jax")
    tree, loss = jax.tree.map, jax_loss(jax, case.distil)
    first, forward = jax_network(jax, case.network())
    batches: Any = case.batches(jax.numpy.asarray)
    state: Any = None

    def step(state: Any, batch: Any) -> Any:
        (parameters, velocities), (x, y, t) = state, batch
        gradients = jax.grad(lambda p: loss(forward(p, x), t, y))(parameters)
        velocities = tree(lambda v, g: MOMENTUM * v + g, velocities, gradients)
        return (tree(lambda p, v: p - RATE * v, parameters, velocities), velocities), None

    if scan:
        batches = [tree(lambda *parts: jax.numpy.stack(parts), *batches)]
    compiled = jax.jit(partial(jax.lax.scan, step) if scan else step, donate_argnums=0)

    def run() -> None:
        nonlocal state
        for batch in batches:
            state, _ = compiled(state, batch)
        jax.block_until_ready(state)

    def reset() -> None:
        nonlocal state  # copies, for what is donated is written over
        state = tree(jax.numpy.array, first), tree(jax.numpy.zeros_like, first)
        jax.block_until_ready(state)

    return Work.training(run, lambda: jax.tree.leaves(state[0]), reset)


def jax_jit_loss(case: LossGradient, threads: int) -> Work:
    jax = import_module("jax")
    s, y, t = map(jax.numpy.asarray, case.data)
    compiled = jax.jit(jax.value_and_grad(jax_loss(jax, distil=True)))

    def run() -> Any:
        return jax.block_until_ready(compiled(s, t, y))

    return Work(run, run)


def jax_forward(case: Forward, threads: int) -> Work:
    jax = import_module("jax")
    parameters, forward = jax_network(jax, case.network())
    compiled, x = jax.jit(forward), jax.numpy.asarray(case.data.x)
    return Work.forward(lambda: compiled(parameters, x).block_until_ready())
