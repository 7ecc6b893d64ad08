# SPDX-License-Identifier: MIT
"""The command line, one module per group of commands, each command's options beside its function.

    training      train, distill, sweep
    measuring     evaluate, predict, compress, gate
    formats       export, import
    experiments   demo, reproduce, leaderboard, bench
    info          info
    options       argparse types, and options that several commands share
    reading       the files that commands read
    printing      results and errors

Results go to stdout, all else to stderr. Exit status 0 for success, 2 for errors in the options or the files, 130 after
Ctrl-C; and 3 where `gate` raises an alarm. Each command imports the library when it runs, so that --help is quick.
"""

import argparse
import io
import os
import sys

from .. import __version__
from .experiments import bench, demo, leaderboard, reproduce
from .formats import export, import_
from .info import info
from .measuring import compress, evaluate, gate, predict
from .options import Parser
from .printing import error_prefix, log, message_of
from .reading import check_files
from .training import distill, sweep, train

EPILOG = """\
a first walk, from the handwriting that comes with the package to a student of your own:

  minidistill demo
  minidistill train digits --hidden 512,512 --dropout 0.3 --epochs 40 --out teacher.npz
  minidistill distill digits --teacher teacher.npz --hidden 32 --out student.npz
  minidistill evaluate student.npz digits --teacher teacher.npz
"""
COMMANDS = (  # in the order of --help
    demo, train, distill, sweep, evaluate, predict, export, import_, compress, gate, reproduce, leaderboard,
    bench, info,
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit status."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the calling process
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for file names that its encoding cannot represent
    options = command_parser().parse_args(arguments)
    try:
        check_files(options)
        if options.backend is not None:
            from ..kernels import use_backend

            with error_prefix("--backend"):
                use_backend(options.backend)
        status = options.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        log("interrupted")
        return 130
    except BrokenPipeError:  # the reader of our output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, TypeError, ArithmeticError, OSError, ImportError, MemoryError) as error:
        print(f"minidistill {options.command}: error: {message_of(error)}", file=sys.stderr)
        return 2
    return status or 0


def command_parser() -> argparse.ArgumentParser:
    """The parser of all commands and their options."""
    parser = Parser(
        prog="minidistill", epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Knowledge distillation: train a small, fast classifier on the outputs of a large, slow one, and "
                    "measure how well it agrees.",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"minidistill {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_to(commands)
    return parser
