# SPDX-License-Identifier: MIT
"""Optimizers: SGD, Adam and AdamW.

An optimizer is its hyperparameters alone. Its state, a (K,P) array beside the (P,) parameters, is made by
`initial_state` and passed to each step, so that one optimizer can serve many networks.
"""

from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, ClassVar

import numpy as np

from ..kernels import aligned_zeros
from ..network import MLP
from ..support.checks import LIMITS, SHARES, check_field
from ..support.deprecation import renamed_arguments, renamed_attribute
from .schedules import Schedule

with_old_names = renamed_arguments(max_norm="max_weight_norm")


@dataclass(frozen=True)
class Optimizer:
    """What all optimizers share.

    learning_rate    a number, or a schedule
    weight_decay     share of each parameter that is pulled to zero, times the learning rate
    clip_norm        longest gradient vector (P,) that is used as it is; longer ones are shortened to it
    max_weight_norm  longest incoming weight vector of a unit (Srivastava et al. 2014, section 5.1)
    """

    numbers: ClassVar[int]  # that the optimizer keeps for each parameter
    learning_rate: float | Schedule
    _: KW_ONLY
    weight_decay: float = 0.0
    clip_norm: float | None = None
    max_weight_norm: float | None = None
    max_norm = renamed_attribute("max_norm", "max_weight_norm")

    def __post_init__(self) -> None:
        if not callable(self.learning_rate):
            check_field(self, "learning_rate", "(0, inf)")
        check_field(self, "weight_decay", "[0, inf)")
        for name in ("clip_norm", "max_weight_norm"):
            if getattr(self, name) is not None:
                check_field(self, name, LIMITS)

    def rate(self, progress: float) -> float:
        """The learning rate when this share of the training, in [0, 1), is done."""
        return self.learning_rate(progress) if callable(self.learning_rate) else self.learning_rate

    def initial_state(self, parameters: np.ndarray) -> np.ndarray:
        """Zeros (K,P): the optimizer's state, K numbers per parameter."""
        return aligned_zeros((self.numbers, *parameters.shape), parameters.dtype)

    def change(self, network: MLP, state: np.ndarray, rate: float, step: int) -> None:
        """Changes `network.parameters` (P,) by its `gradients` (P,); `step` counts from 1."""
        raise NotImplementedError

    def compiled(self) -> dict[str, Any] | None:
        """The constants of a compiled epoch, where this very class names its `rule`; else None.

        The rule is not inherited: a subclass may compute another update, which the readable loop then calls.
        """
        rule = vars(type(self)).get("rule")
        settings = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "learning_rate"}
        limits = {"clip_norm": self.clip_norm or 0.0, "max_norm": settings.pop("max_weight_norm") or 0.0}
        return None if rule is None else {"rule": rule, **settings, **limits}

    def update(self, network: MLP, state: np.ndarray, rate: float, step: int) -> None:
        """One whole step: clip the gradient, change the parameters, limit the norm of the weights."""
        if self.clip_norm is not None:
            network.ops.clip_norm(network.gradients, self.clip_norm)
        self.change(network, state, rate, step)
        if self.max_weight_norm is not None:
            for W in network.weights:
                network.ops.max_norm(W, self.max_weight_norm)


@with_old_names
@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum, plain or Nesterov's (Sutskever et al. 2013, section 2).

    v = momentum v + g,  w = w - rate v  [OPT-1, OPT-2]: the rate may change without the past being rescaled.
    """

    rule = "sgd"
    numbers = 1
    learning_rate: float | Schedule = 0.1
    momentum: float = 0.9
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_field(self, "momentum", SHARES)

    def change(self, network: MLP, state: np.ndarray, rate: float, step: int) -> None:
        w, dw, (v,) = network.parameters, network.gradients, state
        network.ops.sgd_update(w, dw, v, rate, self.momentum, self.nesterov, self.weight_decay)


@with_old_names
@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, algorithm 1) with the weight decay of Loshchilov and Hutter 2019 [OPT-3 to OPT-5]."""

    rule = "adam"
    numbers = 2
    learning_rate: float | Schedule = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_field(self, "beta1", SHARES)
        check_field(self, "beta2", SHARES)
        check_field(self, "epsilon", "(0, inf)")

    def change(self, network: MLP, state: np.ndarray, rate: float, step: int) -> None:
        w, dw, (m, v) = network.parameters, network.gradients, state
        betas = (self.beta1, self.beta2)
        network.ops.adam_update(w, dw, m, v, rate, step, *betas, self.epsilon, self.weight_decay)


@with_old_names
@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with a weight decay from the start."""

    rule = "adam"
    weight_decay: float = 0.01
