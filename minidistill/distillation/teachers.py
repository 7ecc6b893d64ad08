# SPDX-License-Identifier: MIT
"""Teachers of any kind: how their outputs become logits or probabilities, and how many classes they have.

A model that has logits is used by its logits. Probabilities become logits by one rule, a floor under each of them:

    t = log((p + eps/C) / (1 + eps))

A model that counts, such as a forest or nearest neighbors, gives many classes a probability of 0, which means "none of
a hundred trees" and not "impossible". Without a floor its logit is arbitrary, no temperature softens it, and T^2
multiplies its gradient. softmax(t) is (p + eps/C) / (1 + eps), not p: the C floors together are the same for any number
of classes. The value of eps was chosen on validation rows of seven data sets by tools/measure/floor.py.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..network import MLP
from ..support.checks import check_logits, check_rows, check_whole
from ..training.probabilities import class_probabilities, number_of_classes

FLOOR = 0.1  # eps, the sum of the floors under all classes

Teacher = Callable[[np.ndarray], np.ndarray]  # from x (N,I) to logits (N,C)


def as_teacher(teacher: Any, classes: int) -> Teacher:
    """A function from x (N,I) to the teacher's logits (N,C), in evaluation mode.

    The first of these that `teacher` is decides: an MLP; a list of teachers, by their mean probability; an object with
    `logits`; one with `predict_proba`, by its floored probabilities; a function to logits. Raises TypeError otherwise.
    """
    if isinstance(teacher, type):
        raise TypeError(f"teacher must be a model, got the class {teacher.__name__}")
    if isinstance(teacher, MLP):
        return teacher.logits
    if isinstance(teacher, list | tuple):
        if len(teacher) == 0:
            raise ValueError("teacher is an empty list: at least one teacher is needed")
        if np.isscalar(teacher[0]) and not isinstance(teacher[0], str):
            raise TypeError("teacher is a list of numbers: pass logits as an array, np.array(logits)")
        members = [as_teacher(member, classes) for member in teacher]
        return lambda x: mixture_logits(members, x, classes)
    if callable(getattr(teacher, "logits", None)):
        return lambda x: check_logits("teacher logits", teacher.logits(x))
    if hasattr(teacher, "predict_proba"):
        return lambda x: floored_logits(class_probabilities(teacher, x, classes))
    if callable(teacher):
        return lambda x: check_logits("teacher logits", teacher(x))
    raise TypeError(
        "teacher must be an MLP, a list of teachers, SoftTargets, an array of logits, a function of x or an object "
        f"with predict_proba, got {type(teacher).__name__}"
    )


def as_probabilities(teacher: Any, classes: int) -> Teacher:
    """A function from x (N,I) to the teacher's probabilities (N,C): without a floor where it has `predict_proba`.

    Those of logits are computed in float64. Errors are those of `as_teacher`.
    """
    logits = as_teacher(teacher, classes)  # raises for what is no teacher
    if isinstance(teacher, list | tuple):
        members = [as_probabilities(member, classes) for member in teacher]
        return lambda x: np.mean([member(x) for member in members], axis=0)
    if not hasattr(teacher, "logits") and hasattr(teacher, "predict_proba"):
        return lambda x: class_probabilities(teacher, x, classes)
    return lambda x: ops.softmax_forward(check_rows("teacher logits", logits(x), classes, np.float64))[0]


def floored_logits(probabilities: np.ndarray) -> np.ndarray:
    """Logits (N,C) of probabilities (N,C), by the rule above."""
    C = probabilities.shape[1]
    return np.asarray(np.log((probabilities + FLOOR / C) / (1 + FLOOR)))        # (N,C)


def mixture_logits(
    members: Sequence[Teacher], x: np.ndarray, classes: int, weights: Sequence[float] | None = None
) -> np.ndarray:
    """The logarithm (N,C) of the weighted mean of the members' probabilities for x (N,I); equal weights unless given.

    It is computed from logarithms, so that no probability becomes 0 by rounding.
    """
    logits = [check_rows("a teacher's logits", member(x), columns=classes) for member in members]
    log_p = np.stack([ops.log_softmax_forward(rows)[0] for rows in logits])    # (K,N,C)
    w = np.full(len(members), 1 / len(members)) if weights is None else np.asarray(weights)     # (K,)
    with np.errstate(divide="ignore"):  # a member of weight 0 has no part
        log_w = np.log(w).astype(log_p.dtype)                                   # (K,)
    return np.asarray(np.logaddexp.reduce(log_p + log_w[:, None, None], axis=0))    # (N,C)


def common_number_of_classes(models: dict[str, Any], given: int | None = None) -> int:
    """The number of classes that all of `models`, a dictionary from names, have: what they state, and what is given.

    Raises ValueError where two of these differ, or nothing states it.
    """
    stated = {name: number_of_classes(model) for name, model in models.items()}
    stated["classes"] = None if given is None else check_whole("classes", given, minimum=2)
    known = {name: count for name, count in stated.items() if count is not None}
    if not known:
        raise ValueError(f"classes must be given: no number of classes is stated by {' or '.join(models)}")
    if len(set(known.values())) > 1:
        counts = ", ".join(f"{name} {count}" for name, count in known.items())
        raise ValueError(f"the numbers of classes must be equal, got {counts}")
    return next(iter(known.values()))
