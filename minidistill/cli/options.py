# SPDX-License-Identifier: MIT
"""How commands and options are declared: argparse types, and options that several commands share.

An argparse type names the value and what is expected of it; argparse puts the option before the message.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, Self

from ..support.intervals import bounds_of

Run = Callable[[argparse.Namespace], int | None]

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


class Option:
    """An option, or an argument without dashes; its `former` name still works, and --help does not show it."""

    def __init__(self, name: str, former: str | None = None, **keywords: Any) -> None:
        self.name, self.former, self.keywords = name, former, keywords

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        place = parser.add_argument(self.name, **self.keywords).dest
        if self.former is not None:
            hidden = {"dest": place, "default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
            parser.add_argument(self.former, **{**self.keywords, **hidden})

    @classmethod
    def data(cls, label: int | None = -1) -> tuple[Self, Self]:
        default = "-1" if label == -1 else "none, every column is an input"
        return cls("data", help=DATA_HELP), cls(
            "--label", type=column, default=label, metavar="COLUMN",
            help=f"the label's column in a CSV, by name, by number from 0 (-1 is the last), or none "
                 f"(default: {default})",
        )  # fmt: skip

    @classmethod
    def teachers(cls, required: bool = True) -> Self:
        return cls("--teacher", nargs="+", required=required, metavar="FILE",
                   help="a saved network, or several: their mean probability")  # fmt: skip

    @classmethod
    def num_seeds(cls, help: str, default: int | None = None) -> Self:
        return cls("--num-seeds", "--seeds", type=COUNT, default=default, metavar="N", help=help)

    @classmethod
    def seed(cls, help: str) -> Self:
        return cls("--seed", type=NATURAL, default=0, metavar="S", help=f"{help} (default 0)")

    @classmethod
    def figure(cls, help: str, default: str | None = "") -> Self:
        return cls("--figure", default=default, metavar="FILE", help=help)


@dataclass(frozen=True)
class Command:
    """A command that calls `run` with its options, under the name of that function."""

    run: Run
    summary: str
    description: str
    options: tuple[Option, ...]

    def add_to(self, commands: Any) -> None:
        """Adds its parser to the subparsers of argparse, whose type is private."""
        parser = commands.add_parser(
            self.run.__name__.rstrip("_"),  # import_: Python keeps the word import for itself
            help=self.summary, description=f"{self.summary}.\n\n{self.description}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        parser.set_defaults(run=self.run)
        parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")
        parser.add_argument("--backend", metavar="NAME", help="compute backend: numpy, cpu, cuda, or auto")
        for option in self.options:
            option.add_to(parser)


def command(summary: str, description: str, *options: Option) -> Callable[[Run], Command]:
    """A decorator: the function is a command."""
    return lambda run: Command(run, summary, description, options)


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
