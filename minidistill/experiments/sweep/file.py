# SPDX-License-Identifier: MIT
"""The results file of a sweep: finished points, one JSON line each, from which a stopped sweep resumes."""

import hashlib
import json
import os
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from ...support.files import check_place, check_regular, check_same_run, replacing
from ...support.locks import locked
from .point import Point, Setting


class ResultsFile:
    """Finished points and, where there is a path, their file: a line that tells the sweep from others, a line a point.

    The file begins to exist, whole, with its first point. A line is whole once its newline is there: what a run that
    was killed left of its last line is cut off before the next one is written. Each line is JSON and ends in a hash of
    itself and of the first line: a changed byte, or a line of another sweep, is refused.
    """

    def __init__(self, path: str | os.PathLike[str] | None, fingerprint: dict[str, Any]) -> None:
        self.path, self.header = path, {"minidistill": "sweep", **fingerprint}
        self.first = sealed(self.header)  # line of the file
        self.points: dict[Setting, Point] = {}
        self.length = 0  # of the whole lines, in bytes
        with ExitStack() as held:
            if path is not None:
                check_place("file", path)
                check_regular("file: cannot keep points", path)
                held.enter_context(locked(path))
                if os.path.exists(path):
                    self._read(path)
            self.lock = held.pop_all()

    def close(self) -> None:
        """Lets other sweeps use the file."""
        self.lock.close()

    def _read(self, path: str | os.PathLike[str]) -> None:
        with open(path, "r+b") as stream:  # for writing too: where that is not allowed, we hear of it now
            content = stream.read()
        if not content:
            return
        first, *lines = content.split(b"\n")
        self._check_header(first if lines else b"")
        rest = lines.pop()  # behind the last newline
        for number, line in enumerate(lines, 2):
            self._read_point(line, number)
        if unsealed(rest[:-1], first) is not None:
            raise ValueError(f"{path} is damaged: line {len(lines) + 2} is whole, but does not end in a newline")
        self.length = len(content) - len(rest)

    def _read_point(self, line: bytes, number: int) -> None:
        fields = unsealed(line, self.first)
        try:
            if fields is None:
                raise ValueError("its checksum is not that of its content")
            point = Point.of(fields)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.path} is damaged: line {number} is no point of this sweep: {error}") from None
        self.points[point.setting] = point

    def _check_header(self, first: bytes) -> None:
        found = _json(first)
        if found.get("minidistill") != "sweep":
            raise ValueError(f"{self.path} does not hold the points of a sweep; give another file")
        if SEAL not in found:
            raise ValueError(f"{self.path} was written by an earlier version, without checksums; give another file")
        if unsealed(first) is None:
            raise ValueError(f"{self.path} is damaged: line 1: its checksum is not that of its content")
        del found[SEAL]
        own = {**dict.fromkeys(found), **self.header}
        check_same_run(f"{self.path} holds the points of another sweep", found, own)

    def add(self, point: Point) -> None:
        """Keeps a point; in the file before this returns."""
        if self.path is not None:
            self._append(point)
        self.points[point.setting] = point  # last: what an interrupted sweep reports as kept is in the file

    def _append(self, point: Point) -> None:
        assert self.path is not None
        line = sealed(asdict(point), self.first) + b"\n"
        if self.length == 0:
            line = self.first + b"\n" + line
            with replacing(self.path) as stream:
                stream.write(line)
        else:
            os.truncate(self.path, self.length)  # the beginning of a line that a killed run left
            with open(self.path, "ab") as stream:
                stream.write(line)
        self.length += len(line)


SEAL = "sha256"  # the last field of each line: the beginning of the hash of the first line and of all before this field


def sealed(fields: dict[str, Any], first: bytes = b"") -> bytes:
    """A line with these fields and its seal; `first` is the first line of the file, for every other line."""
    body = json.dumps(fields).encode().removesuffix(b"}")
    return body + f', "{SEAL}": "{_seal(body, first)}"}}'.encode()


def unsealed(line: bytes, first: bytes = b"") -> dict[str, Any] | None:
    """The fields of a line; None where a byte of it was changed."""
    body, _, seal = line.rpartition(f', "{SEAL}": "'.encode())
    return _json(body + b"}") if seal == f'{_seal(body, first)}"}}'.encode() else None


def _seal(body: bytes, first: bytes) -> str:
    return hashlib.sha256(first + body).hexdigest()[:16]


def _json(line: bytes) -> dict[str, Any]:
    """The object that a line holds; an empty one where it holds none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):  # the latter for brackets in brackets
        return {}
    return found if isinstance(found, dict) else {}
