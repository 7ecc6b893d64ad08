# SPDX-License-Identifier: MIT
"""A sweep finds the same points wherever they are trained, and however often it was stopped on the way."""

import json
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from minidistill import MLP, SGD, CosineSchedule, Dataset, SoftTarget, SoftTargets, digits, distill, fit, use_backend
from minidistill.cli import main
from minidistill.experiments.sweep import Point, Sweep, _sealed, sweep

GRID = {"temperatures": (1, 4), "alphas": (0.5, 0.9), "widths": (4, 8), "seeds": range(2), "epochs": 2}
POINTS = 16
TRAINING, VALIDATION = (part.take(n) for part, n in zip(digits()[0].split(1000), (150, 100), strict=True))

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")


class Narrow(SGD):
    """Trains networks of 4 hidden units; the others diverge."""

    def change(self, network, state, rate, step):
        network.gradients *= 1.0 if network.sizes[1] == 4 else np.nan
        super().change(network, state, rate, step)


@pytest.fixture(scope="module")
def teacher():
    network = MLP((64, 32, 10))
    fit(network, TRAINING, epochs=10)
    return network


class Serial(Executor):
    """Trains a point when it is handed in, and counts."""

    def __init__(self):
        self.count = 0

    def submit(self, function, *arguments):
        self.count += 1
        future = Future()
        try:
            future.set_result(function(*arguments))
        except BaseException as error:
            future.set_exception(error)
        return future


@pytest.fixture(scope="module")
def serial(teacher):
    return sweep(teacher, TRAINING, VALIDATION, executor=Serial(), **GRID)


def found(result):
    """The points but for how long they took."""
    return [(*point.setting, point.accuracy, point.agreement, point.reason) for point in result.points]


# ---------------------------------------------------------------------------------------------- points


def test_a_point_is_the_student_that_distill_gives(teacher, serial):
    student = MLP((64, 8, 10), seed=1)
    distill(teacher, student, TRAINING, SoftTarget(4, 0.9), epochs=2, seed=1)
    point = next(point for point in serial.points if point.setting == (8, 4, 0.9, 1))
    said = student.predict(VALIDATION.x)
    assert point.accuracy == np.mean(said == VALIDATION.y)
    assert point.agreement == np.mean(said == teacher.predict(VALIDATION.x))
    assert point.seconds > 0


def test_the_points_are_the_grid_in_order(serial):
    order = [(w, T, alpha, s) for w in (4, 8) for T in (1, 4) for alpha in (0.5, 0.9) for s in (0, 1)]
    assert [point.setting for point in serial.points] == order


def test_the_options_reach_the_student(teacher):
    one = {"temperatures": [2], "alphas": [0.5], "widths": [6], "seeds": [3]}
    options = {"epochs": 8, "batch_size": 50, "optimizer": SGD(CosineSchedule(0.3)), "patience": 1}
    result = sweep(
        teacher, TRAINING, VALIDATION, **one, **options, hidden_layers=2, activation="tanh", dropout=0.2,
        executor=Serial(),
    )  # fmt: skip
    student = MLP((64, 6, 6, 10), "tanh", 0.2, seed=3)
    distill(teacher, student, TRAINING, SoftTarget(2, 0.5), seed=3, validation=VALIDATION, **options)
    assert result.points[0].accuracy == np.mean(student.predict(VALIDATION.x) == VALIDATION.y)


def test_kept_answers_teach_as_the_teacher_does(teacher, serial):
    taught, asked = (SoftTargets.of(teacher.logits(data.x), data) for data in (TRAINING, VALIDATION))
    kept = sweep(taught, TRAINING, VALIDATION, validation_targets=asked, executor=Serial(), **GRID)
    assert found(kept) == found(serial)
    alone = sweep(taught, TRAINING, VALIDATION, executor=Serial(), **GRID)
    assert [point.accuracy for point in alone.points] == [point.accuracy for point in serial.points]
    assert {point.agreement for point in alone.points} == {None}


def test_answers_to_other_rows_are_refused(teacher):
    others = SoftTargets.of(teacher.logits(TRAINING.x), TRAINING)
    reordered = TRAINING.subset(np.arange(len(TRAINING))[::-1])
    with pytest.raises(ValueError, match="the same rows in another order"):
        sweep(others, reordered, VALIDATION, executor=Serial(), **GRID)


def test_no_labels_are_needed_where_alpha_is_1(teacher):
    bare = Dataset(TRAINING.x)
    sweep(teacher, bare, VALIDATION, executor=Serial(), **GRID | {"alphas": [1]})
    with pytest.raises(ValueError, match="only alpha=1 learns without labels"):
        sweep(teacher, bare, VALIDATION, executor=Serial(), **GRID)


# ---------------------------------------------------------------------------------------------- executors


@pytest.mark.parametrize("executor", ["processes:2", None])
def test_processes_find_the_same(teacher, serial, executor):
    before = dict(os.environ)
    assert found(sweep(teacher, TRAINING, VALIDATION, executor=executor, **GRID)) == found(serial)
    assert dict(os.environ) == before


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_any_executor_finds_the_same_and_stays_open(teacher, serial, pool):
    options = {"mp_context": multiprocessing.get_context("spawn")} if pool is ProcessPoolExecutor else {}
    with pool(2, **options) as executor:
        assert found(sweep(teacher, TRAINING, VALIDATION, executor=executor, **GRID)) == found(serial)
        assert executor.submit(len, "open").result() == 4


@pytest.mark.compiles
@pytest.mark.one_width
def test_compiled_kernels_find_the_same_in_every_process(teacher):
    import numba

    use_backend("cpu")
    try:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
        here = sweep(teacher, TRAINING, VALIDATION, executor=Serial(), **GRID)
        assert numba.get_num_threads() == numba.config.NUMBA_NUM_THREADS
        assert found(sweep(teacher, TRAINING, VALIDATION, executor="processes:2", **GRID)) == found(here)
        assert here.settings["backend"] == "cpu"
    finally:
        use_backend("numpy")


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    local = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": ":0"}
    with distributed.LocalCluster(protocol="tcp://", **local) as cluster:  # over sockets: all that is sent is pickled
        yield cluster


def test_dask_finds_the_same(teacher, serial, cluster):
    address = cluster.scheduler_address.replace("tcp://", "dask://")
    assert found(sweep(teacher, TRAINING, VALIDATION, executor=address, **GRID)) == found(serial)


def test_an_executor_of_dask_finds_the_same(teacher, serial, cluster):
    with cluster.get_client() as client:
        executor = client.get_executor()
        assert found(sweep(teacher, TRAINING, VALIDATION, executor=executor, **GRID)) == found(serial)


def test_a_cluster_without_workers_is_told_of(teacher, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr("minidistill.experiments.sweep.CONNECTING", 0.3)
    local = {"n_workers": 0, "processes": False, "dashboard_address": ":0", "protocol": "tcp://"}
    with distributed.LocalCluster(**local) as empty, pytest.raises(ConnectionError, match="has no workers"):
        address = empty.scheduler_address.replace("tcp://", "dask://")
        sweep(teacher, TRAINING, VALIDATION, executor=address, **GRID)


@pytest.mark.parametrize("listening", [True, False])
def test_an_address_without_a_scheduler_is_told_of_at_once(teacher, monkeypatch, listening):
    pytest.importorskip("distributed")
    monkeypatch.setattr("minidistill.experiments.sweep.CONNECTING", 0.3)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        if listening:
            mute.listen()
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        start = time.perf_counter()
        with pytest.raises(ConnectionError, match=f"no Dask scheduler answers at {address}"):
            sweep(teacher, TRAINING, VALIDATION, executor=f"dask://{address}", **GRID)
    assert time.perf_counter() - start < 5


def test_without_dask_one_is_told_how_to_get_it(teacher, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install 'minidistill\[dask\]'"):
        sweep(teacher, TRAINING, VALIDATION, executor="dask://127.0.0.1:8786", **GRID)


# ---------------------------------------------------------------------------------------------- the file


@pytest.fixture
def file(tmp_path):
    return tmp_path / "sweep.jsonl"


def test_a_larger_grid_trains_only_what_it_lacks(teacher, serial, file):
    sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **GRID | {"widths": [8], "temperatures": [4]})
    rest = Serial()
    assert found(sweep(teacher, TRAINING, VALIDATION, executor=rest, file=file, **GRID)) == found(serial)
    assert rest.count == POINTS - 4
    nobody = "dask://127.0.0.1:1"  # is asked where nothing is left to do
    assert found(sweep(teacher, TRAINING, VALIDATION, executor=nobody, file=file, **GRID)) == found(serial)


def test_every_point_is_in_the_file_before_the_next_begins(teacher, file):
    class Watching(Serial):
        def submit(self, *arguments):
            assert len(file.read_text().splitlines()) == self.count + 1 if self.count else not file.exists()
            return super().submit(*arguments)

    sweep(teacher, TRAINING, VALIDATION, executor=Watching(), file=file, **GRID)
    header, *lines = map(json.loads, file.read_text().splitlines())
    assert header["epochs"] == 2
    assert len(lines) == POINTS


@pytest.mark.parametrize("lost", [1, 20])
def test_a_half_written_last_line_is_done_again(teacher, serial, file, lost):
    sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **GRID)
    whole = file.read_bytes()
    file.write_bytes(whole[:-lost])
    again = Serial()
    assert found(sweep(teacher, TRAINING, VALIDATION, executor=again, file=file, **GRID)) == found(serial)
    assert again.count == 1
    assert [json.loads(line)["seed"] for line in file.read_text().splitlines()[1:]] == [0, 1] * (POINTS // 2)


def test_the_file_of_another_sweep_is_refused_and_left_alone(teacher, file):
    sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **GRID)
    before = file.read_bytes()
    other = MLP((64, 32, 10), seed=1)
    for difference, changed in (
        ("epochs was 2, is now 3", {**GRID, "epochs": 3}),
        ("batch_size was 32, is now 50", {**GRID, "batch_size": 50}),
        ("optimizer was SGD\\(learning_rate=0.1", {**GRID, "optimizer": SGD(0.2)}),
    ):
        with pytest.raises(ValueError, match=f"sweep.jsonl holds the points of another sweep: {difference}"):
            sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **changed)
    for name, arguments in (
        ("teacher was", (other, TRAINING, VALIDATION)),
        ("training was", (teacher, TRAINING.take(100), VALIDATION)),
        ("training was", (teacher, Dataset(TRAINING.x, np.roll(TRAINING.y, 1)), VALIDATION)),
        ("validation was", (teacher, TRAINING, VALIDATION.take(50))),
    ):
        with pytest.raises(ValueError, match=f"another sweep: {name}"):
            sweep(*arguments, executor=Serial(), file=file, **GRID)
    assert file.read_bytes() == before


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "no newline", "[]\n", '{"minidistill": "demo"}\n'])
def test_a_file_of_something_else_is_refused_and_left_alone(teacher, file, content):
    file.write_text(content)
    with pytest.raises(ValueError, match="does not hold the points of a sweep"):
        sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **GRID)
    assert file.read_text() == content


@pytest.mark.parametrize("line", ["{", "{}", '{"width": 4}', "4"])
def test_a_damaged_line_is_named(teacher, file, line):
    sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **GRID)
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:2], line, *lines[3:], ""]))
    with pytest.raises(ValueError, match=r"sweep\.jsonl is damaged: line 3 is no point of this sweep: its checksum"):
        sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **GRID)


def test_no_flipped_bit_of_a_results_file_goes_unnoticed(teacher, serial, file):
    grid = GRID | {"widths": [8], "temperatures": [4]}
    sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **grid)
    whole = file.read_bytes()
    random = np.random.default_rng(0)
    places = [8 * len(whole) - 8 + bit for bit in range(8)]  # of the last newline
    for place in [*random.choice(8 * len(whole), 600, replace=False), *places]:
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"sweep\.jsonl (is damaged: line \d|does not hold|was written|holds the)"):
            sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **grid)
        assert file.read_bytes() == damaged


def test_a_line_of_another_sweep_is_refused(teacher, file):
    grid = GRID | {"widths": [8], "temperatures": [4]}
    lines = []
    for epochs in (1, 2):
        sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **{**grid, "epochs": epochs})
        lines.append(file.read_text().splitlines(keepends=True))
        file.unlink()
    file.write_text("".join([lines[1][0], lines[0][1], *lines[1][2:]]))
    with pytest.raises(ValueError, match="line 2 is no point of this sweep"):
        sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **grid)


def test_a_file_without_checksums_of_an_earlier_version_is_refused_and_left_alone(teacher, file):
    sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **GRID)
    plain = [{k: v for k, v in json.loads(line).items() if k != "sha256"} for line in file.read_text().splitlines()]
    before = "".join(json.dumps(line) + "\n" for line in plain)
    file.write_text(before)
    with pytest.raises(ValueError, match=r"sweep\.jsonl was written by an earlier version, without checksums; give"):
        sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **GRID)
    assert file.read_text() == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"accuracy": 7}, "accuracy must be in [0, 1], got 7"),
        ({"accuracy": float("nan")}, "accuracy must be in [0, 1], got nan"),
        ({"agreement": -0.1}, "agreement must be in [0, 1], got -0.1"),
        ({"seconds": -1}, "seconds must be in [0, inf), got -1"),
        ({"seconds": "1"}, "seconds must be a number in [0, inf), got '1'"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"temperature": 0}, "temperature must be in [1e-6, 1e6), got 0"),
        ({"alpha": 2}, "alpha must be in [0, 1], got 2"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"reason": "it diverged"}, "a point has an accuracy or a reason, got 0.5 and 'it diverged'"),
        ({"accuracy": None}, "a point has an accuracy or a reason, got None and None"),
        ({"colour": "red"}, "unexpected keyword argument 'colour'"),
    ],
)
def test_figures_out_of_their_range_are_refused_whatever_the_checksum(teacher, file, change, said):
    sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **GRID)
    first, _, *rest = file.read_bytes().split(b"\n")
    absurd = _sealed({**asdict(point()), **change}, first)
    file.write_bytes(b"\n".join([first, absurd, *rest]))
    with pytest.raises(ValueError, match=re.escape(said)) as refusal:
        sweep(teacher, TRAINING, VALIDATION, executor=Serial(), file=file, **GRID)
    assert str(refusal.value).startswith(f"{file} is damaged: line 2 is no point of this sweep: ")


def test_a_place_where_no_file_can_be_is_refused_before_anything_is_trained(teacher, tmp_path):
    none = Serial()
    for place, error in ((tmp_path, IsADirectoryError), (tmp_path / "nowhere" / "x", FileNotFoundError),
                         (os.devnull, FileExistsError)):  # fmt: skip
        with pytest.raises(error, match="file: cannot"):
            sweep(teacher, TRAINING, VALIDATION, executor=none, file=place, **GRID)
    assert none.count == 0


# ---------------------------------------------------------------------------------------------- failures


def test_a_student_that_diverges_is_recorded_and_does_not_stop_the_others(teacher, file):
    grid = GRID | {"temperatures": [4], "widths": [8, 4], "optimizer": Narrow(0.1)}
    result = sweep(teacher, TRAINING, VALIDATION, executor="processes:2", file=file, **grid)
    failed, whole = result.points[:4], result.points[4:]
    assert {point.accuracy for point in failed} == {None}
    assert all("loss became nan at epoch 1" in point.reason for point in failed)
    assert all(point.accuracy > 0 and point.reason is None for point in whole)
    assert result.best().width == 4
    assert "4 of 8 students failed; the first, of width 8, T 4, alpha 0.5, seed 0: the loss became" in str(result)
    again = Serial()
    assert found(sweep(teacher, TRAINING, VALIDATION, executor=again, file=file, **grid)) == found(result)
    assert again.count == 0


def test_where_all_fail_there_is_no_best(teacher):
    result = sweep(teacher, TRAINING, VALIDATION, executor=Serial(), **GRID | {"widths": [8], "optimizer": Narrow(0.1)})
    assert result.to_dict()["best"] is None
    assert "Best" not in str(result)
    with pytest.raises(ValueError, match="no best setting"):
        result.best()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"temperatures": []}, "temperatures must hold at least one number, and none twice, got []"),
        ({"temperatures": [0]}, "temperature must be in [1e-6, 1e6), got 0"),
        ({"temperatures": 4}, "temperatures must be a list of numbers, got 4"),
        ({"alphas": "0.5"}, "alphas must be a list of numbers, got '0.5'"),
        ({"alphas": [2]}, "alpha must be in [0, 1], got 2"),
        ({"widths": [8, 8]}, "widths must hold at least one number, and none twice, got [8, 8]"),
        ({"widths": [0]}, "each of widths must be at least 1, got 0"),
        ({"widths": [10**9]}, "too many for memory"),
        ({"seeds": [-1]}, "seed must be at least 0, got -1"),
        ({"hidden_layers": 0}, "hidden_layers must be at least 1, got 0"),
        ({"activation": "step"}, "activation must be one of"),
        ({"dropout": 1}, "dropout must be in [0, 1), got 1"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"optimizer": "sgd"}, "optimizer must be an optimizer, such as SGD(CosineSchedule(0.1))"),
        ({"optimizer": SGD(lambda progress: 0.1)}, "whose schedule can be told from others"),
        ({"classes": 4}, "validation.y must be 0 to 3"),
        ({"classes": 11}, "teacher logits must have 11 columns, got shape (150, 10)"),
        ({"executor": "threads:2"}, "executor must be 'processes:N', 'dask://HOST:PORT' or a concurrent.futures"),
        ({"executor": "processes:0"}, "executor must be"),
        ({"executor": "dask://localhost"}, "executor must be"),
        ({"executor": 2}, "executor must be"),
    ],
)
def test_a_mistake_gets_one_clear_error_and_leaves_no_file(teacher, file, options, said):
    with pytest.raises((ValueError, TypeError)) as refusal:
        sweep(teacher, TRAINING, VALIDATION, file=file, **{**GRID, "executor": Serial(), **options})
    assert said in str(refusal.value)
    assert not file.exists()


@pytest.mark.parametrize(
    ("training", "validation", "said"),
    [
        (TRAINING.x, VALIDATION, "training must be a Dataset, got ndarray"),
        (TRAINING, None, "validation must be a Dataset, got NoneType"),
        (TRAINING, Dataset(VALIDATION.x), "validation must have labels"),
        (TRAINING, Dataset(VALIDATION.x[:, :9], VALIDATION.y), "validation.x must have 64 columns, got shape (100, 9)"),
    ],
)
def test_data_that_does_not_fit_is_refused(teacher, training, validation, said):
    with pytest.raises((ValueError, TypeError)) as refusal:
        sweep(teacher, training, validation, executor=Serial(), **GRID)
    assert said in str(refusal.value)


# ---------------------------------------------------------------------------------------------- what is shown


def point(width=8, T=4.0, alpha=0.5, seed=0, accuracy=0.5, reason=None):
    return Point(width, T, alpha, seed, accuracy, None if accuracy is None else 0.25, 2.0, reason)


def test_a_summary_has_mean_and_spread_over_the_seeds():
    both = Sweep([point(accuracy=0.5), point(accuracy=0.7, seed=1)], {}).summaries
    assert len(both) == 1
    assert both[0].accuracy_mean == pytest.approx(0.6, rel=1e-15)
    assert both[0].accuracy_std == pytest.approx(np.sqrt(0.02), rel=1e-12)
    assert (both[0].agreement, both[0].seconds, both[0].failed) == (0.25, 2.0, 0)


def test_the_best_is_the_narrowest_of_the_most_accurate_that_never_failed():
    lucky = [point(T=1, accuracy=0.9), point(T=1, seed=1, accuracy=None, reason="diverged")]
    result = Sweep([*lucky, point(16, accuracy=0.8), point(8, accuracy=0.8), point(4, accuracy=0.7)], {})
    assert (result.best().width, result.best().temperature) == (8, 4)
    assert result.to_dict()["best"]["width"] == 8


def test_the_table_has_a_line_a_setting():
    failed = point(T=8.0, seed=1, accuracy=None, reason="diverged")
    text = str(Sweep([point(), point(seed=1), point(T=8.0), failed], {}))
    lines = [line.split() for line in text.splitlines()]
    assert lines[1] == ["8", "4", "0.5", "50.00%", "0.00", "25.0%", "2.00"]
    assert lines[2] == ["8", "8", "0.5", "50.00%", "-", "25.0%", "2.00", "1"]
    assert "Best on the validation data, mean of 2 seeds: width 8, T 4, alpha 0.5." in text


def test_the_dictionary_is_json(serial):
    again = json.loads(json.dumps(serial.to_dict()))
    assert again == serial.to_dict()
    assert len(again["points"]) == POINTS
    assert len(again["summaries"]) == POINTS // 2


# ---------------------------------------------------------------------------------------------- stopped on the way

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
