# SPDX-License-Identifier: MIT
"""How commands and options are declared: argparse types, and options that several commands share.

An argparse type names the value and what is expected of it; argparse puts the option before the message.
"""

import argparse
import math
from collections.abc import Callable
from typing import Any, NoReturn

from ..support.intervals import bounds_of

Commands = Any  # the subparsers of argparse, whose type is private

DATA_HELP = """\
a CSV file (one row a line, its last column the label, a whole number from 0), an NPZ file with arrays x (N,I) and
y (N,), or a pipe with the content of either, such as /dev/stdin; or a word: digits for the handwriting that comes with
the package, mnist or fashion-mnist for 70,000 images, from a folder that MINIDISTILL_DATA names, or downloaded once
"""
MODEL_HELP = "a saved network, of floats or quantized"


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage of the command, which --help prints."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())} (see {self.prog} --help)\n")

    def add_renamed(self, new: str, old: str, **keywords: Any) -> None:
        """Adds the option `new`, and its former spelling `old`, which still works and which --help does not show."""
        name = self.add_argument(new, **keywords).dest
        self.add_argument(old, dest=name, **{**keywords, "default": argparse.SUPPRESS, "help": argparse.SUPPRESS})

    def add_data(self, label: int | None = -1) -> None:
        default = "-1" if label == -1 else "none, every column is an input"
        self.add_argument("data", help=DATA_HELP)
        self.add_argument("--label", type=column, default=label, metavar="COLUMN",
                          help=f"the label's column in a CSV, by name, by number from 0 (-1 is the last), or none "
                               f"(default: {default})")  # fmt: skip

    def add_teachers(self, required: bool = True) -> None:
        self.add_argument("--teacher", nargs="+", required=required, metavar="FILE",
                          help="a saved network, or several: their mean probability")  # fmt: skip

    def add_num_seeds(self, help: str, default: int | None = None) -> None:
        self.add_renamed("--num-seeds", "--seeds", type=COUNT, default=default, metavar="N", help=help)

    def add_seed(self, help: str) -> None:
        self.add_argument("--seed", type=NATURAL, default=0, metavar="S", help=f"{help} (default 0)")

    def add_figure(self, help: str, default: str | None = "") -> None:
        self.add_argument("--figure", default=default, metavar="FILE", help=help)


def add_command(commands: Commands, run: Any, summary: str, description: str) -> Parser:
    """The parser of a command that calls `run` with its options, under the name of that function."""
    parser: Parser = commands.add_parser(
        run.__name__.rstrip("_"),  # import_: Python keeps the word import for itself
        help=summary, description=f"{summary}.\n\n{description}", formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")
    parser.add_argument("--backend", metavar="NAME", help="compute backend: numpy, cpu, cuda, or auto")
    return parser


def whole(minimum: int) -> Callable[[str], int]:
    """The argparse type of a whole number from `minimum`, below 2^63."""

    def read(text: str) -> int:
        if not text.isdecimal() or len(text) > 19 or not minimum <= int(text) < 2**63:
            raise argparse.ArgumentTypeError(f"must be a whole number from {minimum}, below 2^63, got {text!r}")
        return int(text)

    return read


def number(interval: str) -> Callable[[str], float]:
    """The argparse type of a finite number in `interval`, as in `check_number`."""
    low, high = bounds_of(interval)

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and low <= value <= high):
            raise argparse.ArgumentTypeError(f"must be a number in {interval}, got {text!r}")
        return value

    return read


def numbers(interval: str) -> Callable[[str], tuple[float, ...]]:
    """The argparse type of several numbers in `interval`, such as 1,2.5."""
    read_one = number(interval)

    def read(text: str) -> tuple[float, ...]:
        try:
            return tuple(map(read_one, text.split(",")))
        except argparse.ArgumentTypeError:
            raise argparse.ArgumentTypeError(
                f"must be numbers in {interval} separated by commas, as in 0.5,0.9, got {text!r}"
            ) from None

    return read


def widths(text: str) -> tuple[int, ...]:
    """'512,512' as (512, 512); the empty text is a network without hidden layers."""
    parts = text.split(",") if text else []
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"widths must be whole numbers parted by commas, as in 512,512, got {text!r}")
    return tuple(map(int, parts))


def column(text: str) -> str | int | None:
    """A column by name or number; None for the word none."""
    if text == "none":
        return None
    try:
        return int(text)
    except ValueError:
        return text


COUNT, NATURAL = whole(1), whole(0)
TEMPERATURES = "[1e-6, 1e6)"  # as in checks.py, which imports NumPy
