# SPDX-License-Identifier: MIT
"""docs/howto/: the code of each how-to runs as written, from its first block to its last."""

from pathlib import Path

import pytest
from pages import run_python, run_shell

PAGES = {path.stem: path.read_text() for path in (Path(__file__).parent.parent / "docs" / "howto").glob("*.md")}
MARKS = {"write_a_kernel": pytest.mark.compiles}


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, ())) for name in sorted(PAGES)])
def test_a_how_to_runs_as_written(name, tmp_path, monkeypatch):
    if "sklearn" in PAGES[name]:
        pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    run_python(PAGES[name])
    run_shell(PAGES[name])
