# SPDX-License-Identifier: MIT
"""What a leaderboard found: its rows, and which of them differ from soft targets by more than chance.

Students of one seed share images, order and first weights, so methods are compared seed by seed: of the differences
mean and spread are shown, and a t-test says how likely so large a mean is where there is none. Of thirty methods that
are all alike one or two pass such a test at 5% by luck; so the tests are corrected for their number (Holm 1979).
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...support.figures import ALONE as ALONE_COLOR, DISTILLED, TEACHER, new_figure, save, titled
from ...support.text import aligned, plural, sample_std
from .methods import ALONE, REFERENCE, Setting

LEVEL = 0.05  # of all comparisons together
ROUNDING = 1e-9  # in points: a spread below it is none


@dataclass(frozen=True)
class MethodRow:
    """A method's students; accuracies and agreements in percent of the test images, differences in points."""

    method: str
    accuracies: list[float]   # one a seed
    differences: list[float]  # to soft targets, one a seed
    agreements: list[float]   # with the teacher, one a seed
    seconds: float            # of one core that a run took; mean
    setting: Setting          # chosen on the validation images
    validation: float         # its accuracy there, in percent
    note: str

    @property
    def mean(self) -> float:
        return float(np.mean(self.accuracies))

    @property
    def p_value(self) -> float:
        return paired_p(self.differences)

    def to_dict(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "mean": self.mean,
            "std": sample_std(self.accuracies),
            "paired_difference": float(np.mean(self.differences)),
            "paired_std": sample_std(self.differences),
            "p_value": self.p_value,
            "agreement": float(np.mean(self.agreements)),
            "seconds": self.seconds,
            "values": self.accuracies,
            "setting": self.setting,
            "validation": self.validation,
            "note": self.note,
        }


@dataclass(frozen=True)
class Board:
    """The leaderboard of one data set; print it, or take `to_dict()`."""

    data: str
    rows: list[MethodRow]
    settings: dict[str, Any]
    seconds: float

    @classmethod
    def of(cls, data: str, rows: Sequence[MethodRow], settings: dict[str, Any], seconds: float) -> "Board":
        """With the rows in order: the most accurate first."""
        return cls(data, sorted(rows, key=lambda row: -row.mean), settings, seconds)

    @property
    def reference(self) -> MethodRow:
        """The row of soft targets."""
        return next(row for row in self.rows if row.method == REFERENCE)

    @property
    def floor(self) -> float:
        """As far below the student alone as soft targets are above: a picture that reaches lower shows nothing else."""
        alone = min((row.mean for row in self.rows if row.method == ALONE), default=-math.inf)
        return min(alone, self.reference.mean) - abs(self.reference.mean - alone)

    @property
    def different(self) -> set[str]:
        """Methods whose accuracy differs from that of soft targets, at 5% for all comparisons together."""
        others = [row for row in self.rows if row.method != REFERENCE]
        rejections = holm([row.p_value for row in others])
        return {row.method for row, rejected in zip(others, rejections, strict=True) if rejected}

    def to_dict(self) -> dict[str, Any]:
        different = self.different
        rows = [{**row.to_dict(), "significant": row.method in different} for row in self.rows]
        return {"data": self.data, "settings": self.settings, "rows": rows, "seconds": self.seconds}

    def __str__(self) -> str:
        different = self.different
        table = [["method", "accuracy", "std", "to soft targets", "std", "", "agreement", "seconds", "note"]]
        notes = list(dict.fromkeys(row.note for row in self.rows if row.note))
        for row in self.rows:
            table.append([
                row.method, f"{row.mean:.2f}%", f"{sample_std(row.accuracies):.2f}", f"{np.mean(row.differences):+.2f}",
                f"{sample_std(row.differences):.2f}", "*" if row.method in different else "",
                f"{np.mean(row.agreements):.1f}%", f"{row.seconds:.2f}",
                f"[{notes.index(row.note) + 1}]" if row.note else "",
            ])  # fmt: skip
        seeds = plural(len(self.rows[0].accuracies), "seed")
        return "\n".join([
            f"{self.data}: the student reads test images, mean of {seeds}", "",
            aligned(table), "",
            f"* differs from {REFERENCE}, paired by seed, at {LEVEL:.0%} for all {len(self.rows) - 1} comparisons: "
            f"{len(different)} do",
            *(f"[{number}] {note}" for number, note in enumerate(notes, 1)),
            f"In {self.seconds:.0f} s. Settings: "
            + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.settings.items()),
        ])  # fmt: skip


def paired_p(differences: Sequence[float]) -> float:
    """Student's t-test, two-sided: how often chance alone gives a mean as far from 0.

    It is 1 where all values are alike: they are shares of few images, and no spread is a rounded one.

    The t-distribution of a whole number of degrees of freedom has a closed form (Abramowitz and Stegun 1964, 26.7.3
    and 26.7.4): with theta = atan(t / sqrt(n)), a sum of even or odd powers of cos(theta).
    """
    n = len(differences) - 1  # degrees of freedom
    mean, spread = float(np.mean(differences)), sample_std(differences)
    if spread < ROUNDING or mean == 0:
        return 1.0
    theta = math.atan2(abs(mean) * math.sqrt((n + 1) / n), spread)
    total, term = 0.0, math.cos(theta) ** (n % 2)
    for power in range(n % 2, n - 1, 2):
        total += term
        term *= math.cos(theta) ** 2 * (power + 1) / (power + 2)
    within = math.sin(theta) * total
    if n % 2 == 1:
        within = 2 / math.pi * (theta + within)
    return max(0.0, 1 - within)


def holm(p_values: Sequence[float], level: float = LEVEL) -> list[bool]:
    """Which of several tests reject, so that at most with probability `level` any does wrongly (Holm 1979)."""
    rejected = [False] * len(p_values)
    for place, k in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[k] > level / (len(p_values) - place):
            break
        rejected[k] = True
    return rejected


def leaderboard_figure(boards: Sequence[Board], path: str | os.PathLike[str] | None = None) -> Any:
    """Each method's seeds as dots and their mean as a circle, the best on top, a panel a data set.

    The line is the mean of soft targets, its band their standard deviation between seeds; filled circles are means
    that differ from it by more than chance. What lies far below all others is a number at the left.
    """
    figure, axes = new_figure(len(boards), width=6.4, height=1.2 + 0.22 * max(len(board.rows) for board in boards))
    for ax, board in zip(axes[0], boards, strict=True):
        _draw_board(ax, board)
    return save(figure, path)


def _draw_board(ax: Any, board: Board) -> None:
    different, reference = board.different, board.reference
    spread = sample_std(reference.accuracies)
    ax.axvspan(reference.mean - spread, reference.mean + spread, color=TEACHER, alpha=0.2, linewidth=0)
    ax.axvline(reference.mean, color=TEACHER, linewidth=1)
    for place, row in enumerate(board.rows):
        colour = DISTILLED if row.mean >= reference.mean else ALONE_COLOR
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
