# SPDX-License-Identifier: MIT
"""Hyperparameter selection: the choice with the highest validation score."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np

Choice = TypeVar("Choice")


def highest(choices: Sequence[Choice], scores: Sequence[float]) -> Choice:
    """The choice with the highest of the scores, one per choice; the first of equal ones."""
    return choices[int(np.argmax(scores))]


def best(choices: Iterable[Choice], score: Callable[[Choice], float]) -> Choice:
    """The choice with the highest score(choice), such as validation accuracy; the first of equal ones.

    A choice with which training diverges, an ArithmeticError, counts as worse than all others.
    """

    def score_or_worst(choice: Choice) -> float:
        try:
            return score(choice)
        except ArithmeticError:
            return -np.inf

    tried = list(choices)
    return highest(tried, [score_or_worst(choice) for choice in tried])
