# SPDX-License-Identifier: MIT
"""Writes the tables of README and docs from the results files, between their markers: no figure is typed by hand."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results"


def demo_table(found: dict[str, Any]) -> str:
    """The demo's three columns and its controls, as Markdown."""
    names = ("teacher", "alone", "distilled")
    rows: dict[str, Callable[[dict[str, Any]], str]] = {
        "accuracy on test images": lambda row: f"{row['accuracy_mean']:.1%}" + _spread(row),
        "share of the teacher's accuracy": lambda row: f"{row['retention']:.1%}",
        "agreement with the teacher": lambda row: f"{row['agreement']:.1%}",
        "parameters": lambda row: f"{row['parameters']:,}",
        "multiply-adds an image": lambda row: f"{row['multiply_adds']:,}",
    }
    lines = ["| | teacher | student alone | student distilled |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {title} | {' | '.join(show(found[name]) for name in names)} |" for title, show in rows.items()]
    controls = found["controls"]
    seeds = len(found["settings"]["seeds"])
    return "\n".join(lines) + (
        f"\n\nMeans of {seeds} seeds, ± standard deviation; distilling gained {found['gain_mean']:.1f} points "
        f"on the mean and {found['gain_min']:.1f} with the seed that gained least.\nControls: label smoothing "
        f"{controls['label_smoothing']['accuracy_mean']:.1%}, shuffled teacher "
        f"{controls['shuffled_teacher']['accuracy_mean']:.1%}."
    )


def _spread(row: dict[str, Any]) -> str:
    return f" ± {100 * row['accuracy_std']:.1f}" if len(row["accuracies"]) > 1 else ""


def bench_table(found: dict[str, Any]) -> str:
    """A table of training steps for each number of threads, and the machine, as Markdown."""
    steps = [row for row in found["rows"] if row["group"] == "training step"]
    tables = [_steps_table(steps, threads) for threads in sorted({row["threads"] for row in steps})]
    machine = found["machine"]
    shares = [
        f"{share:.0%} on {case} with {_threads(int(threads))}"
        for case, by_threads in machine["share_of_peak"].items()
        for threads, share in by_threads.items()
    ]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    reached = f" Of the speed of BLAS on large matrices, minidistill reaches {', '.join(shares)}." if shares else ""
    missing = f" Not installed: {', '.join(machine['missing'])}." if machine["missing"] else ""
    return "\n\n".join([*tables, f"{machine['processor']}, {machine['cores']} cores; {versions}.{reached}{missing}"])


def _steps_table(steps: list[dict[str, Any]], threads: int) -> str:
    rows = {(row["case"], row["library"]): row for row in steps if row["threads"] == threads}
    cases, libraries = (list(dict.fromkeys(names)) for names in zip(*rows, strict=True))
    lines = [f"| µs a step, {_threads(threads)} | {' | '.join(libraries)} |", f"| --- |{' ---: |' * len(libraries)}"]
    lines += [f"| {case} | {' | '.join(_time(rows.get((case, name))) for name in libraries)} |" for case in cases]
    return "\n".join(lines)


def _time(row: dict[str, Any] | None) -> str:
    """Microseconds and, for the others, how many times minidistill's."""
    if row is None:
        return "-"
    time, ratio = 1e6 * row["seconds"], row["ratio_to_minidistill"]
    shown = f"{time:,.0f}" if time >= 100 else f"{time:.3g}"
    return shown if ratio is None or row["library"] == "minidistill" else f"{shown} ({ratio:.1f}x)"


def _threads(count: int) -> str:
    return f"{count} thread{'s' * (count != 1)}"


def claims_table(found: dict[str, Any]) -> str:
    """What a paper says beside what came out here, as Markdown, and how long that took."""
    lines = ["| claim | paper | here | holds |", "| --- | ---: | ---: | :---: |"]
    for claim in found["claims"]:
        spread = f" ± {_figure(claim['std'])}" if len(claim["values"]) > 1 else ""
        paper = "-" if claim["paper"] is None else _figure(claim["paper"])
        here, holds = f"{_figure(claim['mean'])}{spread}", "yes" if claim["holds"] else "**no**"
        lines.append(f"| {claim['claim']} | {paper} | {here} | {holds} |")
    held = sum(claim["holds"] for claim in found["claims"])
    return "\n".join(lines) + (
        f"\n\n{held} of {len(found['claims'])} claims hold, by `{found['settings']['command']}` "
        f"in {found['seconds'] / 60:.0f} minutes; {found['source']}."
    )


def _figure(value: float) -> str:
    """Three digits, and no more behind the point than one needs."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


EXPERIMENTS = ("hinton-mnist", "few-labels", "capacity", "fidelity", "assistant", "born-again", "mutual")
PAGES: dict[str, dict[str, Callable[[dict[str, Any]], str]]] = {
    "README.md": {"demo": demo_table, "bench": bench_table, "hinton-mnist": claims_table},
    "docs/results.md": dict.fromkeys(EXPERIMENTS, claims_table),
}


def with_tables(page: str) -> str:
    """A page's text with each of its tables made anew from its results file."""
    text = (ROOT / page).read_text()
    for name, table in PAGES[page].items():
        if not (RESULTS / f"{name}.json").exists():
            continue  # not measured yet
        found = json.loads((RESULTS / f"{name}.json").read_text())
        between = re.compile(rf"(<!-- {name}: .*? -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        marks = between.findall(text)
        if len(marks) != 1:
            raise ValueError(f"{page} must have the markers of {name} once, it has them {len(marks)} times")
        beginning, end = marks[0]
        before, _, _, after = between.split(text)
        text = f"{before}{beginning}\n{table(found)}\n\n{end}{after}"
    return text


if __name__ == "__main__":
    for page in PAGES:
        (ROOT / page).write_text(with_tables(page))
