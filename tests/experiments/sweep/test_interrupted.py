# SPDX-License-Identifier: MIT
"""A sweep that was stopped or killed resumes with the same points."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sweeps import GRID, TRAINING, VALIDATION

from minidistill import Dataset
from minidistill.cli import main
from minidistill.experiments.sweep import sweep

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")

COMMAND = [
    "sweep", "digits", "--teacher", "teacher.npz", "--widths", "8", "--temperatures", "4", "--alphas", "0.5",
    "--seeds", "8", "--epochs", "10", "--executor", "processes:2", "--results", "sweep.jsonl", "--json",
]  # fmt: skip
STUDENTS = 8


@pytest.fixture
def folder(teacher, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    teacher.save("teacher.npz")
    os.mkdir("temporary")
    return tmp_path


def start():
    return subprocess.Popen(
        [sys.executable, "-m", "minidistill", *COMMAND], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True, env={**os.environ, "MINIDISTILL_BACKEND": "numpy", "TMPDIR": "temporary"},
    )  # fmt: skip


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def lines():
    return Path("sweep.jsonl").read_bytes().count(b"\n") if Path("sweep.jsonl").exists() else 0


def workers_of(process):
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [Path("/proc", child) for child in children if b"spawn_main" in Path("/proc", child, "cmdline").read_bytes()]


def ended(worker):
    try:
        return (worker / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def started():
    """A sweep that has finished a point, and its two workers."""
    process = start()
    wait_until(lambda: lines() >= 2)
    workers = workers_of(process)
    assert len(workers) == 2
    return process, workers


@pytest.fixture(scope="module")
def whole(teacher, tmp_path_factory):
    """The points of the sweep that nobody stops."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("whole"))
        teacher.save("teacher.npz")
        return points_of_the_command()


def points_of_the_command():
    assert main(COMMAND) == 0
    points = map(json.loads, Path("sweep.jsonl").read_text().splitlines()[1:])
    return sorted((point["seed"], point["accuracy"], point["agreement"]) for point in points)


def goes_on(whole):
    """Nothing was left behind but points, and the same command ends with those of the sweep that nobody stopped."""
    assert os.listdir("temporary") == []
    assert 1 <= lines() - 1 < STUDENTS
    assert points_of_the_command() == whole


@linux
def test_a_sweep_that_was_killed_goes_on_where_it_was(folder, whole):
    process, workers = started()
    process.kill()
    process.communicate()
    wait_until(lambda: all(map(ended, workers)), 10)
    with open("sweep.jsonl", "a") as stream:
        stream.write('{"width": 8, "tempera')
    goes_on(whole)


@linux
@pytest.mark.parametrize("to_all", [True, False])
def test_ctrl_c_ends_the_workers_and_keeps_what_is_finished(folder, whole, to_all):
    process, workers = started()
    (os.killpg if to_all else os.kill)(process.pid, signal.SIGINT)
    said_out, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said_out == ""
    assert said.splitlines()[1:] == [
        f"stopped; {lines() - 1} of {STUDENTS} points are finished and kept in sweep.jsonl", "interrupted",
    ]  # fmt: skip
    assert all(map(ended, workers))
    goes_on(whole)


@linux
def test_a_worker_that_dies_gives_one_clear_error(folder, whole):
    process, workers = started()
    os.kill(int(workers[0].name), signal.SIGKILL)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 2
    assert len(said.splitlines()) == 2
    assert "error: workers were lost: BrokenProcessPool(" in said
    assert f"{lines() - 1} of {STUDENTS} points are finished and kept in sweep.jsonl" in said
    wait_until(lambda: all(map(ended, workers)), 10)
    goes_on(whole)


@linux
def test_each_worker_has_one_thread(folder):
    process, workers = started()
    for worker in workers:
        assert b"OPENBLAS_NUM_THREADS=1\0" in (worker / "environ").read_bytes()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert all(map(ended, workers))


def test_a_script_that_its_own_workers_run_again_is_told_of(folder):
    Path("script.py").write_text(
        "from minidistill import MLP, digits\n"
        "from minidistill.experiments.sweep import sweep\n"
        "sweep(MLP.load('teacher.npz'), *digits(), epochs=1)\n"
    )
    environment = {**os.environ, "MINIDISTILL_BACKEND": "numpy"}
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "ChildProcessError: workers were lost" in done.stderr
    assert 'below `if __name__ == "__main__":`' in done.stderr


def test_a_warning_is_given_once_and_not_by_each_worker(teacher, capfd):
    data = Dataset(1600 * TRAINING.x, TRAINING.y)
    with pytest.warns(UserWarning, match="accuracy|scaled") as found:
        sweep(lambda x: teacher.logits(x / 1600)[:, ::-1], data, VALIDATION, executor="processes:2", **GRID)
    accuracy, scale = found
    assert "the teacher's accuracy on the labeled rows" in str(accuracy.message)
    assert "the inputs are badly scaled" in str(scale.message)
    assert {warning.filename for warning in found} == {__file__}
    assert "Warning" not in capfd.readouterr().err
