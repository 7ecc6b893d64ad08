# SPDX-License-Identifier: MIT
"""A network's passes and epochs with everything on the card: what `MLP` and `fit` ask of the CUDA backend.

As passes.py for the CPU. The network's parameters live on the host, where everybody may look at them and change them: a
pass copies them to the card first, and an epoch copies them there and back. What an epoch needs beside them (data,
activations, errors, the optimizer's state) is put on the card once and stays.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ...support.checks import check_no_overflow
from .. import cuda
from ..memory import Places
from ..protocols import IntegerNetwork, Network
from . import epochs as cuda_epochs, matmul as cuda_matmul, rows as cuda_rows
from .device import SIMULATED, THREADS, WARP, block_count, empty, flat, multiprocessors, to_gpu
from .losses import FEW_CLASSES
from .rows import PARTS, dropout_arguments, threshold_and_scale

BATCH = 4096            # rows that prediction takes through the layers together
STEPS_A_CALL = 256      # between two calls Ctrl-C is heard
LARGE_LAYER = 1 << 18   # multiply-adds of a layer, for the whole batch, a multiprocessor: from here on tiles are large


class PassCache(NamedTuple):
    """What a forward pass on the card keeps: every layer's inputs, what its activation keeps, and its dropout."""

    inputs: list[Any]       # (B,width) flat each, the first as dropout left it
    kept: list[Any]
    B: int
    step: int
    training: bool

    @property
    def hidden(self) -> list[np.ndarray]:
        """The hidden activations as the layer after each saw them (dropout included), each (B, width)."""
        return [a.copy_to_host().reshape(self.B, -1) for a in self.inputs[1:]]


class Passes:
    """The passes of one network, a launch or two a layer."""

    takes_gpu_arrays = True

    def __init__(self, network: Network) -> None:
        self.network = network
        self.real: Any = network.dtype.type

    def logits(self, x: Any) -> np.ndarray:
        """Logits (N,C) of x (N,I), on the host or on the card, in evaluation mode."""
        if len(x.shape) != 2 or x.shape[1] != self.network.sizes[0]:
            raise ValueError(f"x must have shape (N, {self.network.sizes[0]}), got {x.shape}")
        parameters, (N, I) = to_gpu(self.network.parameters), x.shape
        x = flat(x, self.network.dtype, "x (which is on the card)")
        portions = []
        for start in range(0, N, BATCH):
            B = min(BATCH, N - start)
            found, _ = self._forward(parameters, x[start * I : (start + B) * I], B, False, 0)
            portions.append(found.copy_to_host().reshape(B, -1))
        found = np.concatenate(portions)
        if not np.isfinite(found).all():
            check_no_overflow(found, x.copy_to_host(), self.network.parameters)
        return found

    def forward(self, x: Any, training: bool, step: int) -> tuple[np.ndarray, PassCache]:
        if x.ndim != 2 or x.shape[1] != self.network.sizes[0]:  # the kernels do not check what they read
            raise ValueError(f"x must have shape (B, {self.network.sizes[0]}), got {x.shape}")
        parameters = to_gpu(self.network.parameters)
        logits, cache = self._forward(parameters, flat(x, self.network.dtype), len(x), training, step)
        return logits.copy_to_host().reshape(len(x), -1), cache

    def backward(self, dlogits: np.ndarray, cache: PassCache, input_gradient: bool) -> np.ndarray | None:
        network, B = self.network, cache.B
        if dlogits.shape != (B, network.sizes[-1]):
            raise ValueError(f"dlogits must have shape {(B, network.sizes[-1])}, got {dlogits.shape}")
        parameters, gradients = to_gpu(network.parameters), empty(network.num_parameters, network.dtype)
        dz, end = flat(dlogits, network.dtype), network.num_parameters
        for layer in range(len(network.sizes) - 2, -1, -1):
            I, O = network.sizes[layer : layer + 2]
            place, middle = end - (I + 1) * O, end - O
            dW, db = gradients[place:middle], gradients[middle:end]
            a = cache.inputs[layer]
            cuda_matmul.multiply(self.real, (I, O, B), a, dz, (True, False), cuda_matmul.store, (dW,))
            sums = cuda_rows.column_sums(self.real, cuda_matmul.store).kernel
            sums[block_count(O, WARP), THREADS](B, O, dz, (db,))
            if layer > 0 or input_gradient:
                finish = cuda_matmul.finish_backward(self.real, network.activation if layer > 0 else None)
                dx = empty(B * I, network.dtype)
                to = (dx, cache.kept[layer], *self._mask(layer, cache.step, cache.training))
                W = parameters[place:middle]
                cuda_matmul.multiply(self.real, (B, I, O), dz, W, (False, True), finish, to, short=layer == 0)
                dz = dx
            end = place
        network.gradients[:] = gradients.copy_to_host()
        return dz.copy_to_host().reshape(B, -1) if input_gradient else None

    def _forward(self, parameters: Any, x: Any, B: int, training: bool, step: int) -> tuple[Any, PassCache]:
        """Logits, flat and on the card, of x, which is as well."""
        network = self.network
        if training and network.dropout[0] > 0:
            x, _ = cuda.dropout_forward(x.reshape(B, -1), network.dropout[0], network.seed, step, 0)
            x = x.reshape(x.size)
        inputs, kept, place = [x], [x], 0
        last = len(network.sizes) - 2
        for layer, (I, O) in enumerate(pairwise(network.sizes)):
            out, middle = empty(B * O, network.dtype), place + I * O
            to: tuple[Any, ...] = (out, parameters[middle : middle + O])
            if layer < last:
                keep = out if network.activation == "relu" else empty(B * O, network.dtype)
                to = (*to, keep, *self._mask(layer + 1, step, training))
                kept.append(keep)
            finish = cuda_matmul.finish_forward(self.real, network.activation if layer < last else None)
            W = parameters[place:middle]
            shape, short = (B, O, I), layer == last
            cuda_matmul.multiply(self.real, shape, inputs[layer], W, (False, False), finish, to, short=short)
            inputs.append(out)
            place = middle + O
        return inputs.pop(), PassCache(inputs, kept, B, step, training)

    def _mask(self, layer: int, step: int, training: bool) -> tuple[Any, ...]:
        """Key, threshold and scale of the dropout before a layer."""
        rate = self.network.dropout[layer] if training else 0.0
        return dropout_arguments(rate, self.network.seed, step, layer, self.real)


class Epochs:
    """Whole epochs of one training run, for the two losses that are compiled: a launch for hundreds of steps."""

    def __init__(self, network: Network, loss: dict[str, float], optimizer: dict[str, Any], batch_size: int) -> None:
        self.network, self.batch, self.alpha = network, batch_size, loss["alpha"]
        sizes, rule, real = network.sizes, optimizer["rule"], network.dtype.type
        multiply_adds = batch_size * max(I * O for I, O in pairwise(sizes))
        large = multiply_adds >= LARGE_LAYER * multiprocessors()
        tile = cuda_matmul.REGISTERS if large else cuda_matmul.SHARED
        few, clipped = sizes[-1] <= FEW_CLASSES, optimizer["clip_norm"] > 0
        self.kernel = cuda_epochs.epoch_kernel(real, network.activation, rule, tile, few, clipped)
        products = [shape for I, O in pairwise(sizes) for shape in ((batch_size, O), (batch_size, I), (I, O))]
        # all blocks must be on the card at once, for they wait for each other: one a multiprocessor has room always
        most = 1 if SIMULATED else multiprocessors()  # the simulator runs one after the other
        self.blocks = min(most, max(block_count(tile.number_in(*shape), 1) for shape in products))
        self.plan = _plan(network, batch_size)
        self.gradients = empty(network.num_parameters, network.dtype)
        smoothing = loss.get("label_smoothing", 0.0)
        numbers = loss["alpha"], loss.get("temperature", 1.0), 1 - smoothing, smoothing / sizes[-1]
        self.numbers = tuple(map(real, (*numbers, optimizer["clip_norm"], optimizer["max_norm"])))
        self.betas = [optimizer.get(name, 0.0) for name in ("beta1", "beta2")]
        settings = {cuda_rows.SGD: ("momentum", "nesterov"), cuda_rows.ADAM: ("beta1", "beta2", "epsilon")}[rule]
        self.settings = tuple(real(optimizer[name]) for name in ("weight_decay", *settings))
        self.on_card: dict[str, tuple[Any, Any]] = {}

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
        network, P, steps = self.network, self.network.num_parameters, len(rates)
        whole = labels is not None and labels.ndim == 1
        data = [
            self._kept("x", x, network.dtype),
            self._kept("t", targets if self.alpha > 0 else None, network.dtype),
            self._kept("y", None if whole else labels, network.dtype),
            self._kept("labels", labels if whole else None, np.int64),
        ]
        # parameters, state and losses lie in one piece, and come back in one copy
        changed = np.concatenate([network.parameters, state.reshape(-1), np.full(steps, np.nan, network.dtype)])
        on_card, order = to_gpu(changed), to_gpu(order, np.int64)
        pieces = on_card[:P], self.gradients, on_card[P : 2 * P], on_card[len(state) * P : (len(state) + 1) * P]
        table = self._table(rates, first_step, order.size)
        for start in range(0, steps, STEPS_A_CALL):
            some = slice(start, min(start + STEPS_A_CALL, steps))
            rows = order[start * self.batch : some.stop * self.batch]
            found, arrivals = on_card[-steps:][some], to_gpu(np.zeros(1, np.int32))
            self.kernel[self.blocks, THREADS](
                *self.plan, *pieces, *data, rows, self.batch, *(to_gpu(column[some]) for column in table),
                self.settings, found, *self.numbers, network.seed & 0xFFFFFFFF, first_step + start, arrivals,
            )  # fmt: skip
            if steps > STEPS_A_CALL and not np.isfinite(found[-1:].copy_to_host()).all():
                break
        changed = on_card.copy_to_host()
        network.parameters[:] = changed[:P]
        state[...] = changed[P : P + state.size].reshape(state.shape)
        values = changed[P + state.size :].tolist()
        stop = next((k + 1 for k, value in enumerate(values) if not np.isfinite(value)), steps)
        yield from values[:stop]

    def _kept(self, name: str, array: Any, dtype: Any) -> Any:
        """`array`, flat on the card; where it is the one of the call before, it is there already."""
        known, on_card = self.on_card.get(name, (self, None))
        if known is not array:
            on_card = to_gpu(np.zeros(0) if array is None else np.reshape(array, -1), dtype)
            self.on_card[name] = array, on_card
        return on_card

    def _table(self, rates: np.ndarray, first_step: int, rows: int) -> tuple[np.ndarray, ...]:
        """Of each step the rate (S,), Adam's corrections (S,2) and one over the rows of the batch (S,)."""
        steps = first_step + 1 + np.arange(len(rates))
        corrections = np.stack([1 - np.power(beta, steps) for beta in self.betas], axis=1)
        batches = np.minimum(self.batch, rows - self.batch * np.arange(len(rates)))
        columns = rates, corrections, 1 / batches
        return tuple(np.ascontiguousarray(column, self.network.dtype) for column in columns)


def integers(network: IntegerNetwork) -> None:
    """There are no kernels of bytes for the GPU."""


def _plan(network: Network, batch: int) -> tuple[Any, ...]:
    """The first arguments of an epoch: sizes, places in one piece of memory, dropout, and that memory."""
    layers, memory = len(network.sizes) - 1, Places()
    take = memory.take
    outputs = [take(batch * size) for size in network.sizes]
    kept = [take(batch * size) if network.activation != "relu" and 0 < k < layers else outputs[k]
            for k, size in enumerate(network.sizes)]  # fmt: skip
    errors = [take(batch * max(network.sizes)) for _ in range(cuda_epochs.ERRORS)]
    values, parts = take(batch), take(2 * PARTS)
    thresholds, scales = zip(*(threshold_and_scale(rate, network.dtype.type) for rate in network.dropout), strict=True)
    places = [to_gpu(np.array(numbers, np.int64)) for numbers in (network.sizes, outputs, kept)]
    dropout = to_gpu(np.array(thresholds, np.uint32)), to_gpu(np.array(scales, network.dtype))
    return *places, *dropout, to_gpu(np.array(errors, np.int64)), values, parts, empty(memory.end, network.dtype)
