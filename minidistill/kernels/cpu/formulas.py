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
    single, double = njit(single), njit(double)

    def choose(x):
        raise NotImplementedError("for compiled code")

    @overload(choose, strict=False)
    def _choose(x):
        chosen = single if x.dtype == types.float32 else double
        return lambda x: chosen(x)

    return choose


REPLACED = (
    "square_root", "nearest", "power_of_two", "exponent", "where_positive", "choose_positive", "where_at_least",
)  # fmt: skip
BY_DTYPE = "curve", "series2", "odd_series", "within_range", "not_below_range"

formula = rows.compiled(
    njit,
    **{name: getattr(arithmetic, name) for name in REPLACED},
    **{name: by_dtype(getattr(rows, f"{name}_single"), getattr(rows, f"{name}_double")) for name in BY_DTYPE},
    **{name: np.uint64(getattr(rows, name)) for name in ("WORD", "MIX_1", "MIX_2", "SHIFT_15", "SHIFT_16")},
)
