# SPDX-License-Identifier: MIT
"""The entry point: Ctrl-C has no traceback at any moment, and a warning is one line."""

import os
import subprocess
import sys

import numpy as np
import pytest

from minidistill import MLP

ENVIRONMENT = {**os.environ, "MINIDISTILL_BACKEND": "numpy"}
INTERRUPTS = """
import os, sys
class Interrupts:
    def find_spec(name, path, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), 2)
sys.meta_path.insert(0, Interrupts)
sys.argv = ["minidistill", "evaluate", "network.npz", "data.npz"]
"""
ENTRIES = {
    "console script": "from minidistill.__main__ import main; sys.exit(main())",
    "python -m": "import runpy; runpy.run_module('minidistill', run_name='__main__', alter_sys=True)",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    MLP((2, 3, 2)).save("network.npz")
    np.savez("data.npz", x=np.eye(2), y=[0, 1])


def interrupted_at(module, entry, **options):
    """The command, as a process that sends itself SIGINT when it begins to import this module."""
    command = [sys.executable, "-c", INTERRUPTS.format(module=module) + ENTRIES[entry]]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize(
    "module",
    ["minidistill.cli", "argparse", "json", "numpy", "numpy._core._multiarray_umath", "datetime",
     "minidistill.support.files", "minidistill.network", "minidistill.training.evaluation", "zipfile"],
)  # fmt: skip
def test_ctrl_c_during_an_import_has_no_traceback(folder, module, entry):
    done = interrupted_at(module, entry)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "interrupted\n"


def test_an_import_that_is_not_reached_is_not_interrupted(folder):
    done = interrupted_at("torch", "console script")
    assert done.returncode == 0
    assert "accuracy" in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="signals are inherited on POSIX")
def test_ctrl_c_stays_ignored_where_it_was(folder):
    import signal

    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    assert interrupted_at("numpy", "console script", **ignore).returncode == 0


def test_ctrl_c_in_a_callback_of_llvm_is_not_lost():
    """ctypes prints an exception of a callback, and goes on."""
    code = """
import ctypes, os, sys, time, minidistill.cli as cli
source = "def callback(): os.kill(os.getpid(), 2); sum(range(1000))"
exec(compile(source, "/lib/llvmlite/binding/executionengine.py", "exec"))
def run():
    ctypes.CFUNCTYPE(None)(callback)()
    for _ in range(1000):
        time.sleep(0.01)
cli.main = run
"""
    command = [sys.executable, "-c", code + ENTRIES["console script"]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")


def test_the_package_and_the_entry_point_import_nothing():
    code = "import sys; before = set(sys.modules); import minidistill.__main__; print(*set(sys.modules) - before)"
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) == {"minidistill", "minidistill.__main__"}


def test_a_warning_is_one_line(folder):
    code = "import sys, warnings, minidistill.cli as cli\n" \
           "cli.main = lambda: warnings.warn('two\\nlines', stacklevel=1) or 0\n" + ENTRIES["console script"]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "minidistill: warning: two lines\n"
