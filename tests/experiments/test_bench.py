# SPDX-License-Identifier: MIT
"""The benchmark is fair and tells the truth: nothing here depends on how fast this machine is."""

import importlib.util
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from minidistill.experiments import bench
from minidistill.experiments.bench import Bench, measure, ours, prepare
from minidistill.experiments.bench.cases import Forward, Group, LossGradient, Product, SoftTarget, Training, Work
from minidistill.experiments.bench.groups import GROUPS
from minidistill.experiments.bench.machine import SGEMM_SIZE, environment
from minidistill.experiments.bench.result import SGEMM, shares_of_peak, with_ratios
from minidistill.experiments.bench.timing import TURN, check_equal, interleaved, wait_until_idle

ROOT = Path(__file__).parents[2]
CASE = Product(2, 3, 4)
KEYS = ["group", "case", "threads", "library", "seconds", "ratio_to_minidistill"]
INSTALLED = {
    "PyTorch": "torch", "jax.jit": "jax", "jax scan": "jax", "scikit-learn": "sklearn", "onnxruntime": "onnxruntime",
    "minidistill": "numba",
}  # fmt: skip


def work(*arrays):
    return Work(lambda: None, lambda: [np.asarray(a, np.float32) for a in arrays])


class Clock:
    """A clock that only the works move."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def work(self, seconds, reset=None):
        durations = itertools.cycle(seconds)

        def run():
            self.now += next(durations)

        return Work(run, list, reset)


# ---------------------------------------------------------------------------------------------- equal results


@pytest.mark.parametrize("other", [[1, 2, 3.1], [1, 2, np.nan], [1, 2, np.inf], [3, 2, 1], [1, 2], [[1, 2, 3]]])
def test_another_result_is_refused(other):
    with pytest.raises(ArithmeticError, match=r"other and NumPy disagree on \(2,3\) @ \(3,4\)"):
        check_equal(CASE, {"NumPy": work([1, 2, 3]), "other": work(other)})


def test_rounding_is_not_another_result():
    check_equal(CASE, {"NumPy": work([1, 2, 3]), "other": work([1.00001, 2, 3])})


def test_every_array_of_a_result_counts_and_none_may_lack():
    with pytest.raises(ArithmeticError):
        check_equal(CASE, {"NumPy": work([1], [2]), "other": work([1], [2.1])})
    with pytest.raises(ValueError, match="shorter"):
        check_equal(CASE, {"NumPy": work([1], [2]), "other": work([1])})


@pytest.mark.parametrize(("name", "value"), [("MOMENTUM", 0.8), ("RATE", 0.012), ("SOFT", SoftTarget(3.5, 0.5))])
def test_another_way_of_training_is_refused(monkeypatch, name, value):
    case = Training((5, 4, 3), 8, steps=4, distil=True)
    works = {"NumPy": ours.numpy_training(case, 1)}
    works["NumPy"].run()
    before = works["NumPy"].result()
    monkeypatch.setattr(ours, name, value)
    works["other"] = ours.numpy_training(case, 1)
    works["other"].run()
    works["NumPy"] = works["NumPy"]._replace(result=lambda: before)
    with pytest.raises(ArithmeticError):
        check_equal(case, works)


# ---------------------------------------------------------------------------------------------- times


def test_a_turn_is_the_mean_of_its_runs_and_there_is_one_a_round():
    clock = Clock()
    works = {"short": clock.work([0.001]), "long": clock.work([0.3])}
    times = interleaved(works, rounds=5, budget=1e9, clock=clock, settle=lambda: None)
    assert {library: len(found) for library, found in times.items()} == {"short": 5, "long": 5}
    assert np.allclose(times["short"], 0.001)
    assert np.allclose(times["long"], 0.3)


def test_the_libraries_take_turns_and_each_is_warm_before_it_is_timed():
    clock, turns = Clock(), []
    works = {name: Work(lambda name=name: turns.append(name), list, lambda: None) for name in "abc"}
    interleaved(works, rounds=3, budget=1e9, clock=clock, settle=lambda: turns.append("-"))
    assert "".join(turns) == "-aa-bb-cc" * 3


def test_what_a_library_needs_to_warm_up_is_not_timed():
    clock = Clock()
    times = interleaved({"a": clock.work([7.0, 2.0], lambda: None)}, rounds=3, budget=1e9, clock=clock, settle=int)
    assert np.allclose(times["a"], 2.0)


def test_short_work_is_repeated_and_work_with_a_reset_is_not():
    clock, runs, resets = Clock(), [], []

    def run():
        runs.append(clock.now)
        clock.now += TURN / 10

    interleaved({"a": Work(run, list)}, rounds=1, clock=clock, settle=lambda: None)
    assert len(runs) in (4 + 2 * 10, 4 + 2 * 11)  # the first four tell how long it takes
    runs.clear()
    interleaved({"a": Work(run, list, lambda: resets.append(1))}, rounds=4, clock=clock, settle=lambda: None)
    assert len(runs) == 2 * len(resets) == 8


def test_neither_reset_nor_settling_is_timed():
    clock = Clock()

    def waste():
        clock.now += 100

    times = interleaved({"a": clock.work([0.5], waste)}, rounds=3, budget=1e9, clock=clock, settle=waste)
    assert np.allclose(times["a"], 0.5)


def test_a_slow_case_ends_after_three_rounds():
    clock = Clock()
    times = interleaved({"a": clock.work([100.0])}, rounds=11, budget=1, clock=clock, settle=lambda: None)
    assert len(times["a"]) == 3


def test_the_median_is_told_of_one_step(monkeypatch):
    monkeypatch.setattr(bench, "interleaved", lambda works, budget: {"NumPy": [9.0, 1.0, 2.0]})
    case = Training((3, 4, 2), 4, steps=4)
    rows = measure(1, False, str, {"g": Group([case], [], {"NumPy": ours.numpy_training})})["rows"]
    assert rows == [["g", "3-4-2, batch 4", 1, "NumPy", 0.5]]


def test_we_wait_until_the_process_is_idle_but_not_for_ever(monkeypatch):
    slept, used = [], iter([0, 0.005, 0.005, 0.01, 0.01, 0.01])
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "process_time", lambda: next(used))
    wait_until_idle()
    assert len(slept) == 3
    busy = itertools.count()
    monkeypatch.setattr(time, "process_time", lambda: next(busy))
    wait_until_idle()
    assert sum(slept[3:]) < 0.3


# ---------------------------------------------------------------------------------------------- libraries


def adapter_that_raises(error):
    def adapter(case, threads):
        raise error

    return adapter


def test_missing_libraries_are_left_out_and_named():
    missing = {}
    adapters = {
        "NumPy": ours.product,
        "absent": adapter_that_raises(ModuleNotFoundError("No module named 'torch'", name="torch")),
        "broken": adapter_that_raises(RuntimeError("no C++ compiler\nand a long story")),
    }
    assert list(prepare(CASE, adapters, 1, missing)) == ["NumPy"]
    assert missing == {"absent": "torch is not installed", "broken": "RuntimeError: no C++ compiler"}


@pytest.mark.parametrize("library", ["NumPy", "minidistill"])
def test_our_own_errors_are_not_swallowed(library):
    with pytest.raises(RuntimeError, match="ours"):
        prepare(CASE, {library: adapter_that_raises(RuntimeError("ours"))}, 1, {})


SMALL_CASES = [
    ("training step", Training((6, 5, 4, 3), 8, steps=3)),
    ("distillation step", Training((6, 5, 3), 8, steps=3, distil=True)),
    ("loss and gradient", LossGradient(7, 5)),
    ("forward", Forward((64, 32, 10), 3)),
    ("matrix product", Product(7, 9, 5)),
]


@pytest.mark.compiles
@pytest.mark.one_width
@pytest.mark.filterwarnings("default")  # of other people's libraries
@pytest.mark.parametrize(("group", "case"), SMALL_CASES, ids=lambda part: str(part))
def test_every_library_that_is_here_does_the_same_work(group, case):
    slow_to_compile = ["torch.compile", "register blocked", "packed", *["minidistill"] * isinstance(case, Product)]
    left_out = [*slow_to_compile, "minidistill, card"]  # numba-cuda may be here without a card
    adapters = {n: a for n, a in GROUPS[group].adapters.items() if n not in left_out}
    missing = {}
    works = prepare(case, adapters, 1, missing)
    for library in missing:
        assert importlib.util.find_spec(INSTALLED.get(library, "numba")) is None, missing
    for w in works.values():
        if w.reset:  # all begin alike again
            w.reset()
            w.run()
    check_equal(case, works)


def test_the_reset_undoes_all_that_a_run_did():
    case = Training((6, 5, 3), 8, steps=3)
    for w in prepare(case, {"NumPy": ours.numpy_training, "minidistill": ours.minidistill_training}, 1, {}).values():
        first = w.result()[0].copy()
        w.run()
        assert not np.array_equal(w.result()[0], first)
        w.reset()
        w.run()
        assert np.array_equal(w.result()[0], first)


def test_the_ladder_is_whole():
    matmul = pytest.importorskip("minidistill.kernels.cpu.matmul", exc_type=ImportError)
    shown = {name.replace(" ", "_") for name in GROUPS["matrix product"].adapters}
    assert shown - {"minidistill", "NumPy"} == {rung.__name__ for rung in matmul.LADDER} - {"threaded"}


def test_the_operations_of_a_step_are_counted():
    assert Training((3, 5, 2), batch=7, steps=1).flops == 2 * 7 * (2 * 3 * 5 + 3 * 5 * 2)


# ---------------------------------------------------------------------------------------------- process and result


def test_each_process_has_its_threads_and_nothing_that_slows_openblas(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    one, two = environment(1), environment(2)
    assert "OPENBLAS_CORETYPE" not in one
    assert (one["OMP_NUM_THREADS"], two["NUMBA_NUM_THREADS"]) == ("1", "2")
    assert "multi_thread_eigen=false" in one["XLA_FLAGS"]
    assert "multi_thread_eigen" not in two.get("XLA_FLAGS", "")


ROWS = [
    ["training step", "784-800-800-10, batch 128", 1, "minidistill", 0.004],
    ["training step", "784-800-800-10, batch 128", 1, "NumPy", 0.006],
    ["training step", "784-800-800-10, batch 128", 1, SGEMM, 0.003],
    ["training step", "784-800-800-10, batch 128", 2, "NumPy", 0.003],
    ["loss and gradient", "128 x 10", 1, "minidistill", 1e-6],
]


@pytest.fixture
def found():
    rows = with_ratios(ROWS)
    peaks = {"1": 250.0, "2": 500.0}
    machine = {
        "processor": "a processor", "cores": 2, "system": "a system", "versions": {"python": "3"},
        "sgemm_gflops": peaks, "copy_gb_per_s": {"1": 10.0, "2": 12.0}, "cores_available": {"1": 0.99, "2": 0.6},
        "missing": {"jax.jit": "jax is not installed"},
        "share_of_peak": shares_of_peak(rows),
    }  # fmt: skip
    return Bench(machine, rows)


def test_ratios_are_to_minidistill_of_the_same_case_and_threads(found):
    assert [row.ratio_to_minidistill for row in found.rows] == [1.0, 1.5, 0.75, None, 1.0]


def test_the_share_of_the_peak_is_measured_in_turn_with_it(found):
    assert found.machine["share_of_peak"] == {"784-800-800-10, batch 128": {"1": 0.75}}


@pytest.mark.parametrize(("sizes", "large"), [((6, 5, 3), False), ((700, 700, 3), True)])
def test_large_networks_are_measured_beside_sgemm(sizes, large, monkeypatch):
    monkeypatch.setattr(bench, "interleaved", lambda works, **_: {name: [0.5] for name in works})
    group = Group([Training(sizes, 128, steps=2)], [], {"NumPy": lambda case, threads: work([1.0])})
    rows = {row[3]: row[4] for row in measure(1, False, lambda line: None, {"training step": group})["rows"]}
    expected = 0.5 * group.cases[0].flops / (2 * SGEMM_SIZE**3)
    assert rows == {"NumPy": 0.25} | ({SGEMM: pytest.approx(expected)} if large else {})


def test_the_json_has_the_promised_keys(found):
    again = json.loads(json.dumps(found.to_dict()))
    assert list(again) == ["machine", "rows"]
    assert all(list(row) == KEYS for row in again["rows"])


def test_the_text_has_the_tables_the_machine_and_what_is_left_out(found):
    text = str(found)
    assert "4,000 (1.00x)" in text
    assert "6,000 (1.50x)" in text
    assert "2 threads" in text
    assert "sgemm 250 GFLOP/s" in text
    assert text.count("other programs were at work") == 1
    assert "had 60%" in text
    assert "left out: jax.jit, for jax is not installed" in text


def test_the_figure_is_saved(found, tmp_path):
    pytest.importorskip("matplotlib")
    found.plot(tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def child(monkeypatch, code):
    """Has `run_bench` start this code instead of the measuring process."""
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **rest: popen([sys.executable, "-c", code], **rest))


FOUND = {"rows": ROWS[:2], "missing": {}, "sgemm_gflops": 100.0, "copy_gb_per_s": 10.0, "cores_available": 1.0}


def test_quick_runs_one_process_of_one_thread(monkeypatch):
    code = f"import json; print(json.dumps({{'log': 'hello'}})); print(json.dumps({{'found': {FOUND!r}}}))"
    child(monkeypatch, code)
    said = []
    result = bench.run_bench(quick=True, log=said.append)
    assert said == ["hello"]
    assert [row.library for row in result.rows] == ["minidistill", "NumPy"]
    assert list(result.machine["sgemm_gflops"]) == ["1"]
    assert result.machine["versions"]["numpy"] == np.__version__


def test_a_disagreement_in_the_process_is_told_here(monkeypatch):
    child(monkeypatch, """print('{"error": "a and b disagree"}')""")
    with pytest.raises(ArithmeticError, match="a and b disagree"):
        bench.run_bench(quick=True)


def test_a_process_that_dies_is_an_error(monkeypatch):
    child(monkeypatch, "raise SystemExit(1)")
    with pytest.raises(OSError, match="ended early"):
        bench.run_bench(quick=True)


def test_no_process_outlives_an_interruption(monkeypatch):
    child(monkeypatch, """import os, time; print('{"log": %d}' % os.getpid(), flush=True); time.sleep(60)""")
    pids = []

    def log(pid):
        pids.append(pid)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.run_bench(quick=True, log=log)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_the_process_itself_ends_quietly_on_ctrl_c():
    command = [sys.executable, "-m", "minidistill.experiments.bench", "1", "quick"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(1), cwd=ROOT
    ) as process:
        process.stdout.readline()  # it has begun
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_the_module_imports_no_other_library():
    others = {"torch", "jax", "sklearn", "numba"}
    code = f"import sys, minidistill.experiments.bench; print(sorted({others} & {{*sys.modules}}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"


def test_the_readme_table_has_each_library_once_a_network(found):
    import quote_results
    text = quote_results.bench_table(found.to_dict())
    assert "| µs a step, 1 thread | minidistill | NumPy |" in text
    assert "| 784-800-800-10, batch 128 | 4,000 | 6,000 (1.5x) |" in text
    assert "| 784-800-800-10, batch 128 | 3,000 |" in text  # no ratio where minidistill is missing
    assert "Not there: jax.jit" in text
