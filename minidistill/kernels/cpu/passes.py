# SPDX-License-Identifier: MIT
"""A network's passes in one compiled call each: what `MLP` and `fit` ask of a backend that can do more than ops.py.

The readable passes are in network.py and the readable epoch in training.py; these mean the same (tested), with fewer
calls: a small network takes microseconds a step, and so does a call from Python.
"""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .. import cpu, protocols
from ..protocols import Network

BATCH = 128  # rows that prediction takes through the layers together
SECONDS_A_CALL = 0.2  # an epoch is cut into calls of about this length: between them Ctrl-C is heard


class PassCache(NamedTuple):
    """What a compiled forward pass keeps: its input, and the memory where each layer left its activations."""

    plan: Any
    x: np.ndarray
    step: int

    @property
    def hidden(self) -> list[np.ndarray]:
        """The hidden activations as the layer after each saw them (dropout included), each (B, width)."""
        plan, B = self.plan.unpacked(), len(self.x)
        memory, pairs = plan.memory, zip(plan.outputs[1:-1], plan.sizes[1:-1], strict=True)
        return [memory[place : place + B * width].reshape(B, width) for place, width in pairs]


class Passes:
    """The compiled passes of one network.

    A prediction takes its memory from `idle` and puts it back: numba lets other threads of Python run inside a parallel
    loop, so calls at the same time need memory of their own.
    """

    takes_gpu_arrays = False

    def __init__(self, network: Network) -> None:
        self.network = network
        self.idle = [self.plan_for(BATCH)]

    def plan_for(self, batch: int, training: bool = True) -> Any:
        """Memory for so many rows. A plan's backward pass goes by its dropout: out of training it has none."""
        network = self.network
        dropout = network.dropout if training else (0.0,) * len(network.dropout)
        return cpu.plan(network.sizes, network.activation, dropout, network.seed, batch, network.dtype)

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Logits (N,C) of x (N,I), in evaluation mode."""
        try:
            plan = self.idle.pop()
        except IndexError:
            plan = self.plan_for(BATCH)
        try:
            logits: np.ndarray = cpu.forward(plan, self.network.parameters, x)
        finally:
            self.idle.append(plan)
        return logits

    def forward(self, x: np.ndarray, training: bool, step: int) -> tuple[np.ndarray, PassCache]:
        if x.ndim != 2 or x.shape[1] != self.network.sizes[0]:  # the kernels do not check what they read
            raise ValueError(f"x must have shape (B, {self.network.sizes[0]}), got {x.shape}")
        plan = self.plan_for(len(x), training)
        x = np.ascontiguousarray(x, self.network.dtype)
        return cpu.forward(plan, self.network.parameters, x, True, step), PassCache(plan, x, step)

    def backward(self, dlogits: np.ndarray, cache: PassCache, input_gradient: bool) -> np.ndarray | None:
        network = self.network
        if dlogits.shape != (len(cache.x), network.sizes[-1]):
            raise ValueError(f"dlogits must have shape {(len(cache.x), network.sizes[-1])}, got {dlogits.shape}")
        dlogits = np.ascontiguousarray(dlogits, network.dtype)
        cpu.backward(cache.plan, network.parameters, network.gradients, cache.x, dlogits, cache.step)
        return self._input_gradient(cache) if input_gradient else None

    def _input_gradient(self, cache: PassCache) -> np.ndarray:
        """dx (B,I): the error that `backward` left of the first layer, through its weights and its dropout."""
        plan, network, B = cache.plan.unpacked(), self.network, len(cache.x)
        place = plan.errors[(len(plan.sizes) - 2) % 2]  # two places took turns on the way down
        dz = plan.memory[place : place + B * plan.sizes[1]].reshape(B, -1)      # (B,O)
        dx, _, _ = cpu.linear_backward(dz, (cache.x, network.weights[0]))       # (B,I)
        rate = plan.dropout[0]
        if rate > 0:
            dx = cpu.dropout_backward(dx, cpu.dropout_mask(dx.shape, rate, network.seed, cache.step, 0, dx.dtype))
        return np.asarray(dx)


class Epochs:
    """Whole epochs of one training run. `loss` and `optimizer` are what their `compiled()` returns."""

    def __init__(self, network: Network, loss: dict[str, float], optimizer: dict[str, Any], batch_size: int) -> None:
        self.network = network
        self.batch_size = batch_size
        self.plan = Passes(network).plan_for(batch_size)
        self.loss = loss
        self.steps_a_call = 1  # until it is measured
        kind = {"sgd": cpu.SGD, "adam": cpu.ADAM}[optimizer["rule"]]
        settings = {name: value for name, value in optimizer.items() if name != "rule"}
        settings["nesterov"] = bool(settings.get("nesterov", False))  # numba compiles another kernel for another type
        self.optimizer = cpu.Optimizer(kind=int(kind), **settings)

    def losses(
        self,
        x: np.ndarray,
        labels: np.ndarray | None,
        targets: np.ndarray | None,
        state: np.ndarray,
        order: np.ndarray,
        rates: np.ndarray,
        first_step: int,
    ) -> Iterator[float]:
        """Trains on the rows `order` and yields the loss of each step; the last one may be not finite."""
        network, done = self.network, 0
        targets = targets if self.loss["alpha"] > 0 else None  # not read, whatever they are
        while done < len(rates):
            start, count = time.perf_counter(), min(self.steps_a_call, len(rates) - done)
            rows = order[done * self.batch_size : (done + count) * self.batch_size]
            values = cpu.train_steps(
                self.plan, network.parameters, network.gradients, state, x, rows, self.batch_size,
                rates[done : done + count], labels, targets, optimizer=self.optimizer, step=first_step + done,
                **self.loss,
            )  # fmt: skip
            yield from values.tolist()
            done += len(values)
            self.steps_a_call = max(1, int(count * SECONDS_A_CALL / (time.perf_counter() - start)))


def integers(network: protocols.IntegerNetwork) -> protocols.IntegerPasses:
    """The compiled pass of a network of integers."""
    from .int8 import IntegerPasses

    return IntegerPasses(network)
