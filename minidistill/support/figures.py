# SPDX-License-Identifier: MIT
"""The style that all figures share. matplotlib is imported with the first figure."""

import os
from typing import Any

import numpy as np

from .files import replacing

INK = "#1f2a44"
TEACHER, ALONE, DISTILLED = "#7a7f8c", "#d1495b", "#00798c"  # the same colours in every picture


def titled(ax: Any, title: str, **settings: Any) -> None:
    ax.set_title(title, color=INK, fontsize=10)
    ax.set(**settings)


def new_figure(columns: int, rows: int = 1, width: float = 4.2, height: float = 3.4) -> tuple[Any, np.ndarray]:
    """A figure without a window behind it, and its axes (rows, columns)."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install 'minidistill[plot]'") from None
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save(figure: Any, path: str | os.PathLike[str] | None) -> Any:
    """Writes the figure to `path` (.png, .svg or .pdf), whole or not at all, and hands it back."""
    if path is not None:
        form = os.path.splitext(path)[1].lstrip(".").lower() or "png"
        with replacing(path) as stream:
            figure.savefig(stream, format=form, dpi=144)
    return figure
