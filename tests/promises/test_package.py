# SPDX-License-Identifier: MIT
"""What is promised of the package as a whole: a quick import, a short reading path, names that are there."""

import ast
import io
import os
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import minidistill

PACKAGE = Path(minidistill.__file__).parent
READING_PATH = ("ops", "network", "losses/soft_target", "training/optim", "training/run", "training/loop",
                "distillation/student")
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


def test_every_method_is_public_and_nothing_else_is_made_up():
    assert set(minidistill.losses.METHODS) <= set(minidistill.__all__) & set(minidistill.losses.__all__)
    for module in (minidistill, minidistill.losses):
        with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute 'Reversed'"):
            _ = module.Reversed


def test_every_source_file_has_a_test_file():
    tested_together = ("cross_entropy", "soft_target", "top_k", "labels_and_teacher",  # in test_losses, _invariants
                       "soft_targets")  # in test_distillation  # fmt: skip
    tests = {path.name for path in Path(__file__).parent.glob("test_*.py")}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[-1] in ("__init__", "__main__", "peers", "cache") or parts[-1] in tested_together:
            continue  # peers stand in test_bench, the cache in test_kernels_cpu
        assert f"test_{'_'.join(parts)}.py" in tests
