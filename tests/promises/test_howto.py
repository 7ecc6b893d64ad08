# SPDX-License-Identifier: MIT
"""The code of each how-to of docs/guides/ runs as written, from its first block to its last."""

import shutil
from pathlib import Path

import pytest
from pages import run_python, run_shell

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
HOW_TOS = ("any_teacher", "own_data", "pytorch_to_c", "read_the_report", "temperature_and_alpha",
           "threads_and_processes", "write_a_kernel", "write_a_loss")  # fmt: skip
PAGES = {name: (GUIDES / f"{name}.md").read_text() for name in HOW_TOS}
MARKS = {"write_a_kernel": pytest.mark.compiles}


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, ())) for name in sorted(PAGES)])
def test_a_how_to_runs_as_written(name, tmp_path, monkeypatch):
    for module in ("sklearn", "torch"):
        if f"import {module}" in PAGES[name] or f"from {module}" in PAGES[name]:
            pytest.importorskip(module)
    if "gcc" in PAGES[name] and shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    monkeypatch.chdir(tmp_path)
    run_python(PAGES[name])
    run_shell(PAGES[name])
