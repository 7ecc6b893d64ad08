# SPDX-License-Identifier: MIT
"""What is wrong with an answer to an exercise of the course, in words that help to mend it."""

import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from ..support.deprecation import renamed_names

MISFIT = "could not be broadcast|mismatch in its core dimension|not aligned"  # in NumPy's words
SHAPES = (
    ". The shapes of two arrays do not go together: print both. A (B,) beside a (B,C) must become a column first, by "
    "[:, None] or keepdims; in a product, look for a transpose"
)


class IncorrectAnswer(AssertionError):
    """An answer is not right yet; the message says what is wrong with it."""


if not TYPE_CHECKING:
    __getattr__ = renamed_names(__name__, {"Wrong": "IncorrectAnswer"})


def check(
    name: str,
    yours: Any,
    right: Any,
    *,
    factors: Mapping[str, float] | None = None,
    mistakes: Mapping[str, Any] | None = None,
    tolerance: float = 1e-9,
) -> None:
    """Print that an answer is right, or raise `IncorrectAnswer` with what is wrong with it.

    yours      the answer, or a function without arguments that gives it, so that an error in it is explained as well
    right      what is wanted: a number, an array, a tuple of them, a text or a bool
    factors    what an answer is often multiplied or divided by: {"T": 4.0, "B": 32}
    mistakes   what comes out where something is done wrongly, by what that is: {"the mean over all entries": ...}
    tolerance  how far an entry may be off, in parts of the largest entry of `right`
    """
    problem = _problem(_given(name, yours), right, dict(factors or {}), dict(mistakes or {}), tolerance)
    if problem:
        raise IncorrectAnswer(f"{name}: {problem}")
    print(f"{name}: right.")


def _given(name: str, yours: Any) -> Any:
    """The answer itself."""
    if not callable(yours):
        return yours
    try:
        return yours()
    except Exception as error:
        hint = SHAPES if isinstance(error, ValueError) and re.search(MISFIT, str(error)) else ""
        raise IncorrectAnswer(f"{name}: your code stopped with {type(error).__name__}: {error}{hint}") from error


def _problem(
    yours: Any, right: Any, factors: dict[str, float], mistakes: dict[str, Any], tolerance: float
) -> str | None:
    """What is wrong, as a sentence; None where nothing is."""
    if yours is None or yours is ...:
        return (
            "nothing is there yet. Fill in what is marked 'your code' above, run that cell, and then this one. "
            "If you have: does your function return its result?"
        )
    if isinstance(right, tuple):
        return _problem_of_parts(yours, right, factors, mistakes, tolerance)
    if isinstance(right, str | bool | np.bool_):
        return _problem_of_choice(yours, right, mistakes)
    values = _numbers(yours)
    if values is None:
        return f"it is {type(yours).__name__} {yours!r:.60}; wanted {_described(np.asarray(right))}."
    wanted = np.asarray(right, dtype=np.float64)
    if _same(values, wanted, tolerance):
        return None
    for words, wrong in mistakes.items():
        if _same(values, np.asarray(wrong, dtype=np.float64), tolerance):
            return f"{words}."
    if values.shape != wanted.shape:
        return _problem_of_shape(values, wanted)
    if not np.isfinite(values).all():
        return f"{np.count_nonzero(~np.isfinite(values))} of {values.size} entries are not finite (inf or nan)."
    return _problem_of_values(values, wanted, factors, tolerance)


def _problem_of_parts(
    yours: Any, right: tuple[Any, ...], factors: dict[str, float], mistakes: dict[str, Any], tolerance: float
) -> str | None:
    """What is wrong with the first wrong one of several results."""
    if not isinstance(yours, tuple | list) or len(yours) != len(right):
        found = f"{len(yours)}" if isinstance(yours, tuple | list) else f"one {type(yours).__name__}"
        return f"{len(right)} results are wanted, in this order, and {found} came."
    for place, (part, wanted) in enumerate(zip(yours, right, strict=True), start=1):
        problem = _problem(part, wanted, factors, mistakes, tolerance)
        if problem:
            return f"result {place} of {len(right)}: {problem}"
    return None


def _problem_of_choice(yours: Any, right: Any, mistakes: dict[str, Any]) -> str | None:
    """A text, whatever its case and the spaces around it, or a bool."""
    plain = [choice.strip().lower() if isinstance(choice, str) else choice for choice in (yours, right)]
    if type(right)(plain[0]) == plain[1] and isinstance(yours, type(right) | np.bool_):
        return None
    known = (words for words, wrong in mistakes.items() if type(wrong) is type(yours) and wrong == plain[0])
    shown = bool(yours) if isinstance(yours, np.bool_) else yours
    return next((f"{words}." for words in known), f"{shown!r} is not it.")


def _numbers(answer: Any) -> np.ndarray | None:
    """An answer as an array, None where it is no numbers."""
    try:
        values = np.asarray(answer)
    except ValueError:  # rows of different lengths
        return None
    return values.astype(np.float64) if values.dtype.kind in "biuf" else None


def _same(values: np.ndarray, wanted: np.ndarray, tolerance: float) -> bool:
    return values.shape == wanted.shape and bool((np.abs(values - wanted) <= tolerance * _size(wanted)).all())


def _size(wanted: np.ndarray) -> float:
    return float(np.abs(wanted).max(initial=0.0)) or 1.0


def _described(wanted: np.ndarray) -> str:
    return f"an array of shape {wanted.shape}" if wanted.shape else "a number"


def _problem_of_shape(values: np.ndarray, wanted: np.ndarray) -> str:
    found = f"it is {_described(values)}, wanted {_described(wanted)}"
    if values.ndim == wanted.ndim > 1 and values.shape == wanted.shape[::-1]:
        return f"{found}: rows and columns have changed places; look for a transpose."
    if values.size == wanted.size:
        return f"{found}: as many numbers, with an axis too many or too few; look for keepdims or reshape."
    if values.ndim < wanted.ndim and values.shape:
        return f"{found}: a sum or a mean went over an axis that was to stay."
    return f"{found}."


def _problem_of_values(values: np.ndarray, wanted: np.ndarray, factors: dict[str, float], tolerance: float) -> str:
    """What is wrong with numbers of the right shape."""
    if not values.any():
        return "it is zero everywhere."
    by_a_factor = _problem_of_factor(values, wanted, factors, tolerance) if wanted.any() else None
    if by_a_factor:
        return by_a_factor
    if wanted.size == 1:  # no pattern to see
        return f"it is too {'large' if (values > wanted).all() else 'small'}."
    if wanted.ndim == 2 and _same(values, wanted.T, tolerance):
        return "rows and columns have changed places; look for a transpose."
    difference = values - wanted
    if _same(difference, np.full_like(difference, difference.flat[0]), tolerance):
        return f"every entry is off by the same amount, {difference.flat[0]:.6g}."
    off = np.abs(difference)
    count = int((off > tolerance * _size(wanted)).sum())
    place = tuple(map(int, np.unravel_index(off.argmax(), off.shape)))
    where = f"most of all at {list(place)}, where it is {values[place]:.6g}"
    return f"{count} of {values.size} entries are wrong, {where}; no single factor explains it."


def _problem_of_factor(
    values: np.ndarray, wanted: np.ndarray, factors: dict[str, float], tolerance: float
) -> str | None:
    """What all entries are multiplied by; None where that differs, or would give away the answer, a single number."""
    largest = np.abs(wanted).argmax()
    ratio = float(values.flat[largest] / wanted.flat[largest])
    if not ratio or not _same(values / ratio, wanted, max(tolerance, 1e-12)):
        return None
    sign = "the sign is wrong" if ratio < 0 else ""
    if np.isclose(abs(ratio), 1.0, rtol=1e-6):
        return f"{sign}; the size is right."
    explained = [words for words, factor in _products(factors) if np.isclose(abs(ratio), factor, rtol=1e-6)]
    if wanted.size == 1 and not explained:
        return None
    factor = " or ".join(explained[:2]) or f"it is {abs(ratio):.6g} times what it should be"
    return "; ".join(part for part in (sign, factor) if part) + "; all else is right."


def _products(factors: dict[str, float]) -> Iterator[tuple[str, float]]:
    """Each factor, its square, and products of two, missing or too many: in words, and what an answer is then times."""
    named = [(name, float(factor)) for name, factor in factors.items()]
    squares = [(f"{name}^2", factor**2) for name, factor in named if "^" not in name and f"{name}^2" not in factors]
    pairs = [(f"{a} {b}", x * y) for (a, x), (b, y) in combinations(named, 2)]
    for name, factor in [*named, *squares, *pairs]:
        yield f"a factor {name} is missing (or it was divided by it once too often)", 1 / factor
        yield f"a factor {name} is too many (or a division by it is missing)", factor
    for (a, x), (b, y) in combinations(named, 2):
        yield f"{a} stands where {b} should", x / y
        yield f"{b} stands where {a} should", y / x
