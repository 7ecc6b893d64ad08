# SPDX-License-Identifier: MIT
"""Figures of softened probabilities, of confidence, and of a quality gate's evidence."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..support.checks import check_rows
from ..support.figures import ALONE, DISTILLED, INK, TEACHER, new_figure, save, titled


def softened(
    logits: np.ndarray,
    temperatures: Sequence[float] = (1, 2, 4, 8, 20),
    image: np.ndarray | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """One sample's probabilities at several temperatures: what the teacher finds likely besides its answer.

    logits (C,) or (1,C) of the sample; image, where it is one, (height, width).
    """
    logits = check_rows("logits", np.atleast_2d(logits))
    figure, axes = new_figure(columns=len(temperatures) + (image is not None), width=2.4, height=2.6)
    panels = list(axes[0])
    if image is not None:
        draw_image(panels.pop(0), image)
    for ax, T in zip(panels, temperatures, strict=True):
        draw_probabilities(ax, ops.softmax_forward(logits, T)[0][0], T)
    return save(figure, path)


def draw_image(ax: Any, image: np.ndarray, title: str = "the teacher sees") -> None:
    ax.imshow(image, cmap="gray_r")
    titled(ax, title, xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def draw_probabilities(ax: Any, probabilities: np.ndarray, T: float) -> None:
    classes = np.arange(len(probabilities))
    ax.bar(classes, probabilities, color=TEACHER)
    titled(ax, f"T = {T:g}", ylim=(0, 1), xticks=classes, yticks=(0, 0.5, 1))


def confidence(
    student: np.ndarray, teacher: np.ndarray, y: np.ndarray, path: str | os.PathLike[str] | None = None
) -> Any:
    """The probability that student and teacher give to the right class: a point a sample, of probabilities (N,C)."""
    figure, axes = new_figure(columns=1, width=4.2, height=4.2)
    rows = np.arange(len(y))
    axes[0, 0].plot((0, 1), (0, 1), color=INK, linewidth=0.6)
    axes[0, 0].plot(teacher[rows, y], student[rows, y], ".", color=DISTILLED, alpha=0.4, markeredgewidth=0)
    titled(axes[0, 0], "Trust in the right class", xlabel="teacher", ylabel="student", xlim=(0, 1.01), ylim=(0, 1.01))
    return save(figure, path)


def gate_figure(
    curves: dict[str, np.ndarray], level: float, drift: int, inputs: int, path: str | os.PathLike[str] | None = None
) -> Any:
    """A quality gate's evidence (steps,), in logarithms, by name over a stream; an alarm's level, and the drift."""
    figure, axes = new_figure(columns=1, width=7.0, height=3.6)
    ax = axes[0, 0]
    for name, curve in curves.items():
        at = inputs * np.arange(1, len(curve) + 1) / len(curve)
        ax.plot(at, curve, linewidth=1.2, label=name)
    ax.axhline(level, color=ALONE, linestyle="--", linewidth=1)
    ax.text(0, level, "alarm", color=ALONE, va="bottom")
    ax.axvline(drift, color=TEACHER, linewidth=0.8)
    titled(ax, "Evidence against the promise", xlabel="inputs, the drift begins at the line", ylabel="logarithm",
            ylim=(0, 2 * level))  # fmt: skip
    ax.legend(frameon=False, fontsize=8)
    return save(figure, path)
