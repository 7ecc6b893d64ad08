# SPDX-License-Identifier: MIT
"""Processes of our own share what they were given, hand back what they found, and end when we do."""

import os
import subprocess
import sys
import time

import pytest

from minidistill.support.processes import own_processes


def add(shared, *numbers):
    return shared + sum(numbers)


def process(shared):
    return os.getpid(), os.environ["OPENBLAS_NUM_THREADS"]


def fail(shared):
    raise ValueError(f"no {shared}")


def sleep(shared, seconds):
    time.sleep(seconds)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_each_call_gets_what_is_shared_and_its_own_arguments():
    with own_processes(1, 10) as submit:
        futures = [submit(add), submit(add, 1), submit(add, 1, 2)]
        assert [future.result() for future in futures] == [10, 11, 13]


def test_they_are_other_processes_on_one_thread_each_and_end_with_the_block():
    with own_processes(1, None) as submit:
        pid, threads = submit(process).result()
        assert pid != os.getpid()
        assert threads == "1"
    assert not is_alive(pid)


def test_what_goes_wrong_there_is_raised_here():
    with own_processes(1, "luck") as submit, pytest.raises(ValueError, match="no luck"):
        submit(fail).result()


def test_a_worker_whose_owner_stopped_before_it_began_prints_nothing(tmp_path):
    code = "import multiprocessing as m; from minidistill.support.processes import _start_worker\n" \
           f"reading, writing = m.Pipe(duplex=False); _start_worker({str(tmp_path / 'gone')!r}, reading)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")


def test_an_error_here_ends_them_in_the_midst_of_their_work():
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), own_processes(1, None) as submit:
        pid, _ = submit(process).result()
        submit(sleep, 60)
        raise KeyboardInterrupt
    assert time.monotonic() - start < 30
    assert not is_alive(pid)


PLANTED = ("numpy", "multiprocessing", "pickle", "signal", "json", "runpy", "minidistill")
STARTS = """\
import subprocess
from minidistill.support.processes import own_processes, python_running

def add(shared, number):
    return shared + number

if __name__ == "__main__":
    with own_processes(1, 1) as submit:
        assert submit(add, 2).result() == 3
    subprocess.run(python_running("minidistill.support.text"), check=True)
"""


def test_processes_import_nothing_from_the_working_folder(tmp_path):
    folder, script = tmp_path / "downloads", tmp_path / "script.py"
    folder.mkdir()
    script.write_text(STARTS)
    for name in PLANTED:
        (folder / f"{name}.py").write_text(f"open('ran-{name}', 'w')")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    subprocess.run([sys.executable, script], cwd=folder, env=environment, check=True)
    assert list(folder.glob("ran-*")) == []
