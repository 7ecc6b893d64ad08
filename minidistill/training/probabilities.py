# SPDX-License-Identifier: MIT
"""Class probabilities of models of any kind, such as scikit-learn's, and how many classes they have."""

from typing import Any

import numpy as np

from ..support.checks import check_probabilities


def predict_proba(model: Any, x: np.ndarray, classes: int | None = None, name: str = "model") -> np.ndarray:
    """Probabilities (N,C) of any model that has predict_proba; several models in a list give their mean."""
    if isinstance(model, list | tuple):
        if not model:
            raise ValueError(f"{name} is an empty list: at least one model is needed")
        members = [predict_proba(member, x, classes, name) for member in model]             # each (N,C)
        widest = max(rows.shape[1] for rows in members)  # the same where `classes` is given
        return np.asarray(np.mean([np.pad(rows, ((0, 0), (0, widest - rows.shape[1]))) for rows in members], axis=0))
    if not hasattr(model, "predict_proba"):
        raise TypeError(f"{name} must be a model with predict_proba, got {model!r}")
    return class_probabilities(model, x, classes)


def class_probabilities(model: Any, x: np.ndarray, classes: int | None = None) -> np.ndarray:
    """predict_proba's rows, each column at the index of its class: a class never seen has probability 0.

    `classes_` lists the classes of a model that leaves some out, as of scikit-learn's. Returns (N, classes); unless
    given, `classes` is the number that the model has.
    """
    name = type(model).__name__
    if isinstance(model, type):
        raise TypeError(f"a model must be given, got the class {model.__name__}")
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


def number_of_classes(model: Any) -> int | None:
    """The number of classes that a model, or the first member of a list that states it, has; None where none does.

    It is stated by `sizes`, as of an MLP or a QuantizedMLP, or by `classes`, as of an Ensemble. The `classes_` of a
    scikit-learn model do not state it: they lack the classes that its training rows lacked.
    """
    if isinstance(model, list | tuple):
        return next((count for count in map(number_of_classes, model) if count is not None), None)
    sizes = getattr(model, "sizes", None)
    count = sizes[-1] if isinstance(sizes, tuple) else getattr(model, "classes", None)
    return int(count) if isinstance(count, int | np.integer) else None
