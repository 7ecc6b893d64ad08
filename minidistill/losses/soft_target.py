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

from .base import checked
from .labels_and_teacher import LabelsAndTeacher


@dataclass(frozen=True)
class SoftTarget(LabelsAndTeacher):
    """Weighted sum of the cross-entropy with the labels and T^2 KL(p || q) with the teacher."""

    temperature: float = 4.0  # above 0: chosen on validation data
    alpha: float = 0.5        # in [0, 1]: weight of the teacher; 0 is cross-entropy, 1 needs no labels

    @np.errstate(invalid="ignore")  # `checked` reports it
    def weighted(self, s: np.ndarray, t: np.ndarray, y: np.ndarray | None, ops: Any) -> tuple[float, np.ndarray]:
        value, ds = ops.distillation_loss(s, t, y, self.temperature, self.alpha)  # [KD-4] [KD-5]
        return checked(value, s, t), ds

    def compiled(self) -> dict[str, float] | None:
        """The constants of a compiled epoch; None for a subclass, which may compute something else."""
        return {"alpha": self.alpha, "temperature": self.temperature} if type(self) is SoftTarget else None
