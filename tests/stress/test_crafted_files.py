# SPDX-License-Identifier: MIT
"""Fifty small files that claim gigabytes are refused in little memory, with errors that name them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "crafted_files.py"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is read as Linux shows it")
def test_crafted_files_are_refused_within_100_megabytes():
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=True)
    count, wrong, megabytes = json.loads(done.stdout)
    assert count >= 50
    assert wrong == []
    assert megabytes < 100
