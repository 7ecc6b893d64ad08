# SPDX-License-Identifier: MIT
"""A command as a process: Ctrl-C, standard input, closed streams, a full disk."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from minidistill import MLP


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="has no /dev/full")
def test_a_full_disk_is_one_clear_line(teacher, table, refusal):
    said = refusal("predict", teacher, table, "--label", "-1", "--out", "/dev/full")
    assert said == "minidistill predict: error: No space left on device"


def test_closed_streams_are_no_error(teacher, table):
    command = f"{sys.executable} -m minidistill train {table} --out x.npz --epochs 1 >&- 2>&-"
    environment = {**os.environ, "MINIDISTILL_BACKEND": "numpy"}
    assert subprocess.run(command, shell=True, env=environment, check=False).returncode == 0
    assert MLP.load("x.npz").sizes == (2, 64, 2)


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes on Linux")
def test_a_file_name_that_cannot_be_printed_is_no_error(table):
    command = [sys.executable, "-m", "minidistill", "train", table, "--epochs", "1", "--out", b"caf\xe9.npz"]
    environment = {**os.environ, "MINIDISTILL_BACKEND": "numpy"}
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert done.stdout.splitlines()[-1] == b"saved caf\\udce9.npz"
    assert os.path.exists(b"caf\xe9.npz")


def test_standard_input_is_read_whole(teacher, table):
    rows = "".join(f"{k % 2},{k}\n" for k in range(5000))
    command = [sys.executable, "-m", "minidistill", "predict", teacher, "/dev/stdin"]
    environment = {**os.environ, "MINIDISTILL_BACKEND": "numpy"}
    done = subprocess.run(command, input=rows, env=environment, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 5000


def start(*arguments, backend="numpy"):
    return subprocess.Popen(
        [sys.executable, "-m", "minidistill", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "MINIDISTILL_BACKEND": backend},
    )


@pytest.mark.parametrize("backend", ["numpy", pytest.param("cpu", marks=[pytest.mark.compiles, pytest.mark.one_width])])
def test_ctrl_c_keeps_the_best_network_so_far(folder, backend):
    train = ("train", "digits", "--hidden", "16", "--out", "x.npz", "--epochs")
    start(*train, "1", backend=backend).communicate(timeout=120)  # compiles, where that is needed
    os.unlink("x.npz")
    process = start(*train, "1000000", backend=backend)
    assert "training" in process.stderr.readline()
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "saved the best network to x.npz" in said
    assert "Traceback" not in said
    assert os.listdir() == ["x.npz"]
    assert MLP.load("x.npz").sizes == (64, 16, 10)


def test_a_reader_that_stops_reading_is_no_error(teacher, folder):
    np.savez(folder / "many.npz", x=np.zeros((50_000, 2), np.float32))
    process = start("predict", teacher, "many.npz")
    process.stdout.readline()
    process.stdout.close()
    process.wait(timeout=20)
    assert process.stderr.read() == ""
    assert process.returncode == 0
    process.stderr.close()
