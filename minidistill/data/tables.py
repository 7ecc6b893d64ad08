# SPDX-License-Identifier: MIT
"""Tables of your own: CSV as spreadsheets write it, or NPZ as NumPy does, which loads far faster."""

import csv
import io
import os
from collections.abc import Iterable
from contextlib import suppress
from itertools import chain
from typing import IO

import numpy as np

from ..support.checks import check_whole
from ..support.files import ZIP_MAGIC, arrays_in, names_in, opened
from ..support.text import excerpt
from .dataset import Dataset

LAST_COLUMN = -1
LABEL_LIMIT = 2**53  # from here on a float no longer holds every whole number
LARGEST = float(np.finfo(np.float32).max)
NPY_MAGIC = b"\x93NUMPY"


def load_table(path: str | os.PathLike[str], label: str | int | None = LAST_COLUMN) -> Dataset:
    """The rows in a CSV or NPZ file (recognized by its content, whatever its name), or a pipe of one, as a Dataset.

    CSV: UTF-8, cells separated by commas, one row per line; blank lines are skipped. x is (N,I) float32. The first line
    is a header if none of its cells is a number, or if `label` is a name.

        label : the column with the labels, which are whole numbers from 0: its name in the header, or its index from 0,
                or from -1 for the last one. None for a table without labels.

    NPZ: an array `x` (N,I), whose dtype stays as in `Dataset`, and, if there are labels, `y` (N,). With `label` None
    `y` is not read. To write one: `numpy.savez("mine.npz", x=x, y=y)`.

    Raises FileNotFoundError; ValueError, naming the file and in a CSV the line and the column, for rows of different
    lengths, a cell that is no finite number, a label that is not whole, such as the name of a class, a label column
    that is not there, no rows, or a file that cannot be read; TypeError for a label of another type.
    """
    path = os.fspath(path)
    with opened(path) as stream:
        beginning = stream.read(len(NPY_MAGIC))
        stream.seek(0)
        if beginning == NPY_MAGIC:
            raise ValueError(f'{path} holds a single array: write an .npz with numpy.savez("mine.npz", x=x, y=y)')
        x, y = (_read_npz if beginning.startswith(ZIP_MAGIC) else _read_csv)(stream, path, label)
    try:
        return Dataset(x, y)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _read_npz(stream: IO[bytes], path: str, label: str | int | None) -> tuple[np.ndarray, np.ndarray | None]:
    if label not in (LAST_COLUMN, None):
        raise ValueError(f"label names a column of a CSV file; in an NPZ file the labels are y ({path}), got {label!r}")
    arrays = arrays_in(stream, path, ("x", "y"))
    if "x" not in arrays:
        held = names_in(stream, quote="'")
        raise ValueError(f"{path} must hold an array named x, it holds {held}")
    return arrays["x"], arrays.get("y") if label is not None else None


def _read_csv(stream: IO[bytes], path: str, label: str | int | None) -> tuple[np.ndarray, np.ndarray | None]:
    with io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text)
        try:
            lines = (cells for cells in reader if cells)  # a blank line has no cells
            first = next(lines, None)
            if first is None:
                raise ValueError(f"{path} is empty")
            column = _label_column(path, label, first)
            is_header = isinstance(label, str) or not any(map(_is_number, first))

            rows, labels = [], []
            for cells in lines if is_header else chain([first], lines):
                place = f"{path}, line {reader.line_num}"
                if len(cells) != len(first):
                    raise ValueError(f"{place}: wanted {len(first)} columns as in the first line, got {len(cells)}")
                rows.append(_numbers(place, cells))
                if column is not None:
                    labels.append(_label(place, column, cells[column]))
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not a CSV file in UTF-8: {error}") from None
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}") from None
    if not rows:
        raise ValueError(f"{path} has no rows, only a header")
    table = np.stack(rows)  # (N, columns)
    if column is None:
        return table, None
    return np.delete(table, column, axis=1), np.array(labels)


def _label_column(path: str, label: str | int | None, first: list[str]) -> int | None:
    """The index of the label column, from 0; `first` is the first line, which has the names if `label` is one."""
    if label is None:
        return None
    if len(first) == 1:
        raise ValueError(f"{path} has one column, parted by commas, and so none for x beside the labels (label=None?)")
    if isinstance(label, str):
        names = [name.strip() for name in first]
        if names.count(label) != 1:
            raise ValueError(f"{path} must have one column named {label!r}, its first line is {_listed(names)}")
        return names.index(label)
    column = check_whole("label", label, minimum=-len(first))
    if column >= len(first):
        raise ValueError(f"label must be at most {len(first) - 1}, {path} has {len(first)} columns, got {label}")
    return column % len(first)


def _numbers(place: str, cells: list[str]) -> np.ndarray:
    """The cells of one line as float32; the error names the first one that is no number, or is NaN or infinite."""
    with suppress(ValueError), np.errstate(over="ignore"):  # too large for float32 is infinite, and refused below
        numbers = np.fromiter(map(float, cells), np.float32, len(cells))
        if np.isfinite(numbers).all() and "_" not in "".join(cells):
            return numbers
    for column, cell in enumerate(cells):
        if not _is_number(cell):
            hint = ' (names of columns? then say which has the labels: label="...")' if place.endswith("line 1") else ""
            raise ValueError(f"{place}, column {column + 1}: wanted a number, got {excerpt(repr(cell))}{hint}")
        if not abs(float(cell)) <= LARGEST:
            raise ValueError(f"{place}, column {column + 1}: wanted a finite float32 number, got {excerpt(repr(cell))}")
    raise AssertionError("a line was refused, but each of its cells is a finite number")


def _label(place: str, column: int, cell: str) -> int:
    number = float(cell)
    if not (number.is_integer() and 0 <= number < LABEL_LIMIT):
        found = excerpt(repr(cell))
        raise ValueError(f"{place}, column {column + 1}: a label must be a whole number from 0, got {found}")
    return int(number)


def _is_number(cell: str) -> bool:
    with suppress(ValueError):
        float(cell)
        return "_" not in cell  # Python reads 1_000 as a number, other programs do not
    return False


def _listed(names: Iterable[str]) -> str:
    """The first few names, for an error message."""
    names = list(names)
    return excerpt(", ".join(map(repr, names[:10]))) + (", ..." if len(names) > 10 else "")
