# SPDX-License-Identifier: MIT
"""The course keeps its form, runs with its answers, and without them fails exactly at its checks."""

import importlib.util
import re
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext")
pytest.importorskip("nbclient")

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
SPECIFICATION = importlib.util.spec_from_file_location("build", NOTEBOOKS / "build.py")
build = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(build)

NAMES = build.names()
LARGEST = 500_000  # bytes of a notebook with its pictures


def words(name):
    """All that a notebook says in Markdown."""
    return "\n".join(cell.source for cell in build.unsolved(name).cells if cell.cell_type == "markdown")


def test_the_notebooks_are_listed_in_the_readme_and_numbered_without_a_gap_but_for_those_to_come():
    readme = (NOTEBOOKS / "README.md").read_text()
    listed = re.findall(r"\]\((\d\d_\w+)\.ipynb\)", readme)
    assert listed == NAMES
    to_come = re.findall(r"\((\d\d)\)", "".join(re.findall(r"^To come: .*$", readme, re.MULTILINE)))
    numbers = sorted(map(int, [*to_come, *(name[:2] for name in NAMES)]))
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_says_what_one_will_know_and_what_to_remember(name):
    text = words(name)
    assert re.match(rf"# {int(name[:2])} · ", text)
    for part in ("You will know at the end", "What to remember", "Read next in the source"):
        assert text.count(part) == 1, part
    minutes = re.search(r"[Aa]bout (\d+) minutes", text)
    assert minutes
    assert int(minutes[1]) <= 25


@pytest.mark.parametrize("name", NAMES)
def test_each_exercise_has_a_hint_a_check_and_a_solution(name):
    notebook = build.unsolved(name)
    exercises = build.tagged(notebook, "exercise")
    assert 3 <= len(exercises) <= 6
    assert words(name).count("<details>") >= len(exercises)
    checks = build.tagged(notebook, "check")
    for exercise, following in zip(exercises, [*exercises[1:], len(notebook.cells)], strict=True):
        assert any(exercise < check < following for check in checks), notebook.cells[exercise].source
    build.solved(name)  # or it says which have none


@pytest.mark.parametrize("name", NAMES)
def test_what_is_to_be_read_next_is_there(name):
    _, _, after = words(name).partition("Read next in the source")
    files = re.findall(r"`(minidistill/[\w/]+\.py)`", after)
    assert files
    for file in files:
        assert (ROOT / file).is_file(), file
    sources = "".join((ROOT / file).read_text() for file in files)
    for function in re.findall(r"`(\w+)\(?\)?`", after):
        assert re.search(rf"\b{function}\b", sources), f"{function} is in none of {files}"


@pytest.mark.parametrize("name", NAMES)
def test_the_pair_agrees(name):
    build.check_pair(name)
    assert (NOTEBOOKS / f"{name}.ipynb").stat().st_size < LARGEST


@pytest.mark.course
@pytest.mark.parametrize("name", NAMES)
def test_it_runs_with_its_answers_and_without_them_fails_at_its_checks_alone(name):
    build.check_runs(name)


def test_a_cell_that_needs_an_exercise_is_refused(tmp_path, monkeypatch):
    """Built wrong on purpose: the last cell uses what the reader has not written yet."""
    (tmp_path / "solutions").mkdir()
    stub = '# %% tags=["exercise"]\nanswer = ...\n\n'
    check = '# %% tags=["check"]\nfrom minidistill.diagnosis.exercises import check\ncheck("answer", answer, 4)\n\n'
    (tmp_path / "01_sum.py").write_text(f"# %%\nx = 2\n\n{stub}{check}# %%\nx + answer\n")
    (tmp_path / "solutions" / "01_sum.py").write_text('# %% tags=["solution"]\nanswer = 4\n')
    monkeypatch.setattr(build, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match="wanted at its check cells alone"):
        build.check_runs("01_sum")
    (tmp_path / "01_sum.py").write_text(f"# %%\nx = 2\n\n{stub}{check}# %%\nx + 4\n")
    build.check_runs("01_sum")


def test_a_wrong_answer_and_a_missing_one_are_refused(tmp_path, monkeypatch):
    (tmp_path / "solutions").mkdir()
    (tmp_path / "01_sum.py").write_text('# %% tags=["exercise"]\nanswer = ...\n\n# %%\nx = 1\n')
    (tmp_path / "solutions" / "01_sum.py").write_text("# %%\nanswer = 4\n")
    monkeypatch.setattr(build, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match="1 exercises have 0 solutions"):
        build.solved("01_sum")


def test_a_pair_that_differs_is_refused(tmp_path, monkeypatch):
    (tmp_path / "01_sum.py").write_text("# %%\nx = 2\n")
    monkeypatch.setattr(build, "FOLDER", tmp_path)
    build.write(build.unsolved("01_sum"), tmp_path / "01_sum.ipynb")
    build.check_pair("01_sum")
    (tmp_path / "01_sum.py").write_text("# %%\nx = 3\n")
    with pytest.raises(ValueError, match="run `make notebooks`"):
        build.check_pair("01_sum")


def test_what_a_student_has_begun_is_kept(tmp_path, capsys):
    build.write_for_student(tmp_path)
    begun = tmp_path / f"{NAMES[0]}.ipynb"
    begun.write_text("mine")
    build.write_for_student(tmp_path)
    assert begun.read_text() == "mine"
    assert "left as it is" in capsys.readouterr().out
    assert sorted(path.stem for path in tmp_path.iterdir()) == NAMES


def test_copies_for_students_have_stubs_and_no_outputs(tmp_path):
    build.write_for_student(tmp_path)
    for name in NAMES:
        text = (tmp_path / f"{name}.ipynb").read_text()
        assert '"output_type"' not in text
