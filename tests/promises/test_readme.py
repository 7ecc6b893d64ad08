# SPDX-License-Identifier: MIT
"""The README is true: its commands and code run as written, its links lead somewhere."""

import re
from pathlib import Path

import pytest
from pages import code_blocks, run_python, run_shell

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_two_commands_are_targets_of_the_makefile():
    commands = [line for block in code_blocks(README, "") for line in block.splitlines()]
    assert commands == ["make demo", "make test"]
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{command.split()[1]}:", makefile, re.MULTILINE) for command in commands)


def test_the_python_code_runs_as_written(tmp_path, monkeypatch, capsys):
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    run_python(README)
    assert "distilled" in capsys.readouterr().out
    assert (tmp_path / "student.npz").exists()


def test_the_shell_commands_run_as_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_shell(README) == 5
    assert len((tmp_path / "labels.csv").read_text().split()) == 500


def test_the_links_lead_to_files():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
