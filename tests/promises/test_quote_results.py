# SPDX-License-Identifier: MIT
"""tools/quote_results.py: what the pages say was measured is what the results files hold, in tables and in
sentences."""

import json
from pathlib import Path

import pytest
import quote_results

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", quote_results.pages())
def test_the_figures_of_a_page_are_those_of_the_results_files(page):
    text = (ROOT / page).read_text()
    wanted = quote_results.with_figures(text, quote_results.PAGES.get(page, {}))
    assert text == wanted, "run `python tools/quote_results.py`"


@pytest.mark.parametrize("page", quote_results.pages())
def test_a_page_states_no_figure_of_unknown_origin(page):
    assert quote_results.stray_figures((ROOT / page).read_text()) == []


@pytest.mark.parametrize("name", [path.stem for path in (ROOT / "docs" / "evidence" / "results").glob("*.json")])
def test_every_results_file_is_quoted_and_says_what_command_made_it(name):
    assert any(name in tables for tables in quote_results.PAGES.values())
    found = json.loads((ROOT / "docs" / "evidence" / "results" / f"{name}.json").read_text())
    command = found["machine" if name == "bench" else "settings"]["command"]
    words = name.split("-", 1) if name.startswith("leaderboard-") else [name]  # the data set is a word of its own
    by_the_library = command.startswith("minidistill ") and set(words) <= set(command.split())
    assert by_the_library or command == f"python tools/measure/{name}.py"


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """A results file `run`."""
    claims = [{"claim": "errors: at most 9", "mean": 7.0}, {"claim": "errors without labels", "mean": 1234.5}]
    (tmp_path / "run.json").write_text(json.dumps({"share": 0.9704, "claims": claims, "seeds": [3, 5], "held": True}))
    monkeypatch.setattr(quote_results, "RESULTS", tmp_path)


@pytest.mark.parametrize(
    ("marker", "figure"),
    [
        ("run / share", "0.97"),
        ("run / share as .1%", "97.0%"),
        ("run / seeds / 1", "5"),
        ("run / claims / errors: / mean", "7"),
        ("run / claims / errors without / mean", "1,234"),
    ],
)
def test_a_marker_gets_the_figure_that_it_names(made_up, marker, figure):
    text = f"It is <!-- value: {marker} -->old<!-- end --> here."
    assert quote_results.with_figures(text, {}) == text.replace("old", figure)


NO_FIGURES = ("run / nothing", "run / claims / errors / mean", "run / seeds / 2", "run / held", "run")


@pytest.mark.parametrize("path", NO_FIGURES)
def test_a_marker_that_names_no_figure_or_several_is_refused(made_up, path):
    with pytest.raises(ValueError, match=f"^{path}"):
        quote_results.value(path)


def test_a_marker_that_would_begin_a_paragraph_is_refused(made_up):
    with pytest.raises(ValueError, match="would begin a paragraph"):
        quote_results.with_figures("It is\n<!-- value: run / share -->1<!-- end --> here.", {})


STRAY = ("It has 97.0% of it.", "70 errors", "± 0.7", "3.4x faster", "20 µs a step", "in 31\nminutes", "5.4 points")


@pytest.mark.parametrize("text", STRAY)
def test_a_figure_without_a_source_is_found(text):
    assert len(quote_results.stray_figures(f"Before.\n\n{text}\n\nAfter 2015.")) == 1


def test_what_is_marked_or_published_or_no_measurement_is_not():
    for text in STRAY:
        assert quote_results.stray_figures(f"{text} (Hinton 2015)") == []
        assert quote_results.stray_figures(f"<!-- value: a / b -->{text}<!-- end -->") == []
        assert quote_results.stray_figures(f"<!-- a: from b -->\n{text}\n<!-- end of a -->") == []
        assert quote_results.stray_figures(f"```\n{text}\n```") == []
    assert quote_results.stray_figures("70,000 images of 784 pixels, 18 mistakes, $T^2 = 400$ times, `--seeds 3`") == []


def test_a_source_in_one_paragraph_or_row_is_none_for_the_next():
    assert quote_results.stray_figures("- Hinton 2015: 74 errors\n- here: 93 errors") == ["93 errors"]
    assert quote_results.stray_figures("| 2015 | 74 errors |\n| here | 93 errors |") == ["93 errors"]
