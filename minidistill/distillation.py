# SPDX-License-Identifier: MIT
"""distill(): a teacher's softened outputs become the targets of a student.

A teacher is anything that gives probabilities or logits. It is asked once, in evaluation mode, and its answers are kept
with a fingerprint of the row that each belongs to, so that answers to other rows, or in another order, are refused.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import ops
from .augmentation import Augment, as_list
from .checks import check_options, check_probabilities, check_rows, options_of
from .data import Dataset
from .files import read_npz, write_npz
from .losses import Loss, SoftTarget, wants_hidden
from .network import MLP, Outputs
from .training import History, fit

NEVER = -1e4  # the logit of probability 0: exp(NEVER / T) is nothing at any temperature that one would use
ROUNDING = 1e-9  # a spread below this is none: no order of these rows is better than another
FEWEST_ROWS = 30  # below these, bad luck alone can make a good teacher look like a shuffled one

Teacher = Callable[[np.ndarray], np.ndarray]  # from x (N,I) to logits (N,C)


def distill(
    teacher: Any,
    student: MLP,
    data: Dataset,
    loss: Loss | None = None,
    *,
    augment: Augment | Sequence[Augment] | None = None,
    **options: Any,
) -> History:
    """Trains `student` in place on `data`, with `teacher`'s outputs as targets, and returns the History of `fit`.

    teacher  an MLP; a list of teachers (their mean probability); an object with `predict_proba`, such as a scikit-learn
             forest; a function from x (N,I) to logits (N,C); `SoftTargets`; or an array of logits (N,C), whose row i
             must answer row i of the data (refused where they suit the labels no better than in any order). For a loss
             of hidden activations an MLP, or the `Outputs` of one for these rows
    data     its labels may be missing where the loss does without them
    loss     SoftTarget() unless given
    augment  as in `fit`; the teacher is then asked anew about what the student sees
    options  all else that `fit` takes: epochs, batch_size, optimizer, seed, validation, patience, callbacks,
             progress, checkpoint
    """
    check_options("distill", options, options_of(fit) - {"targets"})
    if not isinstance(student, MLP):
        raise TypeError(f"student must be an MLP, got {type(student).__name__}")
    if not isinstance(data, Dataset):
        raise TypeError(f"data must be a Dataset, got {type(data).__name__}: Dataset(x, y) makes one")
    members = getattr(teacher, "members", teacher)  # an Ensemble has some too
    if any(member is student for member in (members if isinstance(members, list | tuple) else [teacher])):
        raise ValueError("teacher and student are the same network: a student learns nothing from itself")
    loss = loss or SoftTarget()
    classes = student.sizes[-1]
    if wants_hidden(loss):
        targets = _hidden_targets(teacher, data, again=bool(as_list(augment)))
        return fit(student, data, loss, targets=targets, augment=augment, **options)
    if not as_list(augment):
        targets = soft_targets(teacher, data, classes).logits_for(data).astype(student.dtype, copy=False)
        return fit(student, data, loss, targets=targets, **options)
    if isinstance(teacher, SoftTargets | np.ndarray):
        raise ValueError("augment changes the rows: the teacher must be one that can be asked again, got kept logits")
    ask = as_teacher(teacher, classes)
    return fit(student, data, loss, targets=lambda x: ask(x).astype(student.dtype), augment=augment, **options)


@dataclass(frozen=True)
class SoftTargets:
    """A teacher's logits (N,C), each row with the fingerprint of the row of x that it answers."""

    logits: np.ndarray
    fingerprints: np.ndarray  # (N,) uint64

    @classmethod
    def of(cls, logits: Any, data: Dataset) -> "SoftTargets":
        """Logits of which the caller vouches that row i answers row i of `data`."""
        logits = check_rows("teacher logits", logits)
        if len(logits) != len(data):
            raise ValueError(f"teacher logits must have a row for each of the data's {len(data)}, got {len(logits)}")
        return cls(logits, data.fingerprints)

    def logits_for(self, data: Dataset) -> np.ndarray:
        """The logits, if row i answers row i of `data`; ValueError otherwise."""
        theirs = data.fingerprints
        if len(theirs) != len(self.fingerprints):
            raise ValueError(f"soft targets hold {len(self.fingerprints)} rows, the data {len(theirs)}")
        if not np.array_equal(self.fingerprints, theirs):
            first = int(np.argmax(self.fingerprints != theirs))
            reordered = np.array_equal(np.sort(self.fingerprints), np.sort(theirs))
            what = "the same rows in another order" if reordered else "answers to other rows"
            raise ValueError(f"soft targets do not belong to this data: from row {first} on they are {what}")
        return self.logits

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes them to one .npz file, whole or not there."""
        write_npz(path, "soft-targets", {"logits": self.logits, "fingerprints": self.fingerprints})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "SoftTargets":
        """The soft targets saved at `path`; ValueError for a damaged file or one that holds something else."""
        return cls(**read_npz(path, "soft-targets", {"logits": "NC", "fingerprints": "N"}))


def soft_targets(teacher: Any, data: Dataset, classes: int) -> SoftTargets:
    """What `teacher` says about every row of `data`, as logits over `classes` classes."""
    if isinstance(teacher, SoftTargets):
        targets = teacher
    elif isinstance(teacher, np.ndarray):
        targets = SoftTargets.of(check_rows("teacher logits", teacher, columns=classes), data)
        _check_order(targets.logits, data)
    else:
        targets = SoftTargets.of(as_teacher(teacher, classes)(data.x), data)
    check_rows("teacher logits", targets.logits, columns=classes)
    return targets


def _hidden_targets(teacher: Any, data: Dataset, again: bool) -> Any:
    """What `teacher` makes of every row of `data`, hidden activations included; where `again`, who is to be asked."""
    if isinstance(teacher, MLP):
        return teacher.outputs if again else teacher.outputs(data.x)
    if not isinstance(teacher, Outputs):
        raise TypeError(f"teacher must be an MLP or its Outputs for this loss, got {type(teacher).__name__}")
    if again:
        raise ValueError("augment changes the rows: the teacher must be one that can be asked again, got kept Outputs")
    if len(teacher) == len(data):  # `fit` says what is wrong otherwise
        _check_order(teacher.logits, data)
    return teacher


def _check_order(logits: np.ndarray, data: Dataset) -> None:
    """Refuses bare logits whose rows suit the labels no better than the same rows in any order.

    The mean log-probability of the labels is compared with its mean and spread over all orders of the rows. A row in
    the right place is what makes a teacher better than that; three standard deviations are asked for.
    """
    if data.y is None or len(data) < FEWEST_ROWS:
        return
    classes = logits.shape[1]
    if data.y.max() >= classes:
        return  # `fit` says what is wrong with the labels
    probabilities, _ = ops.softmax_forward(logits.astype(np.float64))           # (N,C)
    shares = np.bincount(data.y, minlength=classes) / len(data)                 # (C,)
    in_place = probabilities[np.arange(len(data)), data.y].mean()
    anywhere = (probabilities @ shares).mean()
    spread = _spread_over_orders(probabilities, shares)
    if spread > ROUNDING and in_place < anywhere + 3 * spread:
        raise ValueError(
            f"teacher logits do not seem to belong to these rows: they give the labels a mean probability of "
            f"{in_place:.3f}, and would give {anywhere:.3f} in a random order. Where the order is right all the same, "
            "say so with SoftTargets.of(logits, data)"
        )


def _spread_over_orders(probabilities: np.ndarray, shares: np.ndarray) -> float:
    """Standard deviation, over all orders of the N rows, of the mean probability given to the labels.

    It is that of a permutation statistic: the sum of d^2 over all pairs of a row and a label, over N^2 (N - 1), where d
    is a probability less its row's and its label's mean plus the mean of all (Hoeffding 1951, theorem 2).
    """
    N = len(probabilities)
    row_means = probabilities @ shares                                          # (N,)
    label_means = probabilities.mean(axis=0)                                    # (C,)
    d = probabilities - row_means[:, None] - label_means + row_means.mean()     # (N,C)
    return float(np.sqrt((d**2 @ shares).sum() / (N * (N - 1))))


def as_teacher(teacher: Any, classes: int) -> Teacher:
    """A function from x (N,I) to the teacher's logits (N,C), in evaluation mode."""
    if isinstance(teacher, MLP):
        return teacher.logits
    if isinstance(teacher, list | tuple):
        if len(teacher) == 0:
            raise ValueError("teacher is an empty list: at least one teacher is needed")
        members = [as_teacher(member, classes) for member in teacher]
        return lambda x: _log(members_probabilities(members, x, classes).mean(axis=0))
    if hasattr(teacher, "predict_proba"):
        return lambda x: _log(class_probabilities(teacher, x, classes))
    if callable(teacher):
        return lambda x: check_rows("teacher logits", teacher(x))
    raise TypeError(
        "teacher must be an MLP, a list of teachers, SoftTargets, an array of logits, a function of x or an object "
        f"with predict_proba, got {type(teacher).__name__}"
    )


def members_probabilities(members: list[Teacher], x: np.ndarray, classes: int) -> np.ndarray:
    """Each member's probabilities for x (N,I): (K,N,C)."""
    logits = [check_rows("a teacher's logits", member(x), columns=classes) for member in members]
    return np.stack([ops.softmax_forward(rows)[0] for rows in logits])


def _log(probabilities: np.ndarray) -> np.ndarray:
    """Logits of probabilities (N,C): softmax gives them back, exact zeros included."""
    with np.errstate(divide="ignore"):
        logits: np.ndarray = np.maximum(np.log(probabilities), NEVER)
    return logits


def class_probabilities(model: Any, x: np.ndarray, classes: int | None = None) -> np.ndarray:
    """predict_proba's rows, each column put where its class belongs: a class never seen has probability 0.

    Models that leave out classes say which they have in `classes_`, as scikit-learn's do. Gives (N, classes); unless
    told otherwise, as many classes as the model knows of.
    """
    name = type(model).__name__
    found = check_probabilities(f"predict_proba of {name}", model.predict_proba(x))
    width = found.shape[1]
    columns = np.asarray(getattr(model, "classes_", range(width)))              # (width,)
    numbers = columns.tolist()
    if columns.dtype.kind not in "iu" or len(set(numbers)) != width or min(numbers) < 0:
        raise ValueError(f"classes_ of {name} must be {width} whole numbers from 0, got {numbers}")
    if classes is None:
        classes = max(numbers) + 1
    if max(numbers) >= classes or (width < classes and not hasattr(model, "classes_")):
        raise ValueError(f"{name} must have {classes} classes, it gives probabilities of {numbers}")
    probabilities: np.ndarray = np.zeros((len(found), classes), found.dtype)
    probabilities[:, columns] = found
    return probabilities
