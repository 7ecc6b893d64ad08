# SPDX-License-Identifier: MIT
"""The README is true: its commands and code run as written, its links lead somewhere, its figures were measured."""

import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest

from minidistill.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    """The fenced blocks of a language; '' for those that name none."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return [text for name, text in fences if name == language]


def test_the_two_commands_are_targets_of_the_makefile():
    commands = [line for block in blocks("") for line in block.splitlines()]
    assert commands == ["make demo", "make test"]
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{command.split()[1]}:", makefile, re.MULTILINE) for command in commands)


def test_the_python_code_runs_as_written(tmp_path, monkeypatch, capsys):
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    scope = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), scope)
    assert "distilled" in capsys.readouterr().out
    assert (tmp_path / "student.npz").exists()


def test_the_shell_commands_run_as_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) == 5
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "minidistill"
        assert main(arguments) == 0
    assert len((tmp_path / "labels.csv").read_text().split()) == 500


def test_the_links_lead_to_files():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


spec = importlib.util.spec_from_file_location("quote_results", ROOT / "docs" / "quote_results.py")
quote_results = importlib.util.module_from_spec(spec)
spec.loader.exec_module(quote_results)


@pytest.mark.parametrize("page", quote_results.PAGES)
def test_the_tables_are_those_of_the_results_files(page):
    assert quote_results.with_tables(page) == (ROOT / page).read_text(), "run `python docs/quote_results.py`"


@pytest.mark.parametrize("name", [path.stem for path in (ROOT / "docs" / "results").glob("*.json")])
def test_every_results_file_is_quoted_and_says_what_command_made_it(name):
    assert any(name in tables for tables in quote_results.PAGES.values())
    found = json.loads((ROOT / "docs" / "results" / f"{name}.json").read_text())
    command = found["machine" if name == "bench" else "settings"]["command"]
    words = name.split("-", 1) if name.startswith("leaderboard-") else [name]  # the data set is a word of its own
    by_the_library = command.startswith("minidistill ") and set(words) <= set(command.split())
    assert by_the_library or command == f"python docs/measure_{name}.py"
