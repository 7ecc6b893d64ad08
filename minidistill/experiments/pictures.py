# SPDX-License-Identifier: MIT
"""Pictures of a training run and of what a teacher believes. matplotlib is imported when a picture is asked for."""

import os
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import ops
from ..support.checks import check_rows
from ..support.figures import ALONE, DISTILLED, INK, TEACHER, new_figure, save, titled
from ..support.text import sample_std
from ..training.evaluation import Report

if TYPE_CHECKING:
    from .leaderboard import Board
    from .sweep import Summary, Sweep


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


def panels(parts: Sequence[Any], path: str | os.PathLike[str] | None = None) -> Any:
    """The panels of an experiment (reproduce/claims.py), two or three a row: each curve's mean, and a point a seed."""
    columns = 2 if len(parts) in (2, 4) else min(len(parts), 3)
    width = 6.2 if len(parts) == 1 else 4.4
    figure, axes = new_figure(columns, rows=-(-len(parts) // columns), width=width, height=3.6)
    for ax in axes.flat[len(parts) :]:
        ax.remove()
    for ax, panel in zip(axes.flat, parts, strict=False):
        _draw_panel(ax, panel, characters=int(11 * width))
    return save(figure, path)


def _draw_panel(ax: Any, panel: Any, characters: int) -> None:
    """Draws a panel under which so many characters fit beside one another."""
    names = panel.curves[0].x if isinstance(panel.curves[0].x[0], str) else None
    for curve in panel.curves:
        x = np.arange(len(names)) if names else np.array(curve.x)
        means = [np.mean(values) for values in curve.values]
        style = {"marker": "_", "markersize": 24, "linewidth": 0} if names else {"marker": "o" if len(x) == 1 else ""}
        (line,) = ax.plot(x, means, markeredgewidth=2, label=curve.label, **style)
        for place, values in zip(x, curve.values, strict=True):
            ax.plot(np.full(len(values), place), values, ".", color=line.get_color(), alpha=0.6)
    titled(ax, panel.title, xlabel=panel.xlabel, ylabel=panel.ylabel)
    if names:
        ax.set(xticks=range(len(names)), xlim=(-0.6, len(names) - 0.4))
        wrapped = [textwrap.fill(name, characters // len(names), break_long_words=False) for name in names]
        ax.set_xticklabels(wrapped, fontsize=8)
    elif panel.logarithmic:
        ticks = sorted({place for curve in panel.curves for place in curve.x})
        ax.set_xscale("log")
        ax.set_xticks(ticks, [f"{place:,g}" for place in ticks], fontsize=7)
        ax.minorticks_off()
    if len(panel.curves) > 1:
        ax.legend(frameon=False, fontsize=8)


def demo_figure(report: Report, example: dict[str, np.ndarray], path: str | os.PathLike[str] | None = None) -> Any:
    """The demo's proof: a doubtful image and its softened probabilities; each seed's accuracy; what it costs.

    example: image (height, width); probabilities at T=1, `hard` (C,), and at the chosen `temperature`, `soft` (C,).
    """
    figure, axes = new_figure(columns=3, rows=2, width=4.0, height=3.1)
    draw_image(axes[0, 0], example["image"], "A doubtful digit")
    draw_probabilities(axes[0, 1], example["hard"], 1)
    draw_probabilities(axes[0, 2], example["soft"], float(example["temperature"]))
    axes[0, 1].set_xlabel("what the teacher answers")
    axes[0, 2].set_xlabel("what the student learns from")
    _draw_seeds(axes[1, 0], report)
    _draw_costs(axes[1, 1], report)
    _draw_agreement(axes[1, 2], report)
    return save(figure, path)


def _draw_seeds(ax: Any, report: Report) -> None:
    alone, distilled = report["alone"].accuracies, report["distilled"].accuracies
    for before, after in zip(alone, distilled, strict=True):
        ax.plot((0, 1), (100 * before, 100 * after), color=TEACHER, linewidth=0.8, zorder=1)
    ax.scatter(np.zeros(len(alone)), 100 * np.array(alone), color=ALONE, zorder=2)
    ax.scatter(np.ones(len(distilled)), 100 * np.array(distilled), color=DISTILLED, zorder=2)
    ax.axhline(100 * report.teacher.accuracy_mean, color=TEACHER, linestyle="--", linewidth=1)
    ax.text(1.4, 100 * report.teacher.accuracy_mean, "teacher", color=TEACHER, ha="right", va="bottom")
    titled(ax, "Accuracy on test images, % (a line a seed)", xlim=(-0.4, 1.4), xticks=(0, 1))
    ax.set_xticklabels(("student alone", "distilled"))


def _draw_costs(ax: Any, report: Report) -> None:
    ratios = report["distilled"].ratios_to(report.teacher)
    shares = [100 * (ratios[name] or 0) for name in ("parameters", "multiply_adds", "latency_us")]
    bars = ax.barh(("parameters", "multiply-adds", "latency"), shares, color=DISTILLED)
    ax.bar_label(bars, labels=[f"{share:.2g} %" for share in shares], padding=3)
    titled(ax, "What the student costs (teacher 100 %)", xlim=(0, 100))
    ax.invert_yaxis()


def _draw_agreement(ax: Any, report: Report) -> None:
    names = ("alone", "distilled")
    bars = ax.bar(names, [100 * report[name].agreement for name in names], color=(ALONE, DISTILLED), width=0.5)
    ax.bar_label(bars, fmt="%.1f", padding=2)
    titled(ax, "Agreement with the teacher, %", ylim=(0, 105))


def sweep_figure(sweep: "Sweep", path: str | os.PathLike[str] | None = None) -> Any:
    """Mean validation accuracy over temperature and alpha, a panel a width, all in one scale; the best one framed.

    A cell without a number is a setting with which every student failed; an asterisk says that some did.
    """
    summaries = sweep.summaries
    widths, temperatures, alphas = (
        list(dict.fromkeys(getattr(each, name) for each in summaries)) for name in ("width", "temperature", "alpha")
    )
    known = [100 * each.accuracy_mean for each in summaries if each.accuracy_mean is not None] or [0.0]
    best = None if all(each.failed for each in summaries) else sweep.best()
    figure, axes = new_figure(len(widths), width=1.4 + 0.7 * len(temperatures), height=1.4 + 0.6 * len(alphas))
    for ax, width in zip(axes[0], widths, strict=True):
        grid = np.full((len(alphas), len(temperatures)), np.nan)
        for each in summaries:
            if each.width == width:
                place = alphas.index(each.alpha), temperatures.index(each.temperature)
                grid[place] = _draw_cell(ax, each, place, min(known) + 0.6 * (max(known) - min(known)), each == best)
        image = ax.imshow(grid, vmin=min(known), vmax=max(known), cmap="viridis", origin="lower", aspect="auto")
        ax.set_xticks(range(len(temperatures)), [f"{T:g}" for T in temperatures])
        ax.set_yticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
        ax.set_facecolor("#e4e6eb")
        titled(ax, f"Width {width}", xlabel="temperature", ylabel="alpha")
    figure.colorbar(image, ax=list(axes[0]), label="validation accuracy, %")
    return save(figure, path)


def _draw_cell(ax: Any, summary: "Summary", place: tuple[int, int], bright: float, framed: bool) -> float:
    """Writes a setting's figure into its cell, in dark ink where that is bright, and returns it, in percent."""
    row, column = place
    if framed:
        x, y = np.array([[-1, 1, 1, -1, -1], [-1, -1, 1, 1, -1]]) * 0.46    # around the cell's centre
        ax.plot(column + x, row + y, color=ALONE, linewidth=2.5)
    if summary.accuracy_mean is None:
        return np.nan
    value = 100 * summary.accuracy_mean
    text = f"{value:.1f}" + "*" * (summary.failed > 0)
    ax.text(column, row, text, ha="center", va="center", fontsize=8, color=INK if value >= bright else "white")
    return value


def leaderboard_figure(boards: Sequence["Board"], path: str | os.PathLike[str] | None = None) -> Any:
    """Each method's seeds as dots and their mean as a circle, the best on top, a panel a data set.

    The line is the mean of soft targets, its band their standard deviation between seeds; filled circles are means
    that differ from it by more than chance. What lies far below all others is a number at the left.
    """
    figure, axes = new_figure(len(boards), width=6.4, height=1.2 + 0.22 * max(len(board.rows) for board in boards))
    for ax, board in zip(axes[0], boards, strict=True):
        _draw_board(ax, board)
    return save(figure, path)


def _draw_board(ax: Any, board: "Board") -> None:
    different, reference = board.different, board.reference
    spread = sample_std(reference.accuracies)
    ax.axvspan(reference.mean - spread, reference.mean + spread, color=TEACHER, alpha=0.2, linewidth=0)
    ax.axvline(reference.mean, color=TEACHER, linewidth=1)
    for place, row in enumerate(board.rows):
        colour = DISTILLED if row.mean >= reference.mean else ALONE
        if row.mean < board.floor:
            edge = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 8, "color": colour}
            ax.annotate(f"\N{LEFTWARDS ARROW} {row.mean:.1f}", (0.01, place), **edge)
            continue
        ax.plot(row.accuracies, np.full(len(row.accuracies), place), ".", color=colour, alpha=0.5, markeredgewidth=0)
        face = colour if row.method in different else "white"
        ax.plot(row.mean, place, "o", markersize=6, color=colour, markerfacecolor=face)
    ax.set_yticks(range(len(board.rows)), [row.method for row in board.rows], fontsize=8)
    ax.invert_yaxis()
    titled(ax, f"{board.data}: {board.settings['images']['seen']:,} images seen", xlabel="accuracy on test images, %")


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
