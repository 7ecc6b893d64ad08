# SPDX-License-Identifier: MIT
"""The result of a sweep: a summary per hyperparameter setting over its seeds, the best of them, table and figure."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...support.figures import ALONE, INK, new_figure, save, titled
from ...support.text import aligned, plural, sample_std
from .point import Point


@dataclass(frozen=True)
class Summary:
    """A setting's students of all seeds, on the validation data; fractions, None where no student has the figure."""

    width: int
    temperature: float
    alpha: float
    accuracy_mean: float | None
    accuracy_std: float | None  # between seeds, of the sample; 0 where there is one
    accuracies: list[float]     # a seed each, without those that failed
    agreement: float | None
    seconds: float              # mean
    failed: int                 # seeds

    @classmethod
    def of(cls, points: Sequence[Point]) -> "Summary":
        accuracies = [point.accuracy for point in points if point.accuracy is not None]
        agreements = [point.agreement for point in points if point.agreement is not None]
        return cls(
            *points[0].setting[:-1],
            accuracy_mean=float(np.mean(accuracies)) if accuracies else None,
            accuracy_std=sample_std(accuracies) if accuracies else None,
            accuracies=accuracies,
            agreement=float(np.mean(agreements)) if agreements else None,
            seconds=float(np.mean([point.seconds for point in points])),
            failed=len(points) - len(accuracies),
        )

    def cells(self) -> list[str]:
        """Its line in the table."""
        return [
            str(self.width), f"{self.temperature:g}", f"{self.alpha:g}",
            "-" if self.accuracy_mean is None else f"{self.accuracy_mean:.2%}",
            f"{100 * (self.accuracy_std or 0):.2f}" if len(self.accuracies) > 1 else "-",
            "-" if self.agreement is None else f"{self.agreement:.1%}",
            f"{self.seconds:.2f}", str(self.failed or ""),
        ]  # fmt: skip


@dataclass(frozen=True)
class Sweep:
    """What a sweep found; print it, plot it, or take `best()` or `to_dict()`."""

    points: list[Point]       # by width, temperature, alpha, seed
    settings: dict[str, Any]  # those that are not in the grid, with fingerprints of the data and of the teacher

    @property
    def summaries(self) -> list[Summary]:
        """A Summary for each width, temperature and alpha, in this order."""
        groups: dict[tuple[Any, ...], list[Point]] = {}
        for point in self.points:
            groups.setdefault(point.setting[:-1], []).append(point)
        return [Summary.of(points) for points in groups.values()]

    def best(self) -> Summary:
        """The setting of the highest mean accuracy on the validation data; the narrowest, where several have it.

        Only settings that no seed failed with are looked at; ValueError where there is none.
        """
        best = self._best()
        if best is None:
            raise ValueError("there is no best setting: with each of them some student failed")
        return best

    def _best(self) -> Summary | None:
        whole = [summary for summary in self.summaries if not summary.failed]
        return max(whole, key=lambda summary: (summary.accuracy_mean, -summary.width), default=None)

    def to_dict(self) -> dict[str, Any]:
        """Settings, best setting (None where there is none), summaries and points; accuracies are fractions."""
        best = self._best()
        return {
            "settings": self.settings,
            "best": best and asdict(best),
            "summaries": [asdict(summary) for summary in self.summaries],
            "points": [asdict(point) for point in self.points],
        }

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Mean accuracies, a panel a width, as a matplotlib figure, saved where a path is given."""
        return sweep_figure(self, path)

    def __str__(self) -> str:
        head = ["width", "T", "alpha", "accuracy", "spread", "agreement", "seconds", "failed"]
        lines = [aligned([head, *(summary.cells() for summary in self.summaries)]), ""]
        if best := self._best():
            lines.append(
                f"Best on the validation data, mean of {plural(len(best.accuracies), 'seed')}: width {best.width}, "
                f"T {best.temperature:g}, alpha {best.alpha:g}. Measure it on test data, once."
            )
        failed = [point for point in self.points if point.reason is not None]
        if failed:
            first = failed[0]
            lines.append(
                f"{len(failed)} of {len(self.points)} students failed; the first, of width {first.width}, "
                f"T {first.temperature:g}, alpha {first.alpha:g}, seed {first.seed}: {first.reason}"
            )
        return "\n".join(lines)


def sweep_figure(sweep: Sweep, path: str | os.PathLike[str] | None = None) -> Any:
    """Mean validation accuracy over temperature and alpha, a panel a width, all in one scale; the best one framed.

    A cell without a number is a setting with which every student failed; an asterisk says that some did.
    """
    summaries = sweep.summaries
    widths, temperatures, alphas = (
        list(dict.fromkeys(getattr(each, name) for each in summaries)) for name in ("width", "temperature", "alpha")
    )
    known = [100 * each.accuracy_mean for each in summaries if each.accuracy_mean is not None] or [0.0]
    best = sweep._best()
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


def _draw_cell(ax: Any, summary: Summary, place: tuple[int, int], bright: float, framed: bool) -> float:
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
