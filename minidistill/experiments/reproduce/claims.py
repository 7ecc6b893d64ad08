# SPDX-License-Identifier: MIT
"""A paper's claims, what was measured of them here, and whether they hold."""

import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...support.figures import new_figure, save, titled
from ...support.text import sample_std


@dataclass(frozen=True)
class Claim:
    """One sentence that can be wrong, the paper's figure where it gives one, and the figures measured here.

    Results files and pages refer to a claim by its `id`, so that the sentence can be reworded.
    """

    id: str
    claim: str
    values: list[float]  # one a seed
    holds: bool
    paper: float | None = None
    decimals: int = 0  # of the figures, when they are printed

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def std(self) -> float:
        """Between the seeds; 0 where there is one."""
        return sample_std(self.values)

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("id", "claim", "paper", "mean", "std", "values", "holds")}

    def __str__(self) -> str:
        paper = "-" if self.paper is None else f"{self.paper:.{self.decimals}f}"
        spread = f" ± {self.std:.{max(self.decimals, 1)}f}" if len(self.values) > 1 else ""
        here = f"{self.mean:.{self.decimals}f}{spread}"
        return f"{paper:>8}  {here:>14}  {'yes' if self.holds else 'NO':>5}  {self.claim}"


def at_most(
    id: str, bound: float, claim: str, values: list[float], decimals: int = 0, *, paper: float | None = None
) -> Claim:
    """That the mean over the seeds does not pass `bound`."""
    return Claim(id, f"{claim}: at most {bound:.{decimals}f}", values, bool(np.mean(values) <= bound), paper, decimals)


def at_least(
    id: str, bound: float, claim: str, values: list[float], decimals: int = 0, *, paper: float | None = None
) -> Claim:
    """That the mean over the seeds reaches `bound`."""
    return Claim(id, f"{claim}: at least {bound:.{decimals}f}", values, bool(np.mean(values) >= bound), paper, decimals)


def above_zero(id: str, claim: str, values: list[float], decimals: int = 0, *, paper: float | None = None) -> Claim:
    """That every seed's figure is above 0: no mean hides one that is not."""
    return Claim(id, f"{claim}: above 0 with every seed", values, min(values) > 0, paper, decimals)


def differences(these: list[float], those: list[float]) -> list[float]:
    """Seed by seed: students of one seed share their first weights and the order of their images."""
    return [a - b for a, b in zip(these, those, strict=True)]


@dataclass(frozen=True)
class Curve:
    """Figures over an axis: of numbers, or of names."""

    label: str
    x: list[Any]
    values: list[list[float]]  # for each x, one a seed


ACCURACY = "accuracy on test images, %"


@dataclass(frozen=True)
class Panel:
    """One part of a picture."""

    title: str
    xlabel: str
    ylabel: str
    curves: list[Curve]
    logarithmic: bool = False  # its x axis


def bars(title: str, ylabel: str, values: dict[str, list[float]]) -> Panel:
    """A panel of figures by name, one per seed."""
    return Panel(title, "", ylabel, [Curve("", list(values), list(values.values()))])


Findings = tuple[list[Claim], list[Panel], dict[str, Any]]  # what an experiment returns, settings at the end


@dataclass(frozen=True)
class Reproduction:
    """An experiment of the literature, done again."""

    name: str
    source: str
    command: str  # that does it again
    claims: list[Claim]
    panels: list[Panel]
    settings: dict[str, Any]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "source": self.source,
            "settings": {"command": self.command, **self.settings},
            "seconds": self.seconds,
            "claims": [claim.to_dict() for claim in self.claims],
        }

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """The curves as a matplotlib figure, saved where a path is given."""
        return panels_figure(self.panels, path)

    def __str__(self) -> str:
        held = sum(claim.holds for claim in self.claims)
        settings = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.settings.items())
        lines = [
            f"{self.name}: {self.source}", "",
            f"{'paper':>8}  {'here':>14}  {'holds':>5}  claim", *map(str, self.claims), "",
            f"{held} of {len(self.claims)} claims hold here, in {self.seconds:.0f} s.", f"Settings: {settings}",
        ]  # fmt: skip
        return "\n".join(lines)


def panels_figure(parts: Sequence[Panel], path: str | os.PathLike[str] | None = None) -> Any:
    """The panels of an experiment, two or three a row: each curve's mean, and a point a seed."""
    columns = 2 if len(parts) in (2, 4) else min(len(parts), 3)
    width = 6.2 if len(parts) == 1 else 4.4
    figure, axes = new_figure(columns, rows=-(-len(parts) // columns), width=width, height=3.6)
    for ax in axes.flat[len(parts) :]:
        ax.remove()
    for ax, panel in zip(axes.flat, parts, strict=False):
        _draw_panel(ax, panel, characters=int(11 * width))
    return save(figure, path)


def _draw_panel(ax: Any, panel: Panel, characters: int) -> None:
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
