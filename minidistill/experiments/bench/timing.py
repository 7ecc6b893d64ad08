# SPDX-License-Identifier: MIT
"""Timing that is fair: equal results first; then the libraries take turns, each turn after the process is idle."""

import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from timeit import repeat, timeit
from typing import Any

import numpy as np

from .cases import Work

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
            turn = partial(timeit, work.run, timer=clock, number=repeats[library])
            (settle or wait_until_idle)()
            turn()
            if work.reset:
                work.reset()
            times[library].append(turn() / repeats[library])
    return times


def _repeats(work: Work, clock: Callable[[], float]) -> int:
    """How many runs make a turn. One, where each has to be undone: such work is long enough of itself."""
    if work.reset or (seconds := best(work.run, 1, clock)) > TURN:
        return 1
    return math.ceil(TURN / max(min(seconds, best(work.run, 3, clock)), 1e-9))


def best(run: Callable[[], Any], repeats: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of the fastest of some runs."""
    return min(repeat(run, timer=clock, repeat=repeats, number=1))


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
