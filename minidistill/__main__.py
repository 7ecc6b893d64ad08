# SPDX-License-Identifier: MIT
"""The entry point of `minidistill` and of `python -m minidistill`.

Ctrl-C ends both without a traceback, also during imports and while Python ends. This file and the package therefore
import nothing at first. An interrupt before the first line here, during the start of Python, is not handled.
"""

import sys

TYPE_CHECKING = False  # True to type checkers

if TYPE_CHECKING:
    from types import FrameType

INTERRUPTED = 130  # the exit status after Ctrl-C, as in a shell: 128 and the number of the signal
IMPORT = "<frozen importlib._bootstrap>"  # the file of the functions that import a module
AGAIN = 0.1  # seconds until an interrupt is repeated


def main() -> int:
    """Runs the command of this process and returns its exit status."""
    try:
        import signal

        unless_ignored = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if unless_ignored:
            signal.signal(signal.SIGINT, _interrupt)
        import warnings

        from .cli import main as run

        warnings.formatwarning = _warning
        status = run()
        if unless_ignored:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # from here on it ends the process at once
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


def _interrupt(number: int, frame: "FrameType | None") -> None:
    """KeyboardInterrupt, except where C code would lose it: in an import the process ends, in LLVM it comes later."""
    import os

    while frame is not None:
        if frame.f_code.co_filename == IMPORT:
            os.write(2, b"interrupted\n")
            os._exit(INTERRUPTED)
        if "llvmlite" in frame.f_code.co_filename:  # perhaps a callback: ctypes prints its exceptions and ignores them
            import _thread
            import threading

            threading.Timer(AGAIN, _thread.interrupt_main).start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def _warning(message: object, category: object, filename: str, lineno: int, line: str | None = None) -> str:
    """A warning as one line, without the place in the source: users of the command line do not need it."""
    return f"minidistill: warning: {' '.join(str(message).split())}\n"


if __name__ == "__main__":
    sys.exit(main())
