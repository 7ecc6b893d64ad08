# SPDX-License-Identifier: MIT
"""Intervals of numbers, written as in mathematics; without NumPy, so that the command line starts quickly."""

import math
from functools import cache


@cache
def bounds_of(interval: str) -> tuple[float, float]:
    """The least and the greatest float inside of an interval such as '[0, 1)'."""
    low, high = map(float, interval[1:-1].split(","))
    return (
        low if interval[0] == "[" else math.nextafter(low, math.inf),
        high if interval[-1] == "]" else math.nextafter(high, -math.inf),
    )
