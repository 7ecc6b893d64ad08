# SPDX-License-Identifier: MIT
"""Writes the tables of the README from the results files, between their markers: no figure there is typed by hand."""

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


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {"demo": demo_table}


def with_tables(text: str) -> str:
    """The README's text with each table made anew from its results file."""
    for name, table in TABLES.items():
        found = json.loads((RESULTS / f"{name}.json").read_text())
        between = re.compile(rf"(<!-- {name}: .*? -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        marks = between.findall(text)
        if len(marks) != 1:
            raise ValueError(f"README.md must have the markers of {name} once, it has them {len(marks)} times")
        beginning, end = marks[0]
        before, _, _, after = between.split(text)
        text = f"{before}{beginning}\n{table(found)}\n\n{end}{after}"
    return text


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(with_tables(readme.read_text()))
