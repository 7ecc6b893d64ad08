# SPDX-License-Identifier: MIT
"""Figures as text: aligned tables, plurals, excerpts, and the standard deviation beside a mean."""

from collections.abc import Sequence
from typing import Any

import numpy as np

MOST_QUOTED = 200  # characters


def aligned(table: Sequence[Sequence[str]]) -> str:
    """Lines of cells as text: the first column begins, all others end, at one place."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    padded = ([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in table)
    return "\n".join("  ".join(line).rstrip() for line in padded)


def excerpt(foreign: Any) -> str:
    """Text of a file as an error quotes it: at most 200 characters, and none that a terminal obeys."""
    text = str(foreign)
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[:MOST_QUOTED])
    return shown + "..." * (len(text) > MOST_QUOTED)


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def sample_std(values: Sequence[float]) -> float:
    """The standard deviation between seeds; 0 where there is one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
