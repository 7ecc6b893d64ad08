# SPDX-License-Identifier: MIT
"""A lock keeps other processes, and other holders in this one, from a file until it is released."""

import os
import subprocess
import sys
import threading
import time

import pytest

from minidistill.support.locks import locked

HOLD = """\
import sys, time
from minidistill.support.locks import locked
with locked(sys.argv[1]):
    print(flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "file"], stdout=subprocess.PIPE)
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def test_a_file_that_another_process_holds_is_refused_until_it_ends(tmp_path, holder):
    with pytest.raises(BlockingIOError, match="file is in use by another process"), locked(tmp_path / "file"):
        pass
    with locked(tmp_path / "another file"):
        pass
    holder.kill()
    holder.wait()
    with locked(tmp_path / "file"):
        pass


def test_waiting_is_announced_once_and_ends_with_the_other_process(tmp_path, holder):
    waits = []
    threading.Timer(0.3, holder.kill).start()
    with locked(tmp_path / "file", wait=60, on_wait=lambda: waits.append(time.monotonic())):
        assert len(waits) == 1


def test_holders_in_one_process_exclude_each_other_and_a_link_is_the_same_file(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with (
        locked(tmp_path / "file"),
        pytest.raises(BlockingIOError),
        locked(tmp_path / "link", wait=0.1),
    ):
        pass
    assert os.listdir(tmp_path) == ["link"]


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="this system follows links")
def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path):
    (tmp_path / ".file.lock").symlink_to(tmp_path / "made by the lock")
    with pytest.raises(OSError, match="lock"), locked(tmp_path / "file"):
        pass
    assert not (tmp_path / "made by the lock").exists()
