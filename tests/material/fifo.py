# SPDX-License-Identifier: MIT
"""A file that can be read once and only forward, as /dev/stdin or a process substitution is."""

import os
import threading
from contextlib import contextmanager, suppress


@contextmanager
def through_a_pipe(path, content):
    """A FIFO at `path` into which a thread writes the content once."""
    os.mkfifo(path)

    def write():
        with suppress(BrokenPipeError), open(path, "wb") as stream:  # a reader may have seen enough
            stream.write(content)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield path
    finally:
        with suppress(OSError):  # where nothing was read, the writer waits for a reader
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        thread.join()
