# SPDX-License-Identifier: MIT
"""Optimizers, and how the learning rate goes while a network trains.

An optimizer here is its settings alone. What it remembers, a (K,P) array beside the (P,) parameters, is made by
`initial_state` and handed in at each step, so one optimizer can serve many networks and nothing leaks between them.
"""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..kernels import aligned_zeros
from ..support.checks import LIMITS, SHARES, check_field, check_shares

if TYPE_CHECKING:
    from ..network import MLP

# ---------------------------------------------------------------------------------------------- learning-rate schedules
# A schedule is a function of the progress of training, from 0 at the first step towards 1 after the last.


class Schedule(Protocol):
    """A learning rate for each progress in [0, 1)."""

    def __call__(self, progress: float) -> float: ...


@dataclass(frozen=True)
class Constant:
    """The same rate throughout."""

    rate: float

    def __post_init__(self) -> None:
        check_field(self, "rate", "(0, inf)")

    def __call__(self, progress: float) -> float:
        return self.rate


@dataclass(frozen=True)
class Linear:
    """From `rate` to `final` along a straight line."""

    rate: float
    final: float = 0.0

    def __post_init__(self) -> None:
        check_field(self, "rate", "[0, inf)")
        check_field(self, "final", "[0, inf)")

    def __call__(self, progress: float) -> float:
        return self.rate + (self.final - self.rate) * progress


@dataclass(frozen=True)
class Step:
    """`rate`, multiplied by `factor` as each share of the training in `at` has passed."""

    rate: float
    at: Sequence[float] = (0.5, 0.75)
    factor: float = 0.1

    def __post_init__(self) -> None:
        check_field(self, "rate", "(0, inf)")
        check_field(self, "factor", "(0, inf)")
        object.__setattr__(self, "at", check_shares("at", self.at))

    def __call__(self, progress: float) -> float:
        return self.rate * self.factor ** sum(progress >= share for share in self.at)


@dataclass(frozen=True)
class Cosine:
    """From `rate` to `final` along half a cosine (Loshchilov and Hutter 2017, equation 5, no restarts)."""

    rate: float
    final: float = 0.0

    def __post_init__(self) -> None:
        check_field(self, "rate", "(0, inf)")
        check_field(self, "final", "[0, inf)")

    def __call__(self, progress: float) -> float:
        return self.final + (self.rate - self.final) * (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class WarmUp:
    """A straight rise over the first `share` of the training; `then` rules the rest, from its own beginning."""

    then: Schedule
    share: float = 0.1

    def __post_init__(self) -> None:
        if not callable(self.then):
            raise TypeError(f"then must be a schedule, such as Cosine(0.1), got {self.then!r}")
        check_field(self, "share", "[0, 1)")

    def __call__(self, progress: float) -> float:
        if progress < self.share:
            return self.then(0.0) * progress / self.share
        return self.then((progress - self.share) / (1 - self.share))


# ---------------------------------------------------------------------------------------------- optimizers


@dataclass(frozen=True)
class Optimizer:
    """What all optimizers share.

    learning_rate  a number, or a schedule
    weight_decay   share of each parameter that is pulled to zero, times the learning rate
    clip_norm      longest gradient vector (P,) that is taken as it is; longer ones are shortened to it
    max_norm       longest incoming weight vector of a unit (Srivastava et al. 2014, section 5.1)
    """

    learning_rate: float | Schedule
    _: KW_ONLY
    weight_decay: float = 0.0
    clip_norm: float | None = None
    max_norm: float | None = None

    def __post_init__(self) -> None:
        if not callable(self.learning_rate):
            check_field(self, "learning_rate", "(0, inf)")
        check_field(self, "weight_decay", "[0, inf)")
        for name in ("clip_norm", "max_norm"):
            if getattr(self, name) is not None:
                check_field(self, name, LIMITS)

    def rate(self, progress: float) -> float:
        """The learning rate when this share of the training, in [0, 1), is done."""
        return self.learning_rate(progress) if callable(self.learning_rate) else self.learning_rate

    def initial_state(self, parameters: np.ndarray) -> np.ndarray:
        """Zeros (K,P): what the optimizer remembers of each parameter."""
        raise NotImplementedError

    def change(self, network: "MLP", state: np.ndarray, rate: float, step: int) -> None:
        """Changes `network.parameters` (P,) by its `gradients` (P,); `step` counts from 1."""
        raise NotImplementedError

    def compiled(self) -> dict[str, Any] | None:
        """The constants of a compiled epoch, where this very class names its `rule`; else None.

        The rule is not inherited: a subclass may compute another update, which the readable loop then calls.
        """
        rule = vars(type(self)).get("rule")
        settings = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "learning_rate"}
        limits = {name: value or 0.0 for name, value in settings.items() if name in ("clip_norm", "max_norm")}
        return None if rule is None else {"rule": rule, **settings, **limits}

    def update(self, network: "MLP", state: np.ndarray, rate: float, step: int) -> None:
        """One whole step: clip the gradient, change the parameters, hold the weights to their norm."""
        if self.clip_norm is not None:
            network.ops.clip_norm(network.gradients, self.clip_norm)
        self.change(network, state, rate, step)
        if self.max_norm is not None:
            for W in network.weights:
                network.ops.max_norm(W, self.max_norm)


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum, plain or Nesterov's (Sutskever et al. 2013, section 2).

    v = momentum v + g,  w = w - rate v  [OPT-1, OPT-2]: the rate may change without the past being rescaled.
    """

    rule = "sgd"
    learning_rate: float | Schedule = 0.1
    momentum: float = 0.9
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_field(self, "momentum", SHARES)

    def initial_state(self, parameters: np.ndarray) -> np.ndarray:
        return aligned_zeros((1, *parameters.shape), parameters.dtype)

    def change(self, network: "MLP", state: np.ndarray, rate: float, step: int) -> None:
        w, dw, (v,) = network.parameters, network.gradients, state
        network.ops.sgd_update(w, dw, v, rate, self.momentum, self.nesterov, self.weight_decay)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, algorithm 1) with the weight decay of Loshchilov and Hutter 2019 [OPT-3 to OPT-5]."""

    rule = "adam"
    learning_rate: float | Schedule = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_field(self, "beta1", SHARES)
        check_field(self, "beta2", SHARES)
        check_field(self, "epsilon", "(0, inf)")

    def initial_state(self, parameters: np.ndarray) -> np.ndarray:
        return aligned_zeros((2, *parameters.shape), parameters.dtype)

    def change(self, network: "MLP", state: np.ndarray, rate: float, step: int) -> None:
        w, dw, (m, v) = network.parameters, network.gradients, state
        betas = (self.beta1, self.beta2)
        network.ops.adam_update(w, dw, m, v, rate, step, *betas, self.epsilon, self.weight_decay)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with a weight decay from the start."""

    rule = "adam"
    weight_decay: float = 0.01
