# SPDX-License-Identifier: MIT
"""What is promised of the package as a whole: a quick import, a short reading path, names that are there."""

import ast
import io
import os
import re
import subprocess
import sys
import tokenize
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import minidistill

ROOT = Path(__file__).parents[2]
PACKAGE, TESTS = ROOT / "minidistill", ROOT / "tests"
READING_PATH = ("ops", "network", "losses/soft_target", "training/optim", "training/run", "training/loop",
                "distillation/student")  # fmt: skip
MOST_LINES = 900
MOST_OF_NUMPY = 0.4  # of the processor time of importing NumPy: 30 milliseconds of 75


def lines_of_code(path):
    """Lines that hold more than comments, docstrings and space."""
    source = path.read_text()
    docstrings = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docstrings |= set(range(node.lineno, node.end_lineno + 1))
    skip = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skip:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def test_the_reading_path_is_short():
    lines = {name: lines_of_code(PACKAGE / f"{name}.py") for name in READING_PATH}
    assert sum(lines.values()) < MOST_LINES, lines


def in_a_new_process(code, cache):
    """Runs code where compiled modules are kept, as they are for a user, whatever this process was told."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(cache)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_the_import_is_quick(tmp_path):
    code = (
        "import time; start = time.process_time(); import numpy; between = time.process_time(); "
        "from minidistill import MLP, distill; print((time.process_time() - between) / (between - start))"
    )
    in_a_new_process(code, tmp_path)  # compiles
    shares = [float(in_a_new_process(code, tmp_path)) for _ in range(25)]
    assert min(shares) <= MOST_OF_NUMPY, shares  # other programs disturb single runs


def test_the_import_brings_nothing_heavy(tmp_path):
    code = "import sys; from minidistill import MLP, digits, distill; print(*sys.modules)"
    loaded = set(in_a_new_process(code, tmp_path).split())
    assert not loaded & {"numba", "matplotlib", "tqdm", "scipy", "torch", "argparse"}


@pytest.mark.parametrize("name", minidistill.__all__)
def test_public_names_are_documented(name):
    assert getattr(minidistill, name).__doc__


def test_a_method_is_imported_when_it_is_asked_for(tmp_path):
    code = "import sys, minidistill; {} print(*sys.modules)"
    files = {f"minidistill.losses.{file}" for file in minidistill.losses.METHODS.values()}
    assert not files & set(in_a_new_process(code.format("minidistill.distill;"), tmp_path).split())
    asked = set(in_a_new_process(code.format("minidistill.NKD; minidistill.losses.DIST;"), tmp_path).split())
    assert {"minidistill.losses.nkd", "minidistill.losses.dist"} <= asked
    assert "minidistill.losses.divergences" not in asked


def test_the_schemes_are_imported_when_one_is_asked_for(tmp_path):
    code, module = "import sys, minidistill; {} print(*sys.modules)", "minidistill.distillation.mutual"
    assert module not in in_a_new_process(code.format(""), tmp_path).split()
    assert module in in_a_new_process(code.format("minidistill.mutual_learning;"), tmp_path).split()


def names_for_type_checkers(module):
    """Those that the file imports as themselves: `from .dist import DIST as DIST`."""
    nodes = ast.walk(ast.parse(Path(module.__file__).read_text()))
    imported = [alias for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names]
    return {alias.name for alias in imported if alias.name == alias.asname}


def test_every_method_is_public_and_nothing_else_is_made_up():
    for module in (minidistill, minidistill.losses):
        assert set(minidistill.losses.METHODS) <= set(module.__all__) == names_for_type_checkers(module)
    for module in (minidistill, minidistill.losses):
        with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute 'Reversed'"):
            _ = module.Reversed


TESTED_WITH = {  # file: the test file of what it is made for
    "cli/experiments": "cli/test_measuring", "cli/info": "kernels/test_kernels", "cli/printing": "cli/test_measuring",
    "diagnosis/case": "diagnosis/test_check_loss", "diagnosis/invariants": "diagnosis/test_check_loss",
    "experiments/sweep/point": "experiments/sweep/test_sweep", "kernels/memory": "kernels/test_kernels",
    "kernels/protocols": "kernels/test_kernels", "kernels/row_operations": "kernels/cpu/test_elementwise",
    "losses/labels_and_teacher": "losses/test_losses",
    "support/figures": "experiments/test_pictures", "support/gpu_arrays": "support/test_checks",
    "support/intervals": "support/test_checks", "support/text": "training/test_evaluation",
    "training/baselines": "distillation/test_teacher_checks", "training/probabilities": "distillation/test_teachers",
}  # fmt: skip


def test_every_source_file_has_a_test_file_where_it_is_expected():
    """That of kernels/cpu/simd.py is kernels/cpu/test_simd.py, or with its folder kernels/test_cpu.py."""
    for path in PACKAGE.rglob("*.py"):
        file = path.relative_to(PACKAGE).with_suffix("")
        if not file.name.startswith("__"):
            names = [file.parent / f"test_{file.name}", file.parent.parent / f"test_{file.parent.name}"]
            names = [TESTED_WITH[str(file)]] if str(file) in TESTED_WITH else names
            assert any((TESTS / f"{name}.py").exists() for name in names), file


# ---------------------------------------------------------------------------------------------- structure

MOST_ENTRIES = 15
MOST_LINES_OF_A_FILE = 400
ONE_ALGORITHM = "one algorithm"  # what the docstring of a longer file says
MOST_LONG_FILES = 2


def test_the_top_of_the_package_is_a_table_of_contents():
    entries = {path.name for path in PACKAGE.iterdir() if not path.name.startswith("__")} - {"py.typed"}
    assert len(entries) <= MOST_ENTRIES, entries
    readme = (ROOT / "README.md").read_text()
    assert [entry for entry in entries if not re.search(rf"^  {re.escape(entry)}/? +\S", readme, re.MULTILINE)] == []


def test_files_are_short():
    long = [path for path in PACKAGE.rglob("*.py") if len(path.read_text().splitlines()) > MOST_LINES_OF_A_FILE]
    assert len(long) <= MOST_LONG_FILES, long
    assert [path for path in long if ONE_ALGORITHM not in ast.get_docstring(ast.parse(path.read_text()))] == []


def test_no_module_imports_itself_through_others():
    """Lazy imports and those for types included. The order of the layers is checked by import-linter in `make lint`."""
    graph = pytest.importorskip("grimp").build_graph("minidistill")
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imports).prepare()  # raises CycleError
