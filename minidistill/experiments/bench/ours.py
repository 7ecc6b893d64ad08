# SPDX-License-Identifier: MIT
"""Adapters of minidistill: the readable NumPy code, which is the reference of all results, and the compiled kernels."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ...data import Dataset
from ...data.augmentation import RandomShift
from ...kernels import compiled_epochs, load_backend
from ...losses import CrossEntropy
from ...network import MLP
from ...training.loop import fit
from ...training.optim import SGD
from .cases import MOMENTUM, RATE, SOFT, Forward, LossGradient, Product, TeacherEpoch, Training, Work


def _network_work(run: Callable[[], Any], network: MLP, *states: Any) -> Work:
    """Training whose reset restores the first parameters and clears the optimizer's state."""
    first = network.parameters.copy()

    def reset() -> None:
        network.parameters[:] = first
        for state in states:
            state[:] = 0

    return Work.training(run, lambda: [network.parameters], reset)


def numpy_training(case: Training, threads: int) -> Work:
    """The readable loop, as in training/run.py."""
    network, optimizer, loss = case.network(), SGD(RATE, momentum=MOMENTUM), SOFT if case.distil else CrossEntropy()
    state, batches = optimizer.initial_state(network.parameters), case.batches()

    def run() -> None:
        for k, (x, y, t) in enumerate(batches):
            logits, cache = network.forward(x, training=True, step=k)
            _, dlogits = loss(logits, t, y, network.ops)
            network.backward(dlogits, cache)
            optimizer.update(network, state, RATE, k + 1)

    return _network_work(run, network, state)


def minidistill_training(case: Training, threads: int, backend: str = "cpu") -> Work:
    """A compiled epoch in one call; on an NVIDIA GPU in one launch, with one copy there and one back."""
    load_backend(backend)  # ImportError says what is missing
    network, (x, y, t) = case.network().copy(backend), case.data
    loss, optimizer = SOFT if case.distil else CrossEntropy(), SGD(RATE, momentum=MOMENTUM)
    state = optimizer.initial_state(network.parameters)
    epochs = compiled_epochs(network, loss, optimizer, case.batch, y, t)
    assert epochs is not None
    order, rates = np.arange(len(x)), np.full(case.steps, RATE)
    return _network_work(lambda: list(epochs.losses(x, y, t, state, order, rates, 0)), network, state)


def fitting_teacher(case: TeacherEpoch, threads: int, backend: str = "cpu") -> Work:
    """`fit`, as anybody calls it."""
    data, optimizer = Dataset(*case.data[:2]), SGD(RATE, momentum=MOMENTUM, max_weight_norm=case.max_norm)
    options: Any = {"epochs": 1, "batch_size": case.batch, "optimizer": optimizer, "augment": RandomShift(case.pixels)}

    def make(dropout: float) -> Work:
        network = MLP(case.sizes, dropout=dropout, backend=backend)
        return _network_work(lambda: fit(network, data, **options), network)

    return Work.teacher(make, case.dropout)


def numpy_loss(case: LossGradient, threads: int) -> Work:
    s, y, t = case.data
    run = partial(SOFT, s, t, y)
    return Work(run, run)


def minidistill_loss(case: LossGradient, threads: int) -> Work:
    from ...kernels import cpu

    s, y, t = case.data
    ds = np.empty_like(s)  # as in training, where its place is kept; the peers bring memory of their own
    run = partial(cpu.distillation_loss, s, t, y, SOFT.temperature, SOFT.alpha, threads=threads, out=ds)
    return Work(run, run)


def numpy_forward(case: Forward, threads: int) -> Work:
    network, x = case.network(), case.data.x
    return Work.forward(lambda: network.forward(x)[0])


def minidistill_forward(case: Forward, threads: int) -> Work:
    from ...kernels import cpu

    plan, parameters = cpu.plan(case.sizes, batch=case.batch, threads=threads), case.network().parameters
    return Work.forward(partial(cpu.forward, plan, parameters, case.data.x))


def product(case: Product, threads: int, rung: str | None = None) -> Work:
    """By NumPy, or by a rung of the ladder in kernels/cpu/matmul.py."""
    multiply: Any = np.matmul
    if rung is not None:
        from ...kernels.cpu import matmul

        multiply = getattr(matmul, rung)
    (A, B), C = case.data, np.empty((case.M, case.N), np.float32)
    return Work(lambda: multiply(A, B, C), lambda: [C])
