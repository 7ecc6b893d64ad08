# SPDX-License-Identifier: MIT
"""Locks between processes: one at a time changes a file."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO

PAUSE = 0.05  # seconds between two attempts


@contextmanager
def locked(
    path: str | os.PathLike[str], wait: float = 0.0, on_wait: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Holds a lock on the file `path`, which need not exist: a hidden empty file beside it, while the block runs.

    wait     seconds to wait for another process, or another thread, that holds it
    on_wait  called when the waiting begins

    The system releases the lock when the process ends, however it does. Raises BlockingIOError where another one still
    holds the lock after `wait`, OSError where the hidden file cannot be written.
    """
    folder, name = os.path.split(os.path.realpath(path))
    place = os.path.join(folder, f".{name}.lock")
    end = time.monotonic() + wait
    while (file := _acquired(place)) is None:
        if time.monotonic() >= end:
            raise BlockingIOError(f"{path} is in use by another process: wait for its end, or name another file")
        on_wait()
        on_wait = lambda: None  # noqa: E731
        time.sleep(PAUSE)
    with file:
        try:
            yield
        finally:
            with suppress(OSError):  # Windows removes no open file
                os.unlink(place)  # while it is held: see below


def _acquired(place: str) -> IO[bytes] | None:
    """The lock's file, open and locked; None where it is another's, or was removed by the one who held it last."""
    file = open(os.open(place, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600), "r+b")  # noqa: SIM115
    with suppress(BlockingIOError, PermissionError, FileNotFoundError):
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file.fileno()), os.stat(place)):
            return file
    file.close()
    return None
