# SPDX-License-Identifier: MIT
"""What the tests of a sweep share: a teacher, its sweep in this process, and a place for a results file."""

import pytest
from sweeps import GRID, TRAINING, VALIDATION, Serial

from minidistill import MLP, fit
from minidistill.experiments.sweep import sweep


@pytest.fixture(scope="module")
def teacher():
    network = MLP((64, 32, 10))
    fit(network, TRAINING, epochs=10)
    return network


@pytest.fixture(scope="module")
def serial(teacher):
    return sweep(teacher, TRAINING, VALIDATION, executor=Serial(), **GRID)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "sweep.jsonl"
