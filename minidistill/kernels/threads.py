# SPDX-License-Identifier: MIT
"""How many threads a kernel runs on, and which kernels may run at the same time.

numba releases the interpreter's lock inside a parallel loop, so kernels called by several Python threads overlap there.
Two of its threading layers restrict that:

    workqueue   ends the process where two Python threads are in parallel loops at once: kernels then run one by one
    OpenMP      ends a forked child at its first parallel loop: a forked child runs every kernel on one thread

Results have the same bits for any number of threads.
"""

import functools
import os
import threading
import warnings
import weakref

import numba
from numba.core import config

_forked = False
_counts = weakref.WeakValueDictionary()  # id: array whose first number is a count of threads
_one_by_one = threading.RLock()


def usable_threads():
    """The number of threads for a kernel that Python calls now: numba's, and 1 in a forked child."""
    return 1 if _forked else numba.get_num_threads()


def count_in_memory(array):
    """Registers an array whose first number is a count of threads, so that a forked child sets it to 1."""
    _counts[id(array)] = array
    return array


def _in_forked_child():
    global _forked, _one_by_one
    _forked, _one_by_one = True, threading.RLock()  # a thread that the child does not have may hold the old one
    for array in list(_counts.values()):
        array[0] = 1


def exclusive(kernel):
    """`kernel`, with a lock that all wrapped kernels share: one call runs at a time."""

    @functools.wraps(kernel)
    def one_call(*arguments):
        with _one_by_one:
            return kernel(*arguments)

    return one_call


def _start():
    """Starts numba's threads; where the layer that NUMBA_THREADING_LAYER names can't start, its default one."""
    try:
        numba.get_num_threads()
    except ValueError as error:
        reason = " ".join(str(error).split())
        warnings.warn(
            f"NUMBA_THREADING_LAYER={config.THREADING_LAYER} cannot be used, numba's default layer is used instead: "
            f"{reason}", RuntimeWarning, stacklevel=2,
        )  # fmt: skip
        config.THREADING_LAYER, config.THREADING_LAYER_PRIORITY = "default", ["tbb", "omp", "workqueue"]
        numba.get_num_threads()


_start()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)

guarded = exclusive if numba.threading_layer() == "workqueue" else lambda kernel: kernel
