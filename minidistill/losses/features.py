# SPDX-License-Identifier: MIT
"""What all losses of hidden activations share: how they are called, which layers they compare, what they own.

Such a loss is called with Outputs, s of the student and t of the teacher. A method sees one hidden layer of each,
h (B,H) and g (B,G), and says in `between` how far they are apart and what the gradient dh (B,H) is.

A method may own something that learns with the student and is thrown away afterwards, such as a regressor from H to G
units. `start` makes it for one student and one teacher; each `fit` calls it once, and trains all `learners` with the
optimizer that it trains the student with, each as a network of its own: clip_norm is for each, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import ops as numpy_ops
from ..network import MLP, Outputs
from ..support.checks import check_whole
from .base import Loss, checked


@dataclass(frozen=True)
class FeatureLoss(Loss):
    """The base of a loss that compares a hidden layer of the student with one of the teacher."""

    student_layer: int = -1  # a hidden layer, counted from 0, or from the end: -1 is the last
    teacher_layer: int = -1

    needs_hidden = True
    scale_free: ClassVar[bool] = False  # whether h or g times a number has the same value: `between` gets them near 1

    def __post_init__(self) -> None:
        for name in ("student_layer", "teacher_layer"):
            check_whole(name, getattr(self, name), minimum=-(2**31))

    def start(self, student: MLP, teacher_widths: Sequence[int], seed: int) -> "FeatureLoss":
        """The same loss, with what it owns made for this student and a teacher with hidden layers of these widths.

        ValueError where one of the two does not have the layer.
        """
        self._widths(student, teacher_widths)
        return self

    def _widths(self, student: MLP, teacher_widths: Sequence[int]) -> tuple[int, int]:
        """H and G."""
        H = _layer("student", self.student_layer, student.sizes[1:-1])
        return H, _layer("teacher", self.teacher_layer, teacher_widths)

    def between(self, h: np.ndarray, g: np.ndarray) -> tuple[Any, np.ndarray]:
        """Value and gradient dh (B,H), from hidden activations h (B,H) of the student and g (B,G) of the teacher."""
        raise NotImplementedError

    def value_and_dh(self, h: np.ndarray, g: np.ndarray) -> tuple[Any, np.ndarray]:
        """What `between` returns; no square overflows on the way to a value that a scale of h or g does not change."""
        if not self.scale_free:
            return self.between(h, g)                                           # (), (B,H)
        (h, size), (g, _) = near_one(h), near_one(g)
        value, dh = self.between(h, g)                                          # (), (B,H)
        return value, dh / size                                                 # (), (B,H)

    @np.errstate(invalid="ignore")  # `checked` reports it
    def __call__(self, s: Any, t: Any, y: Any = None, ops: Any = numpy_ops) -> tuple[float, Outputs]:
        """Value and gradient, in the form of s; the labels y are not looked at. Learners get their gradients, too."""
        if not isinstance(s, Outputs):
            raise TypeError(f"s must be Outputs, which hold hidden activations, got {type(s).__name__}")
        if not isinstance(t, Outputs):
            raise TypeError(f"t must be Outputs of the teacher, which hold hidden activations, got {type(t).__name__}")
        if None in self.learners:
            raise ValueError(f"{self} owns nothing to learn with yet: fit() and distill() start it, or start() does")
        h = _layer("student", self.student_layer, s.hidden)                     # (B,H)
        g = _layer("teacher", self.teacher_layer, t.hidden).astype(h.dtype, copy=False)     # (B,G)
        if len(h) == 0 or len(g) != len(h):
            raise ValueError(f"t must have as many rows as s, at least one, got {len(g)} and {len(h)}")
        value, dh = self.value_and_dh(h, g)                                     # (), (B,H)
        dhidden: list[Any] = [None] * len(s.hidden)
        dhidden[self.student_layer] = dh
        return checked(value, h, g, "hidden activations"), Outputs(np.zeros_like(s.logits), dhidden)


def _layer(who: str, index: int, hidden: Sequence[Any]) -> Any:
    if not -len(hidden) <= index < len(hidden):
        raise ValueError(f"{who}_layer must be one of the {who}'s {len(hidden)} hidden layers, got {index}")
    return hidden[index]


def linear(student: MLP, inputs: int, outputs: int, seed: int) -> MLP:
    """A linear layer to be trained beside the student, with its dtype and backend."""
    check_whole("the width of what a linear layer makes", outputs, minimum=2)
    return MLP((inputs, outputs), seed=seed, dtype=student.dtype, backend=student.backend)


def near_one(h: np.ndarray) -> tuple[np.ndarray, Any]:
    """h over its largest entry, whose squares neither overflow nor vanish, and that entry; infinite where h is zero."""
    size = np.abs(h).max()
    size = np.inf if size < np.finfo(h.dtype).tiny else size
    return h / size, size


# ---------------------------------------------------------------------------------------------- rows of length 1


def unit_forward(x: np.ndarray) -> tuple[np.ndarray, Any]:  # x (B,H)
    top = np.maximum(np.abs(x).max(axis=1, keepdims=True), np.finfo(x.dtype).tiny)      # (B,1)
    scaled = x / top                                                            # (B,H)  no square over- or underflows
    norm = np.sqrt(np.square(scaled).sum(axis=1, keepdims=True))                # (B,1)  at least 1, or the row is zero
    length = np.where(norm < 1, np.inf, norm)                                   # (B,1)
    u = scaled / length                                                         # (B,H)                     [FEAT-1]
    return u, (u, length, top)


def unit_backward(du: np.ndarray, cache: Any) -> np.ndarray:  # du (B,H)
    u, length, top = cache
    across = du - u * (du * u).sum(axis=1, keepdims=True)                       # (B,H)  along x nothing changes
    return np.asarray(across / length / top)                                    # (B,H)                     [FEAT-2]
