# SPDX-License-Identifier: MIT
"""kernels/ptx.py: every kernel compiles for real cards, without one, within limits; and the docs say what came out."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the compiler comes with the extra 'cuda'")
if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
    pytest.skip("the simulator compiles nothing", allow_module_level=True)
import ptx

pytestmark = pytest.mark.ptx

SINGLE = ptx.kernels(np.float32)
RESULTS = Path(__file__).parents[3] / "docs" / "evidence" / "results" / "cuda.json"


@pytest.mark.parametrize("capability", ptx.CAPABILITIES, ids=str)
@pytest.mark.parametrize("name", SINGLE)
def test_a_kernel_stays_within_its_limits(name, capability):
    found = ptx.report(*SINGLE[name], capability)
    assert found.spill_bytes == found.stack_bytes == 0
    assert found.doubles == 0
    assert 0 < found.registers <= ptx.most_registers(name)
    assert found.shared_bytes <= ptx.MOST_SHARED


@pytest.mark.parametrize("name", ["relu forward", "loss, few classes", "matmul, vectors, A @ B"])
def test_a_kernel_of_doubles_computes_in_doubles(name):
    found = ptx.report(*ptx.kernels(np.float64)[name], ptx.CAPABILITIES[0])
    assert found.doubles > 0 and found.spill_bytes == 0


@pytest.mark.parametrize("layout", ["A @ B", "A.T @ B", "A @ B.T"])
def test_large_tiles_are_read_four_numbers_at_a_time(layout):
    assert ptx.report(*SINGLE[f"matmul, vectors, {layout}"], (9, 0)).wide_loads >= 4


def test_the_docs_tell_of_every_kernel_and_of_nothing_beyond_a_limit():
    rows = json.loads(RESULTS.read_text())["kernels"]
    capabilities = {".".join(map(str, capability)) for capability in ptx.CAPABILITIES}
    assert {(row["kernel"], row["capability"]) for row in rows} == {(n, c) for n in SINGLE for c in capabilities}
    for row in rows:
        assert row["doubles"] == row["spill_bytes"] == row["stack_bytes"] == 0
        assert row["registers"] <= ptx.most_registers(row["kernel"])
