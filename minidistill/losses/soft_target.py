# SPDX-License-Identifier: MIT
"""Soft targets (Hinton, Vinyals and Dean 2015, section 2): the labels and the teacher's softened probabilities.

A temperature T flattens the teacher's probabilities until one can see which wrong answers it finds likelier than
others. The student is softened by the same T and pulled towards them:

    L  = (1-alpha) CE(s, y) + alpha T^2 KL(p || q)        p = softmax(t/T)    q = softmax(s/T)    [KD-4]
    ds = ((1-alpha) (softmax(s) - onehot(y)) + alpha T (q - p)) / B                               [KD-5]

Softening by T costs the gradient 1/T twice, once by the chain rule and once because q - p shrinks; T^2 gives it
back, so that alpha means the same at every temperature. The derivation in full is in docs/maths/ops.md and
docs/maths/losses.md.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import ops as numpy_ops
from ..support.checks import TEMPERATURES, check_field
from .base import Loss, checked, matched, need_labels, need_teacher
from .cross_entropy import CrossEntropy


@dataclass(frozen=True)
class SoftTarget(Loss):
    """Weighted sum of the cross-entropy with the labels and T^2 KL(p || q) with the teacher."""

    temperature: float = 4.0  # above 0: chosen on validation data
    alpha: float = 0.5        # in [0, 1]: weight of the teacher; 0 is cross-entropy, 1 needs no labels

    def __post_init__(self) -> None:
        check_field(self, "temperature", TEMPERATURES)
        check_field(self, "alpha", "[0, 1]")

    @np.errstate(invalid="ignore")  # `checked` tells of it
    def __call__(
        self, s: np.ndarray, t: np.ndarray | None, y: np.ndarray | None, ops: Any = numpy_ops
    ) -> tuple[float, np.ndarray]:
        """Value and gradient ds (B,C). y may be None where alpha is 1, and t where it is 0."""
        if self.alpha == 0:
            return CrossEntropy()(s, t, y, ops)
        need_teacher(t)
        need_labels(y, self.alpha)
        s, t, y = matched(s, t, y)
        value, ds = ops.distillation_loss(s, t, y, self.temperature, self.alpha)  # [KD-4] [KD-5]
        return checked(value, s, t), ds

    def compiled(self) -> dict[str, float] | None:
        """The constants of a compiled epoch; None for a subclass, which may compute something else."""
        return {"alpha": self.alpha, "temperature": self.temperature} if type(self) is SoftTarget else None
