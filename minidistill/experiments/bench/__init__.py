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
import platform
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import median
from typing import Any

from ...support.processes import python_running, usable_cores
from ...support.text import plural
from .cases import Adapter, Group, LossGradient, Training, Work
from .groups import GROUPS, left_out
from .machine import OUT_OF_CACHE, SGEMM_CASE, SGEMM_SIZE, copy_peak, environment, processor, sgemm_peak, versions
from .ours import product
from .result import SGEMM, Bench, shares_of_peak, with_ratios
from .timing import BUDGET, QUICK_BUDGET, check_equal, interleaved

PEAKS = ("sgemm_gflops", "copy_gb_per_s", "cores_available")  # in the order of the result
MANY_OPERATIONS = 1e8  # a step: from here on, networks come near that speed


def run_bench(quick: bool = False, log: Callable[[str], None] = lambda line: None) -> Bench:
    """Measures on one thread and on all cores, `quick` on one thread and small cases only; `log` receives each case.

    ArithmeticError where two libraries disagree on a result.
    """
    cores = usable_cores()
    found = {threads: _in_process(threads, quick, log) for threads in ([1] if quick else sorted({1, cores}))}
    rows = with_ratios([row for part in found.values() for row in part["rows"]])
    machine = {
        "command": f"minidistill bench{' --quick' if quick else ''}",
        "processor": processor(),
        "cores": cores,
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions(),
        **{name: {str(threads): part[name] for threads, part in found.items()} for name in PEAKS},
        "share_of_peak": shares_of_peak(rows),
        "missing": {library: why for part in found.values() for library, why in part["missing"].items()},
    }
    return Bench(machine, rows)


def _in_process(threads: int, quick: bool, log: Callable[[str], None]) -> dict[str, Any]:
    """What `measure` finds in a process of its own, which ends with us whatever happens."""
    command = [*python_running("minidistill.experiments.bench"), str(threads), *["quick"] * quick]
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
                works[SGEMM] = product(SGEMM_CASE, threads)
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
