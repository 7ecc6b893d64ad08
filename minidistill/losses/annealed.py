# SPDX-License-Identifier: MIT
"""Annealing: the temperature or the teacher's weight goes with the progress of training, as a learning rate does.

A student that trusts its teacher first and the labels at the end can end above it. `alpha=LinearSchedule(1, 0)`
is the teacher annealing of Clark et al. 2019 (BAM), whose target (1-alpha) onehot(y) + alpha p is, at T = 1, the loss
(1-alpha) CE + alpha KL. A high temperature shows a far larger teacher's general outline first, a low one the
details later; that is the idea, though not the very loss, of annealing KD (Jafari et al. 2021).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from .. import ops as numpy_ops
from ..network import MLP
from .base import Addable, Loss, learners_of, wants_hidden

ANNEALED = ("temperature", "alpha")
Schedule = Callable[[float], float]  # from the progress of training, in [0, 1), to a value


@dataclass(frozen=True)
class Annealed(Addable):
    """A loss whose temperature and alpha are schedules: Annealed(SoftTarget(), temperature=LinearSchedule(8, 1)).

    loss         any loss of minidistill.losses that has what is annealed
    temperature  a function of the progress in [0, 1), such as LinearSchedule; None leaves the loss's own
    alpha        likewise

    `fit` asks for it once an epoch, so that each epoch has one loss, and is compiled where that loss is. Outside of
    `fit` it is the loss of the beginning. Raises TypeError or ValueError where a schedule is none, where the loss lacks
    what it rules, or where it leads out of bounds at the beginning, in the middle or at the end.
    """

    loss: Any
    temperature: Schedule | None = None
    alpha: Schedule | None = None

    def __post_init__(self) -> None:
        schedules = self._schedules()
        if not schedules:
            raise ValueError("temperature or alpha must be a schedule, such as LinearSchedule(8, 1), got neither")
        known = is_dataclass(self.loss) and not isinstance(self.loss, type)
        names = {field.name for field in fields(self.loss)} if known else set()
        for name, schedule in schedules.items():
            if not callable(schedule):
                raise TypeError(f"{name} must be a schedule, such as LinearSchedule(8, 1), got {schedule!r}")
            if name not in names:
                raise TypeError(f"loss must be a loss with {name}, such as SoftTarget(), got {self.loss!r}")
        for progress in (0.0, 0.5, 1.0):
            self.at_progress(progress)

    def _schedules(self) -> dict[str, Schedule]:
        return {name: getattr(self, name) for name in ANNEALED if getattr(self, name) is not None}

    def at_progress(self, progress: float) -> Loss:
        """The loss when this share of the training, in [0, 1), is done."""
        found: Loss = replace(self.loss, **{name: schedule(progress) for name, schedule in self._schedules().items()})
        return found

    @property
    def wants_hidden(self) -> bool:
        """Whether the loss is called with Outputs, as its own is."""
        return wants_hidden(self.loss)

    @property
    def learners(self) -> tuple[Any, ...]:
        """What the loss owns and `fit` trains: the same networks at any progress."""
        return learners_of(self.loss)

    def start(self, student: MLP, teacher_widths: Sequence[int], seed: int) -> "Annealed":
        """The same schedules of a loss that has what it owns made for student and teacher."""
        return replace(self, loss=self.loss.start(student, teacher_widths, seed))

    def __call__(self, s: Any, t: Any, y: np.ndarray | None, ops: Any = numpy_ops) -> tuple[float, Any]:
        """Value and gradient, in the form of s, of the loss of the beginning."""
        return self.at_progress(0.0)(s, t, y, ops)
