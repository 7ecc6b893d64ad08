# SPDX-License-Identifier: MIT
"""The checks at the public boundary: each names the argument, what was given and what was wanted.

Inside the library nothing is checked twice; a wrong value is stopped here, where the user can see where it came from.
"""

import math
import operator
import sys
import warnings
from collections.abc import Iterable
from contextlib import suppress
from numbers import Real
from typing import Any

import numpy as np

from .gpu_arrays import has_gpu_interface, to_host
from .intervals import bounds_of

# Intervals that float32 needs, whatever the dtype of a network:
TEMPERATURES = "[1e-6, 1e6)"  # the inverse of 1e-39 overflows
LIMITS = "[1e-37, 1e38]"      # smaller ones become zero, larger ones infinite
SHARES = "[0, 0.9999999]"     # larger ones become 1


def check_whole(name: str, value: Any, minimum: int = 1) -> int:
    """`value` as an int of at least `minimum`; bools and fractions are refused."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        whole = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {value!r}") from None
    if whole < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {whole}")
    return whole


def options_of(function: Any) -> set[str]:
    """The names of a function's keyword-only arguments, all of which have defaults."""
    return set(function.__kwdefaults__)


def check_options(function: str, options: Iterable[str], known: Iterable[str]) -> None:
    """Refuses unknown options here: the error of the function that they are passed on to would name that function."""
    for name in set(options) - set(known):
        raise TypeError(f"{function}() has no option {name!r}: its options are {', '.join(sorted(known))}")


def as_tuple(name: str, values: Any, wanted: str) -> tuple[Any, ...]:
    """`values`, a list, tuple, range or array of one dimension, as a tuple; TypeError for anything else."""
    if isinstance(values, list | tuple | range) or (isinstance(values, np.ndarray) and values.ndim == 1):
        return tuple(values)
    raise TypeError(f"{name} must be {wanted}, got {values!r}")


def check_seed(seed: Any) -> int:
    """A seed: a whole number of at most 63 bits."""
    if check_whole("seed", seed, minimum=0) >= 2**63:
        raise ValueError(f"seed must be below 2^63, got {seed}")
    return operator.index(seed)


def check_number(name: str, value: Any, interval: str) -> float:
    """`value` as a finite float in `interval`, which is written as in mathematics: '(0, inf)', '[0, 1]', '[0, 1)'."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, bool | np.bool_ | str | bytes) or not np.isscalar(value) or np.iscomplexobj(value):
        raise TypeError(f"{name} must be a number in {interval}, got {value!r}")
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:  # a whole number of hundreds of digits
        number = math.inf
    low, high = bounds_of(interval)
    if not (math.isfinite(number) and low <= number <= high):
        raise ValueError(f"{name} must be in {interval}, got {value!r}")
    return number


def check_field(instance: Any, name: str, interval: str) -> None:
    """`check_number` of a frozen dataclass's field, which becomes a plain float: that takes on any array's dtype."""
    object.__setattr__(instance, name, check_number(name, getattr(instance, name), interval))


def check_shares(name: str, values: Any) -> tuple[float, ...]:
    """`values`, a sequence of numbers in [0, 1], as a tuple: an iterator could be read once only."""
    if isinstance(values, str | bytes) or not np.iterable(values):
        raise TypeError(f"{name} must be a sequence of numbers in [0, 1], such as (0.5, 0.75), got {values!r}")
    return tuple(check_number(f"each share in {name}", value, "[0, 1]") for value in values)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """`value`, if it is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return str(value)


def check_rows(name: str, rows: Any, columns: int | None = None, dtype: Any = None) -> np.ndarray:
    """`rows` as a finite, C-contiguous float array (N, columns), at least one row.

    It gets the given dtype; where none is given float64 stays and all else becomes float32.
    """
    array = as_array(name, rows)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold numbers, got an array of dtype {array.dtype}")
    if array.ndim != 2:
        raise ValueError(f"{name} must have 2 dimensions (rows, columns), got shape {array.shape}")
    if 0 in array.shape:
        raise ValueError(f"{name} is empty: got shape {array.shape}")
    if columns is not None and array.shape[1] != columns:
        raise ValueError(f"{name} must have {columns} columns, got shape {array.shape}")
    if dtype is None:
        dtype = np.float64 if array.dtype.kind == "f" and array.itemsize == 8 else np.float32
    if array.dtype != dtype:
        with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, and is refused
            array = array.astype(dtype)
    check_finite(name, array)
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


MOST_CLASSES = 2**31


class NotFiniteError(ValueError):
    """A number that should be finite is NaN or infinite."""


def check_probabilities(name: str, rows: Any, columns: int | None = None, dtype: Any = None) -> np.ndarray:
    """`rows` as an array (N, columns) of probabilities: none below 0, each row's sum 1 but for rounding."""
    array = check_rows(name, rows, columns, dtype)
    if (array < 0).any() or not np.allclose(array.sum(axis=1), 1, atol=1e-3):
        raise ValueError(f"{name} must be probabilities: rows of numbers from 0 that sum to 1")
    return array


FEWEST_PROBABILITIES = 5  # rows; fewer rows of logits could be at least 0 and sum to 1 by chance
ROUNDED = 0.05  # relative: ten probabilities of two digits sum to 1 with errors up to this
NEARLY_ALL = 0.95  # of the rows


def check_logits(name: str, rows: Any, columns: int | None = None, dtype: Any = None) -> np.ndarray:
    """`rows` as a finite float array (N, columns) of logits; ValueError where they are probabilities or percentages."""
    array = check_rows(name, rows, columns, dtype)
    if len(array) < FEWEST_PROBABILITIES or array.min() < 0:
        return array
    sums = array.sum(axis=1)                                                    # (N,)
    for total in (1, 100):
        if (np.abs(sums - total) <= ROUNDED * total).mean() >= NEARLY_ALL:
            raise ValueError(
                f"{name} must be values before the softmax, got probabilities: all are at least 0, and the rows sum to "
                f"{total}. Pass their logarithms, np.log(probabilities + 0.1 / {array.shape[1]}), or an object with "
                "predict_proba"
            )
    return array


def check_finite(name: str, rows: np.ndarray) -> None:
    """Refuses NaN and infinity, and says where the first one stands."""
    if not np.isfinite(rows).all():
        place = tuple(np.argwhere(~np.isfinite(rows))[0].tolist())
        where = f"row {place[0]}, column {place[1]}" if len(place) == 2 else f"index {place}"
        raise NotFiniteError(f"{name} must be finite, got {rows[place]} at {where}")


def check_no_overflow(logits: np.ndarray, x: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """`logits` (N,C) of the rows x, if they are finite; NotFiniteError names what was too large."""
    if not np.isfinite(logits).all():
        largest = f"x reaches {np.abs(x).max():.3g} and the parameters {np.abs(parameters).max():.3g}"
        raise NotFiniteError(f"x gives logits that are not finite in {x.dtype}: {largest}")
    return logits


def check_labels(name: str, labels: Any, rows: int, classes: int | None = None) -> np.ndarray:
    """`labels` as int64 of shape (rows,), each in 0..classes-1; whole floats such as 3.0 are taken, 3.5 is not."""
    array = as_array(name, labels)
    if array.ndim != 1:
        raise ValueError(f"{name} must have 1 dimension, a label a row, got shape {array.shape}")
    if len(array) != rows:
        raise ValueError(f"{name} must have a label for each of the {rows} rows of x, got {len(array)}")
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be whole numbers from 0, got {array.tolist()[0]!r}")
    if array.dtype.kind == "f":
        whole = array == np.floor(array)
        if not whole.all():
            raise TypeError(f"{name} must be whole numbers from 0, got {array[~whole][0]} at row {np.argmin(whole)}")
    top = MOST_CLASSES - 1 if classes is None else classes - 1
    outside = (array < 0) | (array > top)
    if outside.any():
        limit = "at least 0, and below 2^31" if classes is None else f"0 to {classes - 1} ({classes} classes)"
        raise ValueError(f"{name} must be {limit}, got {array[outside][0]} at row {np.argmax(outside)}")
    return array.astype(np.int64, copy=False)


def check_targets(name: str, targets: Any, rows: int, classes: int | None = None, dtype: Any = None) -> np.ndarray:
    """Labels (rows,) as int64, or rows of probabilities (rows, classes)."""
    if np.ndim(targets) != 2:
        return check_labels(name, targets, rows, classes)
    return check_probabilities(name, targets, classes, dtype)


def warn(message: str) -> None:
    """A UserWarning at the line that called the package, however deep inside it the cause is found."""
    frame, level, inside = sys._getframe(), 1, ("minidistill", "numpy", "contextlib")
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in inside:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


def as_array(name: str, values: Any) -> np.ndarray:
    """`values` as an array; TypeError or ValueError where it has masked values or rows of different lengths."""
    if type(values) is np.ndarray and values.dtype.kind != "O":
        return values  # as most are: a prediction of one row takes 3 microseconds in all
    if has_gpu_interface(values):
        return to_host(values)
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a plain array, got a masked one: what stands for its missing values?")
    try:
        array = np.asarray(values)
    except ValueError:
        raise ValueError(f"{name} must be an array, got rows of different lengths") from None
    if array.dtype.kind == "O" and all(issubclass(kind, Real | np.bool_) for kind in set(map(type, array.flat))):
        with suppress(OverflowError):  # a whole number of hundreds of digits
            return array.astype(np.float64)  # of a data frame with columns of bools and of floats
    return array
