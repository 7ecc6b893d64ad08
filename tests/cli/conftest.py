# SPDX-License-Identifier: MIT
"""Files and mistakes that the tests of several commands share."""

import os

import numpy as np
import pytest

from minidistill.cli import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def table(folder):
    """Two clouds of 40 points each, in columns of very different scale, as a CSV with a header."""
    random = np.random.default_rng(0)
    y = np.arange(80) % 2
    x = np.stack([y + 0.2 * random.standard_normal(80), 1000 * random.standard_normal(80)], axis=1)
    rows = [f"{a},{b},{label}" for (a, b), label in zip(x, y, strict=True)]
    (folder / "clouds.csv").write_text("small,large,cloud\n" + "\n".join(rows) + "\n")
    return "clouds.csv"


@pytest.fixture
def teacher(table, capsys):
    assert main(["train", table, "--hidden", "32,32", "--epochs", "20", "--out", "teacher.npz"]) == 0
    capsys.readouterr()
    return "teacher.npz"


@pytest.fixture
def pictures(folder):
    """Sixty images of 6x6, a bright pixel each near an upper or a lower corner, on a dark ground of value 3."""
    y = np.arange(60) % 2
    x = np.full((60, 36), 3.0, np.float32)
    x[np.arange(60), np.where(y == 0, 7, 28)] = 90 + np.arange(60)
    np.savez(folder / "pictures.npz", x=x, y=y)
    return "pictures.npz"


@pytest.fixture
def refusal(capsys):
    """A function that runs a mistaken command and returns its last line on stderr.

    The status is 2, nothing is on stdout, and no file is left half-written.
    """

    def run(*arguments):
        before = set(os.listdir())
        capsys.readouterr()
        try:
            status = main(list(arguments))
        except SystemExit as stop:  # argparse's own way to refuse an option
            status = stop.code
        said = capsys.readouterr()
        assert status == 2
        assert said.out == ""
        assert "Traceback" not in said.err
        assert "usage:" not in said.err
        assert set(os.listdir()) == before
        return said.err.splitlines()[-1]

    return run
