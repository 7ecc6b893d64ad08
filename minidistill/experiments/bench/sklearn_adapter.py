# SPDX-License-Identifier: MIT
"""Adapters of scikit-learn's MLPClassifier. ImportError where the library is not installed."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from ...network import MLP
from .cases import MOMENTUM, RATE, Forward, Training, Work, normal


def sklearn_network(network: MLP, batch: int) -> tuple[Any, Callable[[], None]]:
    """MLPClassifier with the network's weights, and what gives it these again."""
    model = import_module("sklearn.neural_network").MLPClassifier(
        network.sizes[1:-1], solver="sgd", alpha=0.0, batch_size=batch, learning_rate_init=RATE, shuffle=False,
        momentum=MOMENTUM, nesterovs_momentum=False,
    )  # fmt: skip
    classes = np.arange(network.sizes[-1])
    model.partial_fit(normal(batch, network.sizes[0]), np.resize(classes, batch), classes=classes)  # makes its arrays

    def reset() -> None:
        for to, array in zip(model.coefs_ + model.intercepts_, network.weights + network.biases, strict=True):
            to[:] = array
        for v in model._optimizer.velocities:
            v[:] = 0

    reset()
    return model, reset


def sklearn_training(case: Training, threads: int) -> Work:
    """One partial_fit is one pass over the rows; beside the steps it checks its input and makes one-hot labels."""
    (model, reset), (x, y, _) = sklearn_network(case.network(), case.batch), case.data
    layers = list(zip(model.coefs_, model.intercepts_, strict=True))
    return Work.training(lambda: model.partial_fit(x, y), lambda: [a for layer in layers for a in layer], reset)


def sklearn_forward(case: Forward, threads: int) -> Work:
    (model, _), x = sklearn_network(case.network(), batch=32), case.data.x
    return Work(lambda: model.predict_proba(x), lambda: [model.predict_proba(x)])
