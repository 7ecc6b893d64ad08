# SPDX-License-Identifier: MIT
"""The result of the benchmark: one timing per library and case, as tables and as a figure."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...support.figures import ALONE, DISTILLED, INK, TEACHER, new_figure, save, titled
from ...support.text import aligned, plural

SGEMM = "products as sgemm"  # what the products of a step would take at the speed that BLAS has on large matrices
QUIET = 0.9             # of the cores; with less, threads wait for each other, in some libraries far longer


@dataclass(frozen=True)
class Timing:
    """One library's time for a case; of one step, where the case is to train."""

    group: str
    case: str
    threads: int
    library: str
    seconds: float
    ratio_to_minidistill: float | None  # None where minidistill's own kernels are missing


@dataclass(frozen=True)
class Bench:
    """What `run_bench` found."""

    machine: dict[str, Any]
    rows: list[Timing]

    def to_dict(self) -> dict[str, Any]:
        return {"machine": self.machine, "rows": [asdict(row) for row in self.rows]}

    def __str__(self) -> str:
        groups = dict.fromkeys((row.group, row.threads) for row in self.rows)
        return "\n\n".join([*(self._table(*group) for group in groups), self._about()])

    def _table(self, group: str, threads: int) -> str:
        rows = {(row.library, row.case): row for row in self.rows if (row.group, row.threads) == (group, threads)}
        libraries, cases = (list(dict.fromkeys(names)) for names in zip(*rows, strict=True))
        table = [["", *cases], *([name, *(_cell(rows.get((name, case))) for case in cases)] for name in libraries)]
        title = f"{group}, {plural(threads, 'thread')}: microseconds (and how many times minidistill's)"
        return f"{title}\n{aligned(table)}"

    def _about(self) -> str:
        about, lines = self.machine, [f"{self.machine['processor']}, {plural(self.machine['cores'], 'core')}"]
        for threads, peak in about["sgemm_gflops"].items():
            copied = about["copy_gb_per_s"][threads]
            lines.append(f"{plural(int(threads), 'thread')}: sgemm {peak:.0f} GFLOP/s, copying {copied:.1f} GB/s")
            if (had := about["cores_available"][threads]) < QUIET:
                lines.append(f"  do not trust these: other programs were at work, this one had {had:.0%} of its cores")
            for case, share in about["share_of_peak"].items():
                if threads in share:
                    lines.append(f"  of sgemm in turn with it, minidistill reaches {share[threads]:.0%} on {case}")
        lines += [f"left out: {library}, for {why}" for library, why in about["missing"].items()]
        return "\n".join([*lines, ", ".join(f"{name} {version}" for name, version in about["versions"].items())])

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Training steps, a panel for each number of threads, as a matplotlib figure; saved where a path is given."""
        rows = [row for row in self.rows if row.group == "training step" and row.library != SGEMM
                and row.ratio_to_minidistill is not None]  # fmt: skip
        cases, libraries = list(dict.fromkeys(r.case for r in rows)), list(dict.fromkeys(r.library for r in rows))
        counts = sorted({row.threads for row in rows})
        figure, axes = new_figure(columns=max(1, len(counts)), width=1.5 + 1.1 * len(cases), height=3.6)
        colours = dict(zip(libraries, (DISTILLED, TEACHER, ALONE, "#edae49", "#66a182", "#8d96a3", INK), strict=False))
        for ax, threads in zip(axes[0], counts, strict=True):
            for k, library in enumerate(libraries):
                shown = [row for row in rows if (row.threads, row.library) == (threads, library)]
                places = [cases.index(row.case) + 0.8 * (k + 0.5) / len(libraries) - 0.4 for row in shown]
                ratios = [row.ratio_to_minidistill for row in shown]
                ax.bar(places, ratios, 0.8 / len(libraries), color=colours.get(library), label=library)
            ax.axhline(1, color=INK, linewidth=0.8)
            ax.set_xticks(range(len(cases)), [case.replace(", ", "\n") for case in cases], fontsize=7)
            titled(ax, f"Training step, {plural(threads, 'thread')}", yscale="log", ylabel="times minidistill's")
        axes[0, -1].legend(frameon=False, fontsize=7)
        return save(figure, path)


def _cell(row: Timing | None) -> str:
    if row is None:
        return "-"
    time = 1e6 * row.seconds
    shown = f"{time:,.0f}" if time >= 100 else f"{time:.3g}"
    return shown if row.ratio_to_minidistill is None else f"{shown} ({row.ratio_to_minidistill:.2f}x)"


def with_ratios(rows: Sequence[Sequence[Any]]) -> list[Timing]:
    ours = {tuple(key): seconds for *key, library, seconds in rows if library == "minidistill"}
    result = []
    for group, case, threads, library, seconds in rows:
        own = ours.get((group, case, threads))
        result.append(Timing(group, case, threads, library, seconds, seconds / own if own else None))
    return result


def shares_of_peak(rows: Sequence[Timing]) -> dict[str, dict[str, float]]:
    """How much of sgemm's speed, measured in turn with it, minidistill's training reaches on large networks."""
    shares = dict[str, dict[str, float]]()
    for row in rows:
        if (row.group, row.library) == ("training step", SGEMM) and row.ratio_to_minidistill is not None:
            shares.setdefault(row.case, {})[str(row.threads)] = row.ratio_to_minidistill
    return shares
