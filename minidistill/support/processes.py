# SPDX-License-Identifier: MIT
"""Processes of our own: for work in many parts that use one core each, and share a lot of data."""

import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS",
         "NPROC")  # fmt: skip  (the last is JAX's)

Submit = Callable[..., "Future[Any]"]


def usable_cores() -> int:
    """Of the machine's cores, those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def python_running(module: str) -> list[str]:
    """The command that runs `module` in a new process, which imports from where this one does.

    Without more it would look in the working folder first, and run a numpy.py that it finds there.
    """
    code = f"import runpy, sys; sys.path[:] = {sys.path!r}; runpy.run_module({module!r}, run_name='__main__')"
    return [sys.executable, "-P", "-c", code]


@contextmanager
def own_processes(count: int, shared: Any) -> Iterator[Submit]:
    """`count` processes, each with a copy of `shared`; hands out a function that runs another on one of them.

    submit(function, *arguments) is the future of function(shared, *arguments), on one thread.

    The processes are started afresh ("spawn": threads do not survive a fork). What they share is in a file, which each
    reads once: a start for which a pipe is too small never returns where the process ends early.

    They hold the reading end of a pipe. When its writing end closes they end at once, in the midst of their work: we
    close it where we stop early, and the system does where we are killed.
    """
    context = multiprocessing.get_context("spawn")
    reading, writing = context.Pipe(duplex=False)
    descriptor, path = tempfile.mkstemp(prefix="minidistill-")
    with _inherited():  # its semaphores start a process that looks after them
        pool = ProcessPoolExecutor(count, context, _start_worker, (path, reading))

    def submit(function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        with _inherited():
            return pool.submit(_run_here, function, arguments)  # starts a process, while there are fewer than `count`

    try:
        with os.fdopen(descriptor, "wb") as stream:
            pickle.dump(shared, stream)
        yield submit
    except BaseException:
        writing.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        writing.close()
        reading.close()
        with suppress(FileNotFoundError):  # a worker that ended early has removed it
            os.unlink(path)


@contextmanager
def _inherited() -> Iterator[None]:
    """Settings of the processes that start in the block: one thread for each library, no imports from the working
    folder, and Ctrl-C ignored, which this process handles.

    They must hold before the first line of a process runs: NumPy reads the number of threads when it is imported.
    """
    settings = dict.fromkeys((*POOLS, "PYTHONSAFEPATH"), "1")
    before = {name: os.environ[name] for name in settings if name in os.environ}
    os.environ.update(settings)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]) if hasattr(signal, "pthread_sigmask") else None
    try:
        yield
    finally:
        for name in settings:
            del os.environ[name]
        os.environ.update(before)
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


_shared: Any = None  # of this process, where it is a worker


def _start_worker(path: str, reading: Connection) -> None:
    global _shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be inherited
    threading.Thread(target=_end_with, args=(path, reading), daemon=True).start()
    try:
        with open(path, "rb") as stream:
            _shared = pickle.load(stream)  # written by the process that started this one, mode 0600  # nosec B301
    except FileNotFoundError:
        os._exit(1)  # its owner has stopped since, and removed it


def _end_with(path: str, reading: Connection) -> None:
    with suppress(OSError, EOFError):
        reading.poll(None)  # nothing is ever written: this ends when the other end is closed
    with suppress(OSError):
        os.unlink(path)  # its owner was killed, perhaps
    os._exit(1)


def _run_here(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return function(_shared, *arguments)
