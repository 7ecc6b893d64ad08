# SPDX-License-Identifier: MIT
"""Two processes on one file lose nothing and mix nothing, or the second is refused."""

import pytest
import state_files

ROUNDS = 10
KINDS = ("gate", "sweep", "checkpoint", "download", pytest.param("kernels", marks=pytest.mark.compiles))


@pytest.mark.filterwarnings("ignore:another process downloads:UserWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_on_one_file_leave_it_whole(kind, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert state_files.broken_rounds(kind, ROUNDS) == 0
