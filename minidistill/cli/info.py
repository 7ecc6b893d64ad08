# SPDX-License-Identifier: MIT
"""The command info: machine, versions and compute backend."""

import argparse

from .. import __version__
from .options import Commands, add_command
from .printing import log, print_result


def add_info(commands: Commands) -> None:
    parser = add_command(commands, info, "print machine, versions and compute backend", """\
Machine, versions, backend, the GPU or what is missing for one, width of the vectors, threads, and the folder where
compiled kernels are kept.""")
    parser.add_argument("--compile", action="store_true", help="compile the kernels now, and not when first used")


def info(options: argparse.Namespace) -> None:
    from ..kernels import compile_kernels, describe

    if options.compile:
        log("compiling the kernels for this machine, once ...")
        compile_kernels()
    found = {"minidistill": __version__, **describe()}
    width = max(map(len, found))
    lines = (f"{name.replace('_', ' '):{width}}  {value}" for name, value in found.items())
    print_result(options, found, "\n".join(lines))
