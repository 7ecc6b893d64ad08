# SPDX-License-Identifier: MIT
"""Locks between processes: one at a time changes a file."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PAUSE = 0.05  # seconds between two attempts


@contextmanager
def locked(
    path: str | os.PathLike[str], wait: float = 0.0, on_wait: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Holds a lock on the file `path`, which need not exist; a hidden empty file beside it stays.

    wait     seconds to wait for another process, or another thread, that holds it
    on_wait  called when the waiting begins

    The system releases the lock when the process ends, however it does. Raises BlockingIOError where another one still
    holds the lock after `wait`, OSError where the hidden file cannot be written.
    """
    folder, name = os.path.split(os.path.realpath(path))
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    with open(os.open(os.path.join(folder, f".{name}.lock"), flags, 0o600), "r+b") as file:
        end = time.monotonic() + wait
        while not _acquired(file.fileno()):
            if time.monotonic() >= end:
                raise BlockingIOError(f"{path} is in use by another process: wait for its end, or name another file")
            on_wait()
            on_wait = lambda: None  # noqa: E731
            time.sleep(PAUSE)
        yield


def _acquired(descriptor: int) -> bool:
    """Whether this process has the lock now."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # of Linux and macOS, of Windows
        return False
    return True
