# SPDX-License-Identifier: MIT
"""The targets of a training run: what the teacher predicts for its rows, kept or computed for each batch."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..data import Dataset
from ..losses import TopK
from ..network import MLP, Outputs
from ..support.checks import check_finite, check_logits, check_rows
from ..support.files import digest

Targets = np.ndarray | TopK | Outputs | Callable[[np.ndarray], Any]  # row i for row i of the data, or a function of x


def checked_targets(targets: Any, network: MLP, data: Dataset) -> Targets | None:
    """`targets` that belong to the network and the rows, logits in the network's dtype; ValueError for others."""
    rows, classes = len(data), network.sizes[-1]
    match targets:
        case None:
            if data.y is None:
                raise ValueError("data must have labels where no teacher gives targets")
            if len(np.unique(data.y)) == 1:
                raise ValueError(f"data must have at least two classes to learn from, every label is {data.y[0]}")
        case TopK():
            if len(targets) != rows or targets.indices.max() >= classes:
                wanted = f"a TopK of {rows} rows and {classes} classes"
                raise ValueError(f"targets must be {wanted}, got {len(targets)} rows")
        case Outputs():
            for array in (targets.logits, *targets.hidden):
                if len(check_rows("targets", array)) != rows:
                    raise ValueError(f"targets must be Outputs of {rows} rows, got {len(array)}")
        case _ if not callable(targets):
            targets = check_logits("targets", targets, dtype=network.dtype)
            if targets.shape != (rows, classes):
                raise ValueError(f"targets must have shape ({rows}, {classes}), got {targets.shape}")
    return targets  # type: ignore[no-any-return]


def targets_of_batch(targets: Targets | None, rows: np.ndarray, x: np.ndarray) -> Any:
    """The targets of the data's `rows` (B,), or those that a function computes for x (B,I), which may be augmented."""
    if targets is None:
        return None
    if not callable(targets):
        return targets[rows]
    t = targets(x)
    match t:
        case TopK():
            return t
        case Outputs():
            for array in (t.logits, *t.hidden):
                check_finite("targets", array)
            return t
    return check_logits("targets", t)


def fingerprint_of(targets: Targets | None, x: np.ndarray) -> str:
    """A text that differs for other targets, with a hash of their arrays; for a function, of its output for x (N,I)."""
    found = targets(x) if callable(targets) else targets
    match found:
        case None:
            return "None"
        case TopK():
            return f"{digest(found.indices, found.log_p)} at temperature {found.temperature}"
        case Outputs():
            return digest(found.logits, *found.hidden)
    return digest(np.asarray(found))
