# SPDX-License-Identifier: MIT
"""The formulas of rows.py, compiled for Vectors: `formula.exp(v)`, `formula.relu(v)` and all others.

Where float32 and float64 need polynomials of different degrees, the Vector's dtype chooses.
"""

import numpy as np
from numba import njit, types
from numba.extending import overload

from .. import rows
from . import arithmetic


def by_dtype(single, double):
    """A function of one Vector: `single` where it holds float32, `double` where it holds float64."""

    def choose(x):
        raise NotImplementedError("for compiled code")

    @overload(choose, strict=False)
    def _choose(x):
        chosen = single if x.dtype == types.float32 else double
        return lambda x: chosen(x)

    return choose


@njit
def within_single(x):
    return max(min(x, rows.LIMIT_SINGLE), -rows.LIMIT_SINGLE)


@njit
def within_double(x):
    return max(min(x, rows.LIMIT_DOUBLE), -rows.LIMIT_DOUBLE)


@njit
def not_below_single(x):
    return max(x, rows.LOWEST_SINGLE)


@njit
def not_below_double(x):
    return max(x, rows.LOWEST_DOUBLE)


formula = rows.compiled(
    njit,
    square_root=arithmetic.square_root,
    nearest=arithmetic.nearest,
    power_of_two=arithmetic.power_of_two,
    exponent=arithmetic.exponent,
    where_positive=arithmetic.where_positive,
    choose_positive=arithmetic.choose_positive,
    where_at_least=arithmetic.where_at_least,
    curve=by_dtype(njit(rows.curve_single), njit(rows.curve_double)),
    series2=by_dtype(njit(rows.series2_single), njit(rows.series2_double)),
    odd_series=by_dtype(njit(rows.odd_series_single), njit(rows.odd_series_double)),
    within_range=by_dtype(within_single, within_double),
    not_below_range=by_dtype(not_below_single, not_below_double),
    **{name: np.uint64(getattr(rows, name)) for name in ("WORD", "MIX_1", "MIX_2", "SHIFT_15", "SHIFT_16")},
)
