# SPDX-License-Identifier: MIT
"""Builds the notebooks of the course from their sources, and checks them.

    python notebooks/build.py [NAME ...]            runs them with the answers in, and writes NAME.ipynb without
    python notebooks/build.py --check [NAME ...]    that each runs, and without answers fails at its check cells alone
    python notebooks/build.py --student FOLDER      writes copies to work in, without answers and outputs

NAME.py is a notebook in jupytext's percent format. Its cells tagged "exercise" hold stubs; the cells tagged "solution"
of solutions/NAME.py, in the same order, are the answers. Only cells tagged "check" may depend on an exercise.
NAME.ipynb has the outputs of the run with answers, but for those of the checks: a reader begins with nothing done.
"""

import argparse
import copy
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from minidistill.support.files import replacing

FOLDER = Path(__file__).resolve().parent
SECONDS_A_CELL = 600
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def names() -> list[str]:
    """Of all notebooks, in the order of the course."""
    return sorted(path.stem for path in FOLDER.glob("[0-9][0-9]_*.py"))


def tagged(notebook: NotebookNode, tag: str) -> list[int]:
    """The places of the cells that carry a tag."""
    return [place for place, cell in enumerate(notebook.cells) if tag in cell.metadata.get("tags", [])]


def unsolved(name: str) -> NotebookNode:
    """A notebook as its source has it: stubs in place of answers, no outputs."""
    notebook = jupytext.read(FOLDER / f"{name}.py")
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL})
    for place, cell in enumerate(notebook.cells):
        cell.id = f"cell-{place}"  # jupytext draws them by chance, and every build would differ
    return notebook


def solved(name: str) -> NotebookNode:
    """The same with the answers in place of the stubs."""
    notebook = unsolved(name)
    answers = jupytext.read(FOLDER / "solutions" / f"{name}.py")
    exercises, solutions = tagged(notebook, "exercise"), tagged(answers, "solution")
    if len(exercises) != len(solutions):
        raise ValueError(f"{name}: {len(exercises)} exercises have {len(solutions)} solutions")
    for exercise, solution in zip(exercises, solutions, strict=True):
        notebook.cells[exercise].source = answers.cells[solution].source
    return notebook


def run(notebook: NotebookNode, to_the_end: bool = False) -> NotebookNode:
    """A copy with the outputs of a run in a kernel of its own; `to_the_end`, past cells that fail."""
    done = copy.deepcopy(notebook)
    client = NotebookClient(
        done, timeout=SECONDS_A_CELL, allow_errors=to_the_end, kernel_name=KERNEL["name"],
        resources={"metadata": {"path": str(FOLDER)}},
    )  # fmt: skip
    client.execute()
    for cell in done.cells:
        cell.metadata.pop("execution", None)  # when each cell ran
    done.metadata = notebook.metadata
    return done


def failures(notebook: NotebookNode) -> dict[int, str]:
    """The cells of a run that failed, each with the name of its error."""
    return {
        place: output.ename
        for place, cell in enumerate(notebook.cells)
        for output in cell.get("outputs", [])
        if output.output_type == "error"
    }


def complaints(notebook: NotebookNode) -> list[str]:
    """What cells of a run wrote to stderr: warnings, and progress bars that nobody wants to read."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"]


def built(name: str) -> NotebookNode:
    """A notebook without answers but with the outputs of the run with them; the checks have none."""
    notebook, ran = unsolved(name), run(solved(name))
    if complaints(ran):
        raise ValueError(f"{name} writes to stderr: {complaints(ran)[0][:200]}")
    answered = {*tagged(notebook, "exercise"), *tagged(notebook, "check")}
    for place, cell in enumerate(ran.cells):
        if cell.cell_type == "code" and place not in answered:
            notebook.cells[place].outputs = cell.outputs
            notebook.cells[place].execution_count = cell.execution_count
    return notebook


def check_pair(name: str) -> None:
    """That NAME.ipynb has the cells of NAME.py."""
    written = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    cells = [
        [(cell.cell_type, cell.source, cell.metadata.get("tags")) for cell in notebook.cells]
        for notebook in (written, unsolved(name))
    ]
    if cells[0] != cells[1]:
        raise ValueError(f"{name}.ipynb is not built from {name}.py as it stands: run `make notebooks`")


def check_runs(name: str) -> None:
    """That the notebook runs with its answers, and without them fails at its check cells and nowhere else."""
    built(name)
    without = run(unsolved(name), to_the_end=True)
    wanted = dict.fromkeys(tagged(without, "check"), "IncorrectAnswer")
    if failures(without) != wanted:
        raise ValueError(
            f"{name} without answers fails at cells {failures(without)}, wanted at its check cells alone: {wanted}"
        )


def write(notebook: NotebookNode, path: Path) -> None:
    """Whole or not at all."""
    with replacing(path) as stream:
        stream.write((nbformat.writes(notebook) + "\n").encode())


def write_for_student(folder: Path) -> None:
    """Copies to work in; one that is there already is left as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names():
        path = folder / f"{name}.ipynb"
        if path.exists():
            print(f"{path} is there already: left as it is")
        else:
            write(unsolved(name), path)
            print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the course's notebooks, or check them.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as 03_softmax; all where none is named")
    parser.add_argument("--check", action="store_true", help="write nothing, run them with and without answers")
    parser.add_argument("--student", type=Path, metavar="FOLDER", help="write copies without answers and outputs there")
    wanted = parser.parse_args()
    unknown = [name for name in wanted.names if name not in names()]
    if unknown:
        parser.error(f"no notebook {', '.join(unknown)}; there are {', '.join(names())}")
    if wanted.student:
        write_for_student(wanted.student)
        return
    for name in wanted.names or names():
        start = time.perf_counter()
        if wanted.check:
            check_pair(name)
            check_runs(name)
        else:
            write(built(name), FOLDER / f"{name}.ipynb")
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
