# SPDX-License-Identifier: MIT
"""What commands print: results to stdout, as text or as JSON; progress and errors, one per line, to stderr."""

import argparse
import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def log(line: str) -> None:
    """Prints a line of progress."""
    print(line, file=sys.stderr, flush=True)


def print_result(options: argparse.Namespace, result: dict[str, Any], text: str) -> None:
    """Prints `result` with --json, `text` without."""
    print(json.dumps(_without_nan(result)) if options.json else text)


def print_report(options: argparse.Namespace, report: Any) -> None:
    """Prints a report, by its to_dict() or str(), and saves its plot where the command has a --figure and it is set."""
    print_result(options, report.to_dict(), str(report))
    if figure := getattr(options, "figure", ""):
        report.plot(figure)
        log(f"saved {figure}")


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: what was not measured is null."""
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def error_prefix(option: str) -> Iterator[None]:
    """Puts the option before the message of an error that its value causes."""
    try:
        yield
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(f"{option}: {message_of(error)}") from None


def message_of(error: BaseException) -> str:
    """The message of an error in one line, without the number of an OSError."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.strerror}: {error.filename}"
    return " ".join(str(error).split()) or type(error).__name__
