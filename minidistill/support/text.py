# SPDX-License-Identifier: MIT
"""Figures as text: aligned tables, plurals, excerpts, and the standard deviation beside a mean."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

MOST_QUOTED, MOST_OF_AN_ERROR = 200, 500  # characters


def aligned(table: Sequence[Sequence[str]]) -> str:
    """Lines of cells as text: the first column begins, all others end, at one place."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    padded = ([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in table)
    return "\n".join("  ".join(line).rstrip() for line in padded)


def excerpt(foreign: Any, most: int = MOST_QUOTED) -> str:
    """Text of a file as an error quotes it: at most `most` characters, and none that a terminal obeys."""
    text = str(foreign)
    return "".join(letter if letter.isprintable() else "?" for letter in text[:most]) + "..." * (len(text) > most)


@contextmanager
def brief_errors() -> Iterator[None]:
    """A ValueError in the block, or in a function that this decorates, has a short text without control characters.

    For readers of files from strangers, whose names of layers and arrays it quotes.
    """
    try:
        yield
    except ValueError as error:
        raise ValueError(excerpt(error, MOST_OF_AN_ERROR)) from None


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def sample_std(values: Sequence[float]) -> float:
    """The standard deviation between seeds; 0 where there is one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
