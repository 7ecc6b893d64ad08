# SPDX-License-Identifier: MIT
"""Writes the tables of README and docs from the results files, between their markers: no figure is typed by hand."""

import json
import re
import statistics
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


def zoo_table(found: dict[str, Any]) -> str:
    """What each exhibit of the bug zoo does to gradient and accuracy, and what the checks see, as Markdown."""
    temperatures = ", ".join(f"{row['temperature']:g}" for row in found["exhibits"][0]["gradient"])
    lines = [
        f"| | mistake | gradient at T = {temperatures} | accuracy, wrong | right |",
        "| ---: | --- | --- | ---: | ---: |",
    ]
    for exhibit in found["exhibits"]:
        gradient = ", ".join(f"{row['ratio']:.2g} ({row['cosine']:.2f})" for row in exhibit["gradient"] or []) or "-"
        accuracies = f"{_accuracies(exhibit['wrong'])} | {_accuracies(exhibit['right'])}"
        lines.append(f"| {exhibit['number']} | {exhibit['mistake']} | {gradient} | {accuracies} |")
    settings = found["settings"]
    lines += [
        "",
        f"Means of {len(settings['seeds'])} seeds, ± standard deviation; {settings['images_seen']} images, "
        f"{settings['epochs']} epochs, T = {settings['temperature']:g}, alpha = {settings['alpha']:g}. The teacher has "
        f"{found['teacher']:.1%}, a student with labels alone {_accuracies(found['alone'])}.",
        "",
        "| | check | breaks | what was seen |",
        "| ---: | --- | --- | --- |",
    ]
    for exhibit in found["exhibits"]:
        broken = ", ".join(exhibit["broken"])
        lines.append(f"| {exhibit['number']} | `{exhibit['check']}` | {broken} | {exhibit['seen']} |")
    return "\n".join(lines)


def _accuracies(values: list[float | None]) -> str:
    """Mean and spread in percent; runs that did not stay finite are counted apart."""
    finite = [100 * value for value in values if value is not None]
    lost = f"{len(values) - len(finite)} of {len(values)} diverged" if len(finite) < len(values) else ""
    shown = f"{statistics.mean(finite):.1f}% ± {statistics.stdev(finite):.1f}" if len(finite) > 1 else ""
    return "; ".join(part for part in (shown, lost) if part)


def board_table(found: dict[str, Any]) -> str:
    """A leaderboard, the best first, as Markdown, and under what conditions it came about."""
    lines = ["| | method | accuracy, % | to soft targets | agreement, % | s a run | |"]
    lines.append("| ---: | --- | ---: | ---: | ---: | ---: | --- |")
    for place, row in enumerate(found["rows"], 1):
        apart = f"{row['paired_difference']:+.2f} ± {row['paired_std']:.2f}" + "*" * row["differs"]
        name, apart = (f"**{row['method']}**", "") if row["method"] == "SoftTarget" else (row["method"], apart)
        lines.append(
            f"| {place} | {name} | {row['mean']:.2f} ± {row['std']:.2f} | {apart} | {row['agreement']:.1f} | "
            f"{row['seconds']:.2f} | {row['note']} |"
        )
    settings, others = found["settings"], len(found["rows"]) - 1
    images, differing = settings["images"], sum(row["differs"] for row in found["rows"])
    within = sum(abs(row["paired_difference"]) < row["paired_std"] for row in found["rows"])
    return "\n".join(lines) + (
        f"\n\nMeans of {len(settings['seeds'])} seeds, ± standard deviation, on {images['test']:,} test images, by "
        f"`{settings['command']}`. Teacher {settings['teacher']}, "
        f"{settings['teacher_accuracy']:.1f}%, taught by {images['taught']:,} images; student {settings['student']}, "
        f"{images['seen']:,} images, {settings['budget']}; {settings['trials']} trials a method on "
        f"{images['validation']:,} validation images. Of {others} differences to soft targets {differing} "
        f"{'is' if differing == 1 else 'are'} more than chance (*), and {within} are smaller than their own standard "
        f"deviation."
    )


BOARDS = ("leaderboard-digits", "leaderboard-mnist", "leaderboard-fashion-mnist")
EXPERIMENTS = ("hinton-mnist", "few-labels", "capacity", "fidelity", "assistant", "born-again", "mutual")
PAGES: dict[str, dict[str, Callable[[dict[str, Any]], str]]] = {
    "README.md": {"demo": demo_table, "bench": bench_table, "hinton-mnist": claims_table},
    "docs/bug_zoo.md": {"zoo": zoo_table},
    "docs/results.md": dict.fromkeys(EXPERIMENTS, claims_table),
    "docs/leaderboard.md": dict.fromkeys(BOARDS, board_table),
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
