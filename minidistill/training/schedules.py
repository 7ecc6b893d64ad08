# SPDX-License-Identifier: MIT
"""Learning-rate schedules: functions of the progress of training, from 0 at the first step towards 1 after the last."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..support.checks import check_field, check_shares


class Schedule(Protocol):
    """A learning rate for each progress in [0, 1)."""

    def __call__(self, progress: float) -> float: ...


@dataclass(frozen=True)
class ConstantSchedule:
    """The same rate throughout."""

    rate: float

    def __post_init__(self) -> None:
        check_field(self, "rate", "(0, inf)")

    def __call__(self, progress: float) -> float:
        return self.rate


@dataclass(frozen=True)
class LinearSchedule:
    """From `rate` to `final` along a straight line."""

    rate: float
    final: float = 0.0

    def __post_init__(self) -> None:
        check_field(self, "rate", "[0, inf)")
        check_field(self, "final", "[0, inf)")

    def __call__(self, progress: float) -> float:
        return self.rate + (self.final - self.rate) * progress


@dataclass(frozen=True)
class StepSchedule:
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
class CosineSchedule:
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
            raise TypeError(f"then must be a schedule, such as CosineSchedule(0.1), got {self.then!r}")
        check_field(self, "share", "[0, 1)")

    def __call__(self, progress: float) -> float:
        if progress < self.share:
            return self.then(0.0) * progress / self.share
        return self.then((progress - self.share) / (1 - self.share))
