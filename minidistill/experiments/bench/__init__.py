# SPDX-License-Identifier: MIT
"""The laptop benchmark: the same work, done by minidistill and by the libraries that people would use instead.

    cases    the work, and what an adapter returns
    ours, torch_adapter, jax_adapter, sklearn_adapter    each library's way of doing it
    groups   which libraries do which cases
    timing   results compared first; then the libraries take turns, round after round, and the median counts
    machine  its peaks, versions and threads
    result   timings, tables, a figure

Each number of threads has a process of its own: most libraries read the number once, when they are imported.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from statistics import median
from typing import Any

from ...support.processes import usable_cores
from ...support.text import plural
from .cases import Adapter, Group, LossGradient, Training, Work
from .groups import GROUPS, left_out
from .machine import OUT_OF_CACHE, SGEMM_SIZE, copy_peak, environment, processor, sgemm, sgemm_peak, versions
from .result import SGEMM, Bench, shares_of_peak, with_ratios
from .timing import BUDGET, QUICK_BUDGET, check_equal, interleaved

MANY_OPERATIONS = 1e8  # a step: from here on, networks come near that speed


def run_bench(quick: bool = False, log: Callable[[str], None] = lambda line: None) -> Bench:
    """Measures on one thread and on all cores, `quick` on one thread and small cases only; `log` receives each case.

    ArithmeticError where two libraries disagree on a result.
    """
    cores = usable_cores()
    found = {threads: _in_process(threads, quick, log) for threads in ([1] if quick else sorted({1, cores}))}
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
        "cores_available": {str(threads): part["cores_available"] for threads, part in found.items()},
        "share_of_peak": shares_of_peak(rows),
        "missing": {library: why for part in found.values() for library, why in part["missing"].items()},
    }
    return Bench(machine, rows)


def _in_process(threads: int, quick: bool, log: Callable[[str], None]) -> dict[str, Any]:
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
                log(message["log"])
        finally:
            process.kill()
    raise ChildProcessError(f"measuring with {plural(threads, 'thread')} ended early; why, it has said above")


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
        tell(found=measure(threads, quick, lambda line: tell(log=line)))
    except ArithmeticError as error:
        tell(error=str(error))
    except KeyboardInterrupt:
        return 130
    return 0


def measure(
    threads: int, quick: bool, log: Callable[[str], None], groups: Mapping[str, Group] = GROUPS
) -> dict[str, Any]:
    """Measures all groups in this process: rows without ratios, this machine's peaks, and what is missing and why."""
    found: dict[str, Any] = {"rows": [], "missing": {}, "copy_gb_per_s": copy_peak(threads)}
    peaks, shares = [], []
    for group, (cases, few, adapters) in groups.items():
        peak, cores = sgemm_peak()
        peaks.append(peak)
        shares.append(cores / threads)
        for case in map(replace, few if quick else cases):  # a copy, with which its arrays go
            log(f"{group}, {case}, {plural(threads, 'thread')} ...")
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
    return found | {"sgemm_gflops": max(peaks), "cores_available": median(shares)}


def prepare(case: Any, adapters: Mapping[str, Adapter], threads: int, missing: dict[str, str]) -> dict[str, Work]:
    """The work of each library, run once. Those that cannot are left out, and `missing` tells why."""
    works: dict[str, Work] = {}
    for library, adapter in adapters.items():
        try:
            work = adapter(case, threads)
            work.run()
        except ImportError as error:
            missing[library] = f"{error.name} is not installed" if error.name else str(error)
        except Exception as error:  # torch.compile without a C++ compiler; an error of ours is raised
            if library in ("NumPy", "minidistill"):
                raise
            missing[library] = f"{type(error).__name__}: {error}".splitlines()[0]
        else:
            works[library] = work
    return works
