# SPDX-License-Identifier: MIT
"""SoftTargets: a teacher's logits, each row with a hash of the row of x that it belongs to.

Logits of other rows, or of the same rows in another order, are refused.
"""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import Dataset
from ..data.dataset import check_dataset
from ..support.checks import check_logits
from ..support.deprecation import renamed_attribute
from ..support.files import read_npz, write_npz
from .teacher_checks import check_order
from .teachers import as_teacher


@dataclass(frozen=True)
class SoftTargets:
    """A teacher's logits (N,C), each row with the hash of the row of x that it belongs to."""

    logits: np.ndarray
    row_hashes: np.ndarray  # (N,) uint64

    @classmethod
    def of(cls, logits: Any, data: Dataset) -> "SoftTargets":
        """Logits whose row i belongs to row i of `data`, as the caller states; ValueError for probabilities."""
        logits, data = check_logits("teacher logits", logits), check_dataset("data", data)
        if len(logits) != len(data):
            raise ValueError(f"teacher logits must have a row for each of the data's {len(data)}, got {len(logits)}")
        return cls(logits, data.row_hashes)

    def logits_for(self, data: Dataset) -> np.ndarray:
        """The logits, if row i belongs to row i of `data`, in float32 or float64; ValueError otherwise."""
        theirs = data.row_hashes
        if np.array_equal(self.row_hashes, theirs):
            return self.logits
        if not np.isin(theirs, self.row_hashes).any():
            theirs = data.exact_row_hashes  # as in files of version 0.1
        if len(theirs) != len(self.row_hashes):
            raise ValueError(f"soft targets hold {len(self.row_hashes)} rows, the data {len(theirs)}")
        if not np.array_equal(self.row_hashes, theirs):
            first = int(np.argmax(self.row_hashes != theirs))
            reordered = np.array_equal(np.sort(self.row_hashes), np.sort(theirs))
            what = "the same rows in another order" if reordered else "answers to other rows"
            raise ValueError(f"soft targets do not belong to this data: from row {first} on they are {what}")
        return self.logits

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes them to one .npz file, whole or not there."""
        write_npz(path, "soft-targets", {"logits": self.logits, "fingerprints": self.row_hashes})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "SoftTargets":
        """The soft targets saved at `path`; ValueError for a damaged file or one that holds something else."""
        found = read_npz(path, "soft-targets", {"logits": "NC", "fingerprints": "N"})
        return cls(found["logits"], found["fingerprints"])

    fingerprints = renamed_attribute("SoftTargets.fingerprints", "row_hashes")


def soft_targets(teacher: Any, data: Dataset, classes: int) -> SoftTargets:
    """The logits of `teacher` over `classes` classes for every row of `data`."""
    if isinstance(teacher, SoftTargets):
        targets = teacher
    elif isinstance(teacher, np.ndarray):
        targets = SoftTargets.of(teacher, data)
    else:
        targets = SoftTargets.of(as_teacher(teacher, classes)(data.x), data)
    check_logits("teacher logits", targets.logits, columns=classes)
    if isinstance(teacher, np.ndarray):
        check_order(targets.logits, data)
    return targets
