# SPDX-License-Identifier: MIT
"""Soft targets of which only the k likeliest are kept: what fits on a disk where the classes are a vocabulary.

The teacher keeps, for each row, k classes with their softened log-probabilities; all other classes become one, which
has the probability that is left. The student's other classes are lumped together in the same way, and

    L  = (1-alpha) CE(s, y) + alpha T^2 KL over these k + 1 shares                                      [KD-6]

A class of the rest is pulled only with its lump: p_rest q / q_rest stands where p stood, so the student keeps its own
order among the classes that the teacher did not name [KD-7].
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import ops as numpy_ops
from ..support.checks import TEMPERATURES, as_array, check_field, check_finite, check_number, check_rows, check_whole
from .labels_and_teacher import ROUGH, LabelsAndTeacher

MOST_IN_FLOAT32 = 1000.0  # temperature above which log-probabilities differ by little more than float32's rounding


@dataclass(frozen=True, eq=False)
class TopK:
    """The k likeliest classes of each of N rows; `targets[rows]` are those of some rows.

    All rows name the same number of classes: there is no padding. Raises TypeError or ValueError for indices that are
    not classes or name one twice, and for log-probabilities that are none or, above a temperature of 1000, not float64.
    """

    indices: np.ndarray  # (N,k) whole numbers, each class of a row once
    log_p: np.ndarray  # (N,k), log-probabilities at the temperature
    temperature: float

    def __post_init__(self) -> None:
        check_field(self, "temperature", TEMPERATURES)
        indices, log_p = as_array("indices", self.indices), as_array("log_p", self.log_p)
        if indices.dtype.kind not in "iu":
            raise TypeError(f"indices must be whole numbers, got an array of dtype {indices.dtype}")
        if indices.ndim != 2 or 0 in indices.shape:
            raise ValueError(f"indices must have shape (N, k), k classes for each row, got {indices.shape}")
        if log_p.dtype.kind != "f" or log_p.shape != indices.shape:
            raise ValueError(f"log_p must be {indices.shape} floats, got {log_p.shape} {log_p.dtype}")
        if indices.min() < 0:
            b, j = np.argwhere(indices < 0)[0].tolist()
            raise ValueError(
                f"indices must be classes from 0, got {indices[b, j]} at row {b}, column {j}: a row cannot be padded, "
                "so keep as many classes as the shortest row has, or name more classes with their log-probabilities"
            )
        in_order = np.sort(indices, axis=1)
        twice = in_order[:, 1:] == in_order[:, :-1]
        if twice.any():
            b, j = np.argwhere(twice)[0].tolist()
            raise ValueError(f"indices must name a class of a row once, got {in_order[b, j]} twice in row {b}")
        check_finite("log_p", log_p)
        total = np.exp(log_p, dtype=np.float64).sum(axis=1)
        if log_p.max() > 1e-6 or total.max() > 1 + 1e-3:
            what = f"{log_p.max():.6g}" if log_p.max() > 1e-6 else f"probabilities that sum to {total.max():.6g}"
            raise ValueError(f"log_p must be logarithms of probabilities that sum to at most 1, got {what}")
        if self.temperature > MOST_IN_FLOAT32 and log_p.dtype.itemsize < 8:
            raise ValueError(f"log_p must be float64 above temperature {MOST_IN_FLOAT32:g}, got {log_p.dtype}")
        object.__setattr__(self, "indices", indices.astype(np.int64, copy=False))
        object.__setattr__(self, "log_p", log_p)

    @classmethod
    def of(cls, logits: Any, k: int, temperature: float) -> "TopK":
        """From logits (N,C), with 1 <= k < C."""
        logits = check_rows("logits", logits)
        temperature = check_number("temperature", temperature, TEMPERATURES)
        if check_whole("k", k) >= logits.shape[1]:
            raise ValueError(f"k must be below the {logits.shape[1]} classes, got {k}: SoftTarget takes all of them")
        indices = np.argpartition(-logits, k, axis=1)[:, :k]                    # (N,k)
        log_p, _ = numpy_ops.log_softmax_forward(np.float64(logits), temperature)           # (N,C)
        log_p = np.take_along_axis(log_p, indices, axis=1)                      # (N,k)
        return cls(indices, log_p if temperature > ROUGH else log_p.astype(logits.dtype), temperature)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, rows: Any) -> "TopK":
        return self._with(indices=self.indices[rows], log_p=self.log_p[rows])

    def astype(self, dtype: Any) -> "TopK":
        """The same with log_p of another dtype."""
        return self._with(log_p=self.log_p.astype(dtype, copy=False))

    def _with(self, **changed: np.ndarray) -> "TopK":
        other = object.__new__(TopK)  # with no checks: this one has passed them
        vars(other).update(vars(self), **changed)
        return other


@dataclass(frozen=True)
class TopKTarget(LabelsAndTeacher):
    """Weighted sum of the cross-entropy with the labels and T^2 KL over the teacher's k classes and the rest."""

    temperature: float = 1.0  # that of the targets
    alpha: float = 0.5  # in [0, 1]: weight of the teacher; 1 needs no labels

    def teacher(self, t: Any, s: np.ndarray) -> TopK:
        """t, which must be a TopK of the same B rows."""
        if not isinstance(t, TopK) or len(t) != len(s):
            raise ValueError(f"t must be a TopK of {len(s)} rows, got {t if t is None else type(t).__name__}")
        if t.temperature != self.temperature:
            raise ValueError(f"t was softened at temperature {t.temperature:g}, the loss has {self.temperature:g}")
        if t.indices.shape[1] >= s.shape[1] or t.indices.max() >= s.shape[1]:
            most = f"class {t.indices.max()}, {t.indices.shape[1]} classes a row"
            raise ValueError(f"t must name fewer than all {s.shape[1]} classes of s, from 0 on, got {most}")
        return t

    def term(self, s: np.ndarray, t: Any, y: np.ndarray | None, ops: Any) -> tuple[Any, np.ndarray]:
        log_p = t.log_p.astype(s.dtype, copy=False)                             # (B,k)
        kl, cache = ops.top_k_target_forward(s, t.indices, log_p, self.temperature)
        return kl, ops.top_k_target_backward(cache)                             # (), (B,C)
