# SPDX-License-Identifier: MIT
"""The laptop benchmark: the same work, done by minidistill and by the libraries that people would use instead.

peers.py has the work and each library's way of doing it. This file makes the comparison a fair one, from top to bottom:

    1  measuring     results compared first; then the libraries take turns, round after round, and the median counts
    2  a process     for each number of threads, which most libraries read once, when they are imported
    3  the result    rows, tables, a figure
"""

import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib import import_module, metadata
from statistics import median
from typing import Any

import numpy as np

from ...support.processes import POOLS, usable_cores
from ...support.text import aligned, plural
from .adapters import GROUPS, Adapter, Group, LossGradient, Training, Work, left_out, normal

# ---------------------------------------------------------------------------------------------- 1  measuring

ROUNDS = 11            # turns of each library in a case
BUDGET = 10.0          # seconds after which a case begins no further round, once it has had three
QUICK_BUDGET = 1.5
TURN = 0.01            # seconds: short work is repeated within a turn until it lasts about that long


def check_equal(case: Any, works: Mapping[str, Work], reference: str = "NumPy") -> None:
    """ArithmeticError where the result of a library is not that of the reference: then it did not do the same work."""
    wanted = works[reference].result()
    for library, work in works.items():
        for want, got in zip(wanted, work.result(), strict=True):
            got, want = np.asarray(got), np.asarray(want)
            if got.shape != want.shape:
                raise ArithmeticError(f"{library} and {reference} disagree on {case}: {got.shape}, not {want.shape}")
            difference = float(np.linalg.norm(got - want) / np.linalg.norm(want))
            if not difference < case.tolerance:  # nor is NaN
                raise ArithmeticError(f"{library} and {reference} disagree on {case}: they differ by {difference:.1g}")


def interleaved(
    works: Mapping[str, Work],
    rounds: int = ROUNDS,
    budget: float = BUDGET,
    clock: Callable[[], float] = time.perf_counter,
    settle: Callable[[], None] | None = None,
) -> dict[str, list[float]]:
    """Seconds that a run of each library took, one figure a round.

    Taking turns, they all meet whatever else the machine does meanwhile. A turn begins with runs that are not timed:
    they wake the library's threads and fill the caches with its data, as the steps before do in the middle of training.
    """
    begin, times = clock(), {library: list[float]() for library in works}
    repeats = {library: _repeats(work, clock) for library, work in works.items()}
    for k in range(rounds):
        if k >= 3 and clock() - begin > budget:
            break
        for library, work in works.items():
            (settle or wait_until_idle)()
            for _ in range(repeats[library]):
                work.run()
            if work.reset:
                work.reset()
            start = clock()
            for _ in range(repeats[library]):
                work.run()
            times[library].append((clock() - start) / repeats[library])
    return times


def _repeats(work: Work, clock: Callable[[], float]) -> int:
    """How many runs make a turn. One, where each has to be undone: such work is long enough of itself."""
    if work.reset or (seconds := best(work.run, 1, clock)) > TURN:
        return 1
    return math.ceil(TURN / max(min(seconds, best(work.run, 3, clock)), 1e-9))


def best(run: Callable[[], Any], repeats: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of the fastest of some runs."""

    def seconds() -> float:
        start = clock()
        run()
        return clock() - start

    return min(seconds() for _ in range(repeats))


def wait_until_idle() -> None:
    """Returns when no thread of this process works any more, or after a quarter of a second.

    A pool of threads that has done its part does not sleep at once. It spins in the hope of more, those of libgomp,
    OpenBLAS and ONNX Runtime for some 5 to 10 ms, and takes a core from the library whose turn is next. To make all
    pools sleep at once (OMP_WAIT_POLICY=passive) would not be fair: each product of theirs would begin by waking them.
    """
    for _ in range(50):
        used = time.process_time()
        time.sleep(0.005)
        if time.process_time() - used < 0.0005:
            return


# ---------------------------------------------------------------------------------------------- 2  a process

SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # where set, OpenBLAS does without what the processor has


def environment(threads: int) -> dict[str, str]:
    """Of a process in which every library works on that many threads, and at its best."""
    own = dict.fromkeys(POOLS, str(threads)) | {"JAX_PLATFORMS": "cpu"}
    own["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # no pool of compilers beside what is measured
    if threads == 1:
        own["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    return {name: value for name, value in os.environ.items() if name not in SLOWING} | own


def main(arguments: Sequence[str]) -> int:
    """`python -m minidistill.experiments.bench THREADS [quick]` measures in this process and prints lines of JSON."""
    threads, quick = int(arguments[0]), "quick" in arguments
    stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not for our reader

    def tell(**message: Any) -> None:
        print(json.dumps(message), file=stdout, flush=True)

    with suppress(ImportError):
        import_module("torch").set_num_threads(threads)
    try:
        tell(found=measure(threads, quick, lambda line: tell(say=line)))
    except ArithmeticError as error:
        tell(error=str(error))
    except KeyboardInterrupt:
        return 130
    return 0


def measure(
    threads: int, quick: bool, say: Callable[[str], None], groups: Mapping[str, Group] = GROUPS
) -> dict[str, Any]:
    """Measures all groups in this process: rows without ratios, this machine's peaks, and what is missing and why."""
    found: dict[str, Any] = {"rows": [], "missing": {}, "copy_gb_per_s": copy_peak(threads)}
    peaks, shares = [], []
    for group, (cases, few, adapters) in groups.items():
        peak, cores = sgemm_peak()
        peaks.append(peak)
        shares.append(cores / threads)
        for case in map(replace, few if quick else cases):  # a copy, with which its arrays go
            say(f"{group}, {case}, {plural(threads, 'thread')} ...")
            chosen = {name: adapter for name, adapter in adapters.items() if not left_out(case, name, threads, quick)}
            works = prepare(case, chosen, threads, found["missing"])
            check_equal(case, works)
            near_peak = isinstance(case, Training) and case.flops > MANY_OPERATIONS
            if near_peak:
                works[SGEMM] = sgemm(SGEMM_SIZE)
            times = interleaved(works, budget=QUICK_BUDGET if quick else BUDGET)
            seconds = {library: median(figures) / case.steps for library, figures in times.items()}
            if near_peak:
                seconds[SGEMM] = median(times[SGEMM]) * case.flops / (2 * SGEMM_SIZE**3)
            if isinstance(case, LossGradient) and case.data.t.nbytes > OUT_OF_CACHE:
                seconds["memory bound"] = 3e-9 * case.data.t.nbytes / found["copy_gb_per_s"]  # reads s and t, writes ds
            found["rows"] += [[group, str(case), threads, library, each] for library, each in seconds.items()]
    return found | {"sgemm_gflops": max(peaks), "cores_had": median(shares)}


def prepare(case: Any, adapters: Mapping[str, Adapter], threads: int, missing: dict[str, str]) -> dict[str, Work]:
    """The work of each library, run once. Those that cannot are left out, and `missing` tells why."""
    works: dict[str, Work] = {}
    for library, adapter in adapters.items():
        try:
            work = adapter(case, threads)
            work.run()
        except ImportError as error:
            missing[library] = f"{error.name} is not installed" if error.name else str(error)
        except Exception as error:  # torch.compile without a C++ compiler; but our own trouble is nobody's secret
            if library in ("NumPy", "minidistill"):
                raise
            missing[library] = f"{type(error).__name__}: {error}".splitlines()[0]
        else:
            works[library] = work
    return works


SGEMM = "products as sgemm"  # what the products of a step would take at the speed that BLAS has on large matrices
SGEMM_SIZE = 1536
MANY_OPERATIONS = 1e8  # a step: from here on, networks come near that speed


def sgemm(n: int) -> Work:
    """A product of two large matrices, by NumPy's BLAS."""
    A, B, C = normal(n, n), normal(n, n), np.empty((n, n), np.float32)
    return Work(lambda: np.matmul(A, B, out=C), lambda: [C])


def sgemm_peak(n: int = SGEMM_SIZE, repeats: int = 8) -> tuple[float, float]:
    """GFLOP/s of NumPy's BLAS on large matrices, the best of some tries; and how many cores it had meanwhile."""
    work = sgemm(n)
    used, start = time.process_time(), time.perf_counter()
    seconds = best(work.run, repeats)
    return 2e-9 * n**3 / seconds, (time.process_time() - used) / (time.perf_counter() - start)


OUT_OF_CACHE = 1 << 26  # bytes
QUIET = 0.9             # of the cores; with less, threads wait for each other, in some libraries far longer


def copy_peak(threads: int, repeats: int = 8) -> float:
    """GB/s, read and written, of copying more than a cache holds, a part on each thread; the best of some tries."""
    target, source = np.zeros(OUT_OF_CACHE, np.uint8), np.ones(OUT_OF_CACHE, np.uint8)
    parts = np.array_split(target, threads), np.array_split(source, threads)
    with ThreadPoolExecutor(threads) as pool:
        return 2e-9 * OUT_OF_CACHE / best(lambda: list(pool.map(np.copyto, *parts)), repeats)


# ---------------------------------------------------------------------------------------------- 3  the result


@dataclass(frozen=True)
class Row:
    """One library's time for a case; of one step, where the case is to train."""

    group: str
    case: str
    threads: int
    library: str
    seconds: float
    ratio_to_minidistill: float | None  # None where minidistill's own kernels are missing


@dataclass(frozen=True)
class Bench:
    """What `run_bench` found."""

    machine: dict[str, Any]
    rows: list[Row]

    def to_dict(self) -> dict[str, Any]:
        return {"machine": self.machine, "rows": [asdict(row) for row in self.rows]}

    def __str__(self) -> str:
        groups = dict.fromkeys((row.group, row.threads) for row in self.rows)
        return "\n\n".join([*(self._table(*group) for group in groups), self._about()])

    def _table(self, group: str, threads: int) -> str:
        rows = {(row.library, row.case): row for row in self.rows if (row.group, row.threads) == (group, threads)}
        libraries, cases = (list(dict.fromkeys(names)) for names in zip(*rows, strict=True))
        table = [["", *cases], *([name, *(_cell(rows.get((name, case))) for case in cases)] for name in libraries)]
        title = f"{group}, {plural(threads, 'thread')}: microseconds (and how many times minidistill's)"
        return f"{title}\n{aligned(table)}"

    def _about(self) -> str:
        about, lines = self.machine, [f"{self.machine['processor']}, {plural(self.machine['cores'], 'core')}"]
        for threads, peak in about["sgemm_gflops"].items():
            copied = about["copy_gb_per_s"][threads]
            lines.append(f"{plural(int(threads), 'thread')}: sgemm {peak:.0f} GFLOP/s, copying {copied:.1f} GB/s")
            if (had := about["cores_had"][threads]) < QUIET:
                lines.append(f"  do not trust these: other programs were at work, this one had {had:.0%} of its cores")
            for case, share in about["share_of_peak"].items():
                if threads in share:
                    lines.append(f"  of sgemm in turn with it, minidistill reaches {share[threads]:.0%} on {case}")
        lines += [f"left out: {library}, for {why}" for library, why in about["missing"].items()]
        return "\n".join([*lines, ", ".join(f"{name} {version}" for name, version in about["versions"].items())])

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Training steps, a panel for each number of threads, as a matplotlib figure; saved where a path is given."""
        from ...support.figures import ALONE, DISTILLED, INK, TEACHER, new_figure, save, titled

        steps = [row for row in self.rows if row.group == "training step" and row.library != SGEMM]
        rows = [row for row in steps if row.ratio_to_minidistill is not None]
        cases, libraries = list(dict.fromkeys(r.case for r in rows)), list(dict.fromkeys(r.library for r in rows))
        counts = sorted({row.threads for row in rows})
        figure, axes = new_figure(columns=max(1, len(counts)), width=1.5 + 1.1 * len(cases), height=3.6)
        colours = dict(zip(libraries, (DISTILLED, TEACHER, ALONE, "#edae49", "#66a182", "#8d96a3", INK), strict=False))
        for ax, threads in zip(axes[0], counts, strict=True):
            for k, library in enumerate(libraries):
                shown = [row for row in rows if (row.threads, row.library) == (threads, library)]
                places = [cases.index(row.case) + 0.8 * (k + 0.5) / len(libraries) - 0.4 for row in shown]
                ratios = [row.ratio_to_minidistill for row in shown]
                ax.bar(places, ratios, 0.8 / len(libraries), color=colours.get(library), label=library)
            ax.axhline(1, color=INK, linewidth=0.8)
            ax.set_xticks(range(len(cases)), [case.replace(", ", "\n") for case in cases], fontsize=7)
            titled(ax, f"Training step, {plural(threads, 'thread')}", yscale="log", ylabel="times minidistill's")
        axes[0, -1].legend(frameon=False, fontsize=7)
        return save(figure, path)


def _cell(row: Row | None) -> str:
    if row is None:
        return "-"
    time = 1e6 * row.seconds
    shown = f"{time:,.0f}" if time >= 100 else f"{time:.3g}"
    return shown if row.ratio_to_minidistill is None else f"{shown} ({row.ratio_to_minidistill:.2f}x)"


def run_bench(quick: bool = False, say: Callable[[str], None] = lambda line: None) -> Bench:
    """Measures on one thread and on all cores, `quick` on one thread and small cases only; `say` hears of each case.

    ArithmeticError where two libraries disagree on a result.
    """
    cores = usable_cores()
    found = {threads: _in_process(threads, quick, say) for threads in ([1] if quick else sorted({1, cores}))}
    rows = with_ratios([row for part in found.values() for row in part["rows"]])
    peaks = {str(threads): part["sgemm_gflops"] for threads, part in found.items()}
    machine = {
        "command": f"minidistill bench{' --quick' if quick else ''}",
        "processor": processor(),
        "cores": cores,
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions(),
        "sgemm_gflops": peaks,
        "copy_gb_per_s": {str(threads): part["copy_gb_per_s"] for threads, part in found.items()},
        "cores_had": {str(threads): part["cores_had"] for threads, part in found.items()},
        "share_of_peak": shares_of_peak(rows),
        "missing": {library: why for part in found.values() for library, why in part["missing"].items()},
    }
    return Bench(machine, rows)


def _in_process(threads: int, quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """What `measure` finds in a process of its own, which ends with us whatever happens."""
    command = [sys.executable, "-m", "minidistill.experiments.bench", str(threads), *["quick"] * quick]
    with subprocess.Popen(command, env=environment(threads), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                message = json.loads(line)
                if "found" in message:
                    return dict(message["found"])
                if "error" in message:
                    raise ArithmeticError(message["error"])
                say(message["say"])
        finally:
            process.kill()
    raise ChildProcessError(f"measuring with {plural(threads, 'thread')} ended early; why, it has said above")


def with_ratios(rows: Sequence[Sequence[Any]]) -> list[Row]:
    ours = {tuple(key): seconds for *key, library, seconds in rows if library == "minidistill"}
    result = []
    for group, case, threads, library, seconds in rows:
        own = ours.get((group, case, threads))
        result.append(Row(group, case, threads, library, seconds, seconds / own if own else None))
    return result


def shares_of_peak(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """How much of sgemm's speed, measured in turn with it, minidistill's training reaches on large networks."""
    shares = dict[str, dict[str, float]]()
    for row in rows:
        if (row.group, row.library) == ("training step", SGEMM) and row.ratio_to_minidistill is not None:
            shares.setdefault(row.case, {})[str(row.threads)] = row.ratio_to_minidistill
    return shares


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    with suppress(OSError, StopIteration), open("/proc/cpuinfo") as lines:
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("numpy", "numba", "torch", "jax", "scikit-learn", "onnxruntime"):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
