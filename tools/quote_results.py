# SPDX-License-Identifier: MIT
"""Writes the figures of README and docs from the results files, between their markers: none is typed by hand.

Tables stand between `<!-- name: from docs/evidence/results/name.json, by ... -->` and `<!-- end of name -->`.
A single figure in a sentence stands in a marker of its own, which says where in the results it is from, and if need be
how it is written:

    <!-- value: demo / distilled / accuracy_mean as .1% -->97.0%<!-- end -->
    <!-- value: few-labels / claims / gain_1000_images / mean -->3.8<!-- end -->

A part of the path is a key, a place in a list, counted from 0, or the `id` of an entry of a list. No line may
begin with such a marker: in Markdown it would begin a paragraph. What looks measured and stands in no marker is found
by `stray_figures`, which asks for a paper, with its year, in the same paragraph.
"""

import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minidistill.support.text import plural

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
FOLDERS = ("maths", "guides", "evidence", "reference")
RESULTS = DOCS / "evidence" / "results"


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


def _spread(row: dict[str, Any], places: int = 1) -> str:
    return f" ± {100 * row['accuracy_std']:.{places}f}" if len(row["accuracies"]) > 1 else ""


def bench_table(found: dict[str, Any]) -> str:
    """A table of training steps for each number of threads, and the machine, as Markdown."""
    steps = [row for row in found["rows"] if row["group"] == "training step"]
    tables = [_steps_table(steps, threads) for threads in sorted({row["threads"] for row in steps})]
    machine = found["machine"]
    shares = [
        f"{share:.0%} on {case} with {plural(int(threads), 'thread')}"
        for case, by_threads in machine["share_of_peak"].items()
        for threads, share in by_threads.items()
    ]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    explained = " The last column is what a step's products take at BLAS's speed on large matrices, measured in turn"
    reached = f"{explained}; of that speed, minidistill reaches {', '.join(shares)}." if shares else ""
    missing = f" Not there: {', '.join(machine['missing'])}." if machine["missing"] else ""
    return "\n\n".join([*tables, f"{machine['processor']}, {machine['cores']} cores; {versions}.{reached}{missing}"])


def _steps_table(steps: list[dict[str, Any]], threads: int) -> str:
    rows = {(row["case"], row["library"]): row for row in steps if row["threads"] == threads}
    cases, libraries = (list(dict.fromkeys(names)) for names in zip(*rows, strict=True))
    head = f"| µs a step, {plural(threads, 'thread')} | {' | '.join(libraries)} |"
    lines = [head, f"| --- |{' ---: |' * len(libraries)}"]
    lines += [f"| {case} | {' | '.join(_time(rows.get((case, name))) for name in libraries)} |" for case in cases]
    return "\n".join(lines)


def _time(row: dict[str, Any] | None) -> str:
    """Microseconds and, for the others, how many times minidistill's."""
    if row is None:
        return "-"
    time, ratio = 1e6 * row["seconds"], row["ratio_to_minidistill"]
    shown = _short(time)
    return shown if ratio is None or row["library"] == "minidistill" else f"{shown} ({ratio:.1f}x)"


def _short(time: float) -> str:
    return f"{time:,.0f}" if time >= 100 else f"{time:.3g}"


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


def export_table(found: dict[str, Any]) -> str:
    """How long a row takes from C and from Python, and how large a C file is, as Markdown."""
    networks = found["networks"]
    names = ["-".join(map(str, network["sizes"])) for network in networks]
    lines = [f"| µs for one row | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}"]
    for way in networks[0]["nanoseconds"]:
        lines.append(f"| {way} | {' | '.join(_microseconds(network['nanoseconds'], way) for network in networks)} |")
    settings, machine = found["settings"], found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    lines += [
        "",
        f"{machine['processor']}, one thread; gcc {machine['gcc']} with {settings['flag']}, {versions}. "
        f"The quickest of {settings['rounds']} rounds; in brackets the time over that of C.",
        "",
        f"| bytes | {' | '.join(names)} |",
        f"| --- |{' ---: |' * len(names)}",
    ]
    for form in networks[0]["bytes"]:
        of_form = [network["bytes"][form] for network in networks]
        sizes = {"file": [each["file"] for each in of_form], "weights": [each["weights"] for each in of_form]}
        for flag in of_form[0]["beside"]:
            sizes[f"code and data beside them, {flag}"] = [each["beside"][flag] for each in of_form]
        lines += [f"| {form}: {title} | {' | '.join(f'{size:,}' for size in row)} |" for title, row in sizes.items()]
    return "\n".join(lines)


def quantize_table(found: dict[str, Any]) -> str:
    """What whole numbers cost students of three data sets, and how fast the kernels are, as Markdown."""
    rooms = found["classrooms"]
    lines = [f"| points against the same student in floats | {' | '.join(rooms)} |", f"| --- |{' ---: |' * len(rooms)}"]
    floats = [room["accuracies"]["float"] for room in rooms.values()]
    lines.append(f"| its accuracy | {' | '.join(f'{statistics.mean(values):.2%}' for values in floats)} |")
    for form in list(next(iter(rooms.values()))["accuracies"])[1:]:
        cells = [_points(room["accuracies"][form], room["accuracies"]["float"]) for room in rooms.values()]
        lines.append(f"| {form} | {' | '.join(cells)} |")
    for form, title in (("8 bits, mse", "bytes with 8 bits"), ("4 bits, mse", "bytes with 4 bits")):
        shares = (room["bytes"][form] / room["bytes"]["float"] for room in rooms.values())
        lines.append(f"| {title} | {' | '.join(f'{share:.1%}' for share in shares)} |")
    sizes = "; ".join(f"{name} {_shape(room['sizes'])}, {room['epochs']} epochs and {room['epochs_on']} more"
                      for name, room in rooms.items())  # fmt: skip
    settings, machine = found["settings"], found["machine"]
    lines += [
        "",
        f"Means of {len(settings['seeds'])} seeds, ± standard deviation of the difference. Students: {sizes}; "
        f"distilled, T = {settings['temperature']:g}, alpha = {settings['alpha']:g}; "
        f"{settings['calibration']:,} calibration rows.",
        "",
        "| kernels, µs | rows | float32 | int8 | |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for row in found["timed"]:
        times = " | ".join(_short(1e6 * row["seconds"][name]) for name in ("float", "int8"))
        lines.append(f"| {_shape(row['sizes'])} | {row['rows']} | {times} | {row['ratio']:.1f}x |")
    lines += ["", f"{machine['processor']}, one thread, products by `{machine['byte_products']}`."]
    return "\n".join(lines)


def _points(values: list[float], reference: list[float]) -> str:
    gains = [100 * (value - other) for value, other in zip(values, reference, strict=True)]
    return f"{statistics.mean(gains):+.2f} ± {statistics.stdev(gains):.2f}"


def _shape(sizes: list[int]) -> str:
    return "-".join(map(str, sizes))


def floor_table(found: dict[str, Any]) -> str:
    """Accuracy of students of counting teachers by each floor, on validation rows, and on test images, as Markdown."""
    settings, rules = found["settings"], list(found["means"])
    rows = [(f"T = {row['temperature']:g}", row) for row in found["by_temperature"]]
    rows += [("mean", found["means"]), ("logistic regression", found["smooth"])]
    lines = [f"| validation accuracy, % | {' | '.join(rules)} |", f"| --- |{' ---: |' * len(rules)}"]
    lines += [f"| {title} | {' | '.join(f'{100 * row[rule]:.1f}' for rule in rules)} |" for title, row in rows]
    chosen = f"{found['chosen']:g}"
    lines += [
        "",
        f"Means over {', '.join(settings['data'])}; over {', '.join(settings['teachers'])}; over alpha = "
        f"{' and '.join(f'{alpha:g}' for alpha in settings['alphas'])}; and over {len(settings['seeds'])} seeds. "
        f"Students of {settings['hidden']} hidden units, {settings['epochs']} epochs with SGD(0.1). *None* is a logit "
        "of -1e4 for probability 0. The last line is of a teacher without zeros.",
        "",
        f"| forest, test images of digits | none | eps = {chosen} |",
        "| --- | ---: | ---: |",
    ]
    for row in found["test_images"]:
        cells = (f"{row[rule]['mean']:.1%} ± {100 * row[rule]['std']:.1f}" for rule in ("none", chosen))
        lines.append(f"| T = {row['temperature']:g} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"Means of {len(settings['seeds'])} seeds, ± standard deviation."])


def compress_table(found: dict[str, Any]) -> str:
    """The forms of a student beside its teacher, for each data set, as Markdown."""
    machine = f"One core of {found['machine']['processor']}."
    return "\n\n".join([*(_forms_table(name, table) for name, table in found["tables"].items()), machine])


def _forms_table(name: str, found: dict[str, Any]) -> str:
    lines = [f"| {name} | accuracy | agreement | calibration error | bytes | multiply-adds | one row, µs | a million |"]
    lines.append("| --- |" + " ---: |" * 7)
    for form, row in found["models"].items():
        lines.append(
            f"| {form} | {row['accuracy_mean']:.2%}{_spread(row, 2)} | {row['agreement']:.1%} | "
            f"{row['calibration_error']:.3f} | {row['bytes']:,} | {row['multiply_adds']:,} | "
            f"{_short(row['latency_us'])} | {_short(1e6 * row['cost_of_a_million'])} |"
        )
    settings = found["settings"]
    return "\n".join(lines) + (
        f"\n\nMeans of {len(settings['seeds'])} seeds, ± standard deviation; students of {_shape(settings['hidden'])} "
        f"hidden units that saw {settings['rows']:,} rows, {settings['epochs']} epochs. Chosen on validation rows: T = "
        f"{settings['temperature']:g}, a learning rate of {settings['rate']:g}, of {settings['rate_alone']:g} for the "
        f"student alone. A million predictions in millionths of the currency, at {settings['price']:g} a core-hour. "
        f"Not beaten in accuracy and latency at once: {', '.join(found['front'])}."
    )


def _microseconds(nanoseconds: dict[str, float], way: str) -> str:
    ratio = "" if way == "C" else f" ({nanoseconds[way] / nanoseconds['C']:.1f}x)"
    return f"{nanoseconds[way] / 1000:.3g}{ratio}"


def board_table(found: dict[str, Any]) -> str:
    """A leaderboard, the best first, as Markdown, and under what conditions it came about."""
    lines = ["| | method | accuracy, % | to soft targets | agreement, % | s a run | |"]
    lines.append("| ---: | --- | ---: | ---: | ---: | ---: | --- |")
    for place, row in enumerate(found["rows"], 1):
        apart = f"{row['paired_difference']:+.2f} ± {row['paired_std']:.2f}" + "*" * row["significant"]
        name, apart = (f"**{row['method']}**", "") if row["method"] == "SoftTarget" else (row["method"], apart)
        lines.append(
            f"| {place} | {name} | {row['mean']:.2f} ± {row['std']:.2f} | {apart} | {row['agreement']:.1f} | "
            f"{row['seconds']:.2f} | {row['note']} |"
        )
    settings, others = found["settings"], len(found["rows"]) - 1
    images, differing = settings["images"], sum(row["significant"] for row in found["rows"])
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
def gate_table(found: dict[str, Any]) -> str:
    """How the quality gate keeps its word, by simulation and on digits, and what cascades are worth, as Markdown."""
    settings, digits = found["settings"], found["digits"]
    lines = [
        f"| agreement | promised | share watched | false alarms | caught within {settings['soon']:,} | median | 95% |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in found["simulated"]:
        late = f"over {settings['soon']:,}" if row["delay_p95"] is None else f"{row['delay_p95']:,.0f}"
        lines.append(
            f"| {row['agreement']:.0%} | {row['agreement'] - row['drop']:.0%} | {row['share']:.0%} | "
            f"{row['false_alarms']:.1%} | {row['alarms_soon']:.1%} | {row['median_delay']:,.0f} | {late} |"
        )
    lines += [
        "",
        f"{settings['runs']} runs each, {settings['inputs']:,} inputs before the fall by {100 * settings['fall']:g} "
        f"points; false alarms promised to be at most {settings['promised_false_alarms']:.0%}; the last three columns "
        "in watched inputs.",
        "",
        "| drift, on digits | promised | agreement before | after | verdict | inputs to the alarm | watched |",
        "| --- | ---: | ---: | ---: | --- | ---: | ---: |",
    ]
    for row in digits["drifts"]:
        late = "- | -" if row["inputs"] is None else f"{row['inputs']} | {row['watched']}"
        figures = " | ".join(f"{row[name]:.1%}" for name in ("promised", "before", "after"))
        lines.append(f"| {row['drift']} | {figures} | {row['verdict']} | {late} |")
    cascades = digits["cascades"]
    lines += [
        "",
        "| accuracy wanted | on validation rows | on test images | sent to the teacher | cost of the teacher's |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in cascades["rows"]:
        names = ("wanted", "planned", "accuracy", "share", "cost")
        lines.append(f"| {' | '.join(f'{row[name]:.1%}' for name in names)} |")
    lines += [
        "",
        f"{cascades['validation']} validation rows. On the test images the student alone has "
        f"{cascades['student']:.1%}, the teacher {cascades['teacher']:.1%}.",
    ]
    return "\n".join(lines)


def cuda_table(found: dict[str, Any]) -> str:
    """What the compiler makes of each CUDA kernel, as Markdown."""
    capabilities = list(dict.fromkeys(row["capability"] for row in found["kernels"]))
    names = list(dict.fromkeys(row["kernel"] for row in found["kernels"]))
    rows = {(row["kernel"], row["capability"]): row for row in found["kernels"]}
    columns = " | ".join(f"registers, {capability}" for capability in capabilities)
    lines = [
        f"| kernel, {found['settings']['dtype']} | {columns} | shared bytes | loads of four | `.f64` | spilled bytes |",
        f"| --- |{' ---: |' * (len(capabilities) + 4)}",
    ]
    for name in names:
        of_card = [rows[name, capability] for capability in capabilities]
        registers = " | ".join(str(row["registers"]) for row in of_card)
        most = (max(row[key] for row in of_card) for key in ("shared_bytes", "wide_loads", "doubles", "spill_bytes"))
        lines.append(f"| {name} | {registers} | {' | '.join(f'{number:,}' for number in most)} |")
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return "\n".join(lines) + f"\n\nFor compute capabilities {' and '.join(capabilities)}, by {versions}."


def card_table(found: dict[str, Any]) -> str:
    """What was timed on a card, a row a case and a column a library, as Markdown."""
    libraries = list(dict.fromkeys(row["library"] for row in found["rows"]))
    cases = list(dict.fromkeys(row["case"] for row in found["rows"]))
    seconds = {(row["case"], row["library"]): row["seconds"] for row in found["rows"]}
    lines = [f"| µs | {' | '.join(libraries)} |", f"| --- |{' ---: |' * len(libraries)}"]
    for case in cases:
        times = (seconds.get((case, library)) for library in libraries)
        lines.append(f"| {case} | {' | '.join('-' if time is None else _short(1e6 * time) for time in times)} |")
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return "\n".join(lines) + f"\n\n{found['machine']['card']}, by `{found['settings']['command']}`; {versions}."


EXPERIMENTS = ("hinton-mnist", "few-labels", "capacity", "fidelity", "assistant", "born-again", "mutual", "deploy")
PAGES: dict[str, dict[str, Callable[[dict[str, Any]], str]]] = {
    "README.md": {"demo": demo_table, "bench": bench_table, "hinton-mnist": claims_table},
    "docs/evidence/bug_zoo.md": {"zoo": zoo_table},
    "docs/guides/export.md": {"export": export_table},
    "docs/guides/serving.md": {"gate": gate_table},
    "docs/guides/cuda.md": {"cuda": cuda_table, "cuda_bench": card_table},
    "docs/guides/quantize.md": {"quantize": quantize_table},
    "docs/guides/compress.md": {"compress": compress_table},
    "docs/guides/any_teacher.md": {"floor": floor_table},
    "docs/evidence/results.md": dict.fromkeys(EXPERIMENTS, claims_table),
    "docs/evidence/leaderboard.md": dict.fromkeys(BOARDS, board_table),
}


VALUE = re.compile(r"(<!-- value: (.+?)(?: as (\S+))? -->).*?(<!-- end -->)")
MARKED = re.compile(r"<!-- (?:value: .+?-->.*?<!-- end -->|([\w-]+): from .*?<!-- end of \1 -->)", re.DOTALL)
NOT_PROSE = re.compile(
    r"^(`{3,}).*?^\1$|`[^`]+`|\$\$.*?\$\$|\$[^$\n]+(?:\n[^$\n]+)?\$|\]\([^)]*\)", re.DOTALL | re.MULTILINE
)
MEASURED = re.compile(
    r"\d(?:[\d.,]*\d)?\s?(?:%|x\b|ms\b|µs|us\b|(?:percent|points?|errors?|seconds?|minutes?|hours?|times|accuracy)\b)|±\s?\d"
)
YEAR = re.compile(r"\b(?:19|20)\d\d\b")


def pages() -> list[str]:
    """Where figures are quoted: README and the pages of docs/, but for what a build of the site puts there."""
    written = [*DOCS.glob("*.md"), *(page for folder in FOLDERS for page in DOCS.glob(f"{folder}/*.md"))]
    return ["README.md", *sorted(str(path.relative_to(ROOT)) for path in written)]


def with_figures(text: str, tables: dict[str, Callable[[dict[str, Any]], str]]) -> str:
    """A page's text with each of its tables, and each single figure, made anew from the results files."""
    for name, table in tables.items():
        if not (RESULTS / f"{name}.json").exists():
            continue  # not measured yet
        between = re.compile(rf"(<!-- {name}: .*? -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        marks = between.findall(text)
        if len(marks) != 1:
            raise ValueError(f"a page must have the markers of {name} once, it has them {len(marks)} times")
        beginning, end = marks[0]
        before, _, _, after = between.split(text)
        text = f"{before}{beginning}\n{table(results(name))}\n\n{end}{after}"
    if re.search(r"^<!-- value:", text, re.MULTILINE):
        raise ValueError("no line may begin with the marker of a value: in Markdown it would begin a paragraph")
    return VALUE.sub(lambda match: f"{match[1]}{value(match[2], match[3])}{match[4]}", text)


def results(name: str) -> dict[str, Any]:
    """What a results file holds."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def value(path: str, form: str | None = None) -> str:
    """The figure at a path of the results, as text: `form` is a format such as .1%, else it has three digits."""
    name, *parts = path.split(" / ")
    found: Any = results(name)
    for part in parts:
        found = _inside(found, part, path)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise ValueError(f"{path} is no figure, but {type(found).__name__}")
    return format(found, form) if form else _figure(found)


def _inside(found: Any, part: str, path: str) -> Any:
    """What `part` of a path names in a dictionary or a list."""
    if isinstance(found, dict) and part in found:
        return found[part]
    if isinstance(found, list) and part.isdecimal() and int(part) < len(found):
        return found[int(part)]
    named = [one for one in found if isinstance(one, dict) and one.get("id") == part] if isinstance(found, list) else []
    if len(named) != 1:
        raise ValueError(f"{path}: {part!r} names {len(named) or 'none'} of what is there")
    return named[0]


def stray_figures(text: str) -> list[str]:
    """What looks like a measured figure, stands in no marker, and in a paragraph that names no paper with its year."""
    prose = NOT_PROSE.sub("", MARKED.sub("", text))
    paragraphs = re.split(r"\n\s*\n|\n(?=[-|])", prose)
    return [
        found
        for paragraph in paragraphs
        if not YEAR.search(paragraph)
        for found in MEASURED.findall(paragraph)
    ]


if __name__ == "__main__":
    for page in pages():
        text = (ROOT / page).read_text()
        (ROOT / page).write_text(with_figures(text, PAGES.get(page, {})))
