# SPDX-License-Identifier: MIT
"""CRD, contrastive representation distillation (Tian, Krishnan and Isola 2020): find each sample's own teacher row.

Both layers are embedded linearly into `width` units and put to length 1, u (B,E) of the student and v (B,E) of the
teacher. Of all samples in the batch, the one whose u it is must be found among the v by their scalar products, and the
other way round: a classification with B classes, in which the right one of row b is b.

    z  = u v^T / T (B,B)                                                                          [CRD-1]
    L  = (CE(z, 0..B-1) + CE(z^T, 0..B-1)) / 2                                                    [CRD-2]
    du = dz v / T,  dv = dz^T u / T               dz by [CE-2], dh by [FEAT-2] and [LIN-2]        [CRD-3]

This is the InfoNCE loss (van den Oord, Li and Vinyals 2018, equation 4): log B - L is at most the mutual information of
the two embeddings. The paper estimates it with thousands of wrong answers from a memory bank, one yes-or-no question
each; here the wrong answers are the other samples of the batch, those of the same class among them, so the batch has
to be large. Both embeddings are learned and thrown away.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .. import ops
from ..network import MLP
from ..support.checks import TEMPERATURES, check_field, check_whole
from .features import FeatureLoss, linear, unit_backward, unit_forward


@dataclass(frozen=True)
class ContrastiveRepresentation(FeatureLoss):
    """Mean cross-entropy of finding a sample of the student among those of the teacher, and back."""

    width: int = 128  # of the embeddings, at least 2
    temperature: float = 0.1  # above 0: the smaller it is, the more the nearest wrong answers count
    student_embedding: Any = field(default=None, repr=False, compare=False)  # an MLP of sizes (H, width)
    teacher_embedding: Any = field(default=None, repr=False, compare=False)  # an MLP of sizes (G, width)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("width", self.width, minimum=2)
        check_field(self, "temperature", TEMPERATURES)

    @property
    def learners(self) -> tuple[Any, ...]:
        return (self.student_embedding, self.teacher_embedding)

    def start(self, student: MLP, teacher_widths: Sequence[int], seed: int) -> "ContrastiveRepresentation":
        """The same loss with two new embeddings."""
        H, G = self._widths(student, teacher_widths)
        mine, theirs = linear(student, H, self.width, seed), linear(student, G, self.width, seed ^ 1)
        return replace(self, student_embedding=mine, teacher_embedding=theirs)

    def between(self, h: np.ndarray, g: np.ndarray) -> tuple[Any, np.ndarray]:
        """Value and dh (B,H); the embeddings' gradients are written into them. One row cannot be mistaken: 0."""
        T, own = self.temperature, np.arange(len(h))
        (a, a_cache), (b, b_cache) = self.student_embedding.forward(h), self.teacher_embedding.forward(g)
        (u, u_cache), (v, v_cache) = unit_forward(a), unit_forward(b)           # each (B,E)
        z = u @ v.T / T                                                         # (B,B)                     [CRD-1]
        there, there_cache = ops.cross_entropy_forward(z, own)
        back, back_cache = ops.cross_entropy_forward(z.T, own)
        dz = (ops.cross_entropy_backward(there_cache) + ops.cross_entropy_backward(back_cache).T) / 2       # (B,B)
        self.teacher_embedding.backward(unit_backward(dz.T @ u / T, v_cache), b_cache)
        da = unit_backward(dz @ v / T, u_cache)                                 # (B,E)                     [CRD-3]
        dh = self.student_embedding.backward(da, a_cache, input_gradient=True)  # (B,H)
        return (there + back) / 2, dh                                           # ()                        [CRD-2]
