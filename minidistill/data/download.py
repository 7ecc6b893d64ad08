# SPDX-License-Identifier: MIT
"""Files that others publish: downloaded once, and checked by the SHA-256 of their unpacked bytes.

Until a file is complete and checked, the bytes received are in a .part file beside its place. After an interruption the
next attempt requests only the rest, from the same mirror or another one.
"""

import os
import time
from contextlib import suppress
from typing import Any, NamedTuple

from ..support.checks import warn
from ..support.locks import locked
from .idx import unpacked

TIMEOUT = 30.0  # seconds without a byte, after which the next mirror is tried
SLOWEST = 1000.0  # bytes per second: below it the next mirror is tried as well,
MOST_REQUESTS = 50  # and after so many broken connections
WAIT = 600.0  # seconds for another process that downloads the same file
CHUNK = 1 << 16  # bytes: a write to the disk, and a step of the progress bar


class TooSlowError(ConnectionError):
    """A mirror sends bytes, and so few that another one is to be tried."""


class PublishedFile(NamedTuple):
    """A file with a known content. Mirrors have it gzipped, with .gz behind its name."""

    of: str  # the data set, as errors name it
    name: str
    size: int  # bytes, unpacked
    sha256: str  # of the unpacked bytes, in hexadecimal

    @property
    def most_packed(self) -> int:
        """The most bytes that a gzip of it can have, even where nothing can be compressed."""
        return self.size + self.size // 100 + 1000


def places(folder: str, name: str) -> list[str]:
    """The usual paths of the file `name` in `folder`: as it is or gzipped, its type after a dash or a dot."""
    return [os.path.join(folder, name.replace("-idx", mark) + end) for mark in ("-idx", ".idx") for end in ("", ".gz")]


def checked_content(path: str, file: PublishedFile) -> bytes:
    """The unpacked bytes of `file` at `path`, gzipped or not; ValueError if they are not those published.

    No more is unpacked than the published file has.
    """
    import hashlib  # here, as all that is imported below: the package imports faster without them

    with open(path, "rb") as packed, unpacked(packed, path) as stream:
        content: bytes = stream.read(file.size + 1)
    wanted = f"{path} is not {file.name} of {file.of} as published: wanted {file.size} bytes, unpacked,"
    if len(content) != file.size:
        raise ValueError(f"{wanted} got {len(content) if len(content) < file.size else 'more'}")
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise ValueError(f"{wanted} with SHA-256 {file.sha256}, got {found}")
    return content


def fetched(file: PublishedFile, folder: str, mirrors: tuple[str, ...], timeout: float = TIMEOUT) -> bytes:
    """The unpacked bytes of `file`, from `folder` if it is there and undamaged; else it is downloaded into that folder.

    Of several processes that call this at once, one downloads and the others wait. A terminal shows a progress bar.

    mirrors : URLs that the file's name and .gz are appended to, in the order in which they are tried.
    timeout : seconds for the connection, and for each pause of it.

    Raises OSError, naming each failure, where no mirror has the right file or the folder cannot be written.
    """
    from http.client import HTTPException
    from urllib.error import URLError

    content = _kept(file, folder)
    if content is not None:
        return content
    target = os.path.join(folder, f"{file.name}.gz")
    part = f"{target}.part"
    failures = []
    try:
        os.makedirs(folder, exist_ok=True)
        with locked(target, WAIT, lambda: warn(f"another process downloads {target}: waiting for it")):
            content = _kept(file, folder)  # another process may have downloaded it
            if content is not None:
                return content
            for mirror in mirrors:
                url = f"{mirror}{file.name}.gz"
                try:
                    content = _from_mirror(url, part, file, timeout)
                    os.replace(part, target)
                    return content
                except (OSError, HTTPException, ValueError) as error:
                    failures.append(f"{url}: {error.reason if type(error) is URLError else error}")
    except OSError as error:
        failures.append(str(error))
    raise OSError(f"cannot download {file.name}.gz of {file.of} to {folder} ({'; '.join(failures)})")


def _kept(file: PublishedFile, folder: str) -> bytes | None:
    for path in places(folder, file.name):
        with suppress(OSError, ValueError):  # missing or damaged: a download takes its place
            return checked_content(path, file)
    return None


def _from_mirror(url: str, part: str, file: PublishedFile, timeout: float) -> bytes:
    """The content of `part`, complete and checked, after several requests, of which each must add some bytes.

    What was there before may belong to another version of the file: if the result is wrong, it is deleted, and
    downloaded once more from the start.
    """
    from http.client import HTTPException

    may_start_anew = True
    for _ in range(MOST_REQUESTS):
        begun = _size(part)
        try:
            _append_rest(url, part, file, timeout)
            return checked_content(part, file)
        except TooSlowError:
            raise
        except (OSError, HTTPException):
            if _size(part) <= begun:  # no further than the last time
                raise
        except ValueError:
            os.unlink(part)
            if not (begun and may_start_anew):
                raise
            may_start_anew = False
    raise ConnectionError(f"broken off in each of {MOST_REQUESTS} requests")


def _append_rest(url: str, part: str, file: PublishedFile, timeout: float) -> None:
    """Appends to `part` what it lacks of the file at `url`; OSError if the connection breaks off before its end."""
    from tqdm import tqdm

    answer, begun = _request(url, _size(part), timeout)
    start, first = time.monotonic(), begun
    with answer, open(part, "ab") as stream:
        stream.truncate(begun)
        end = None if answer.length is None else begun + answer.length  # None where the server does not say
        if (end or 0) > file.most_packed:
            raise ValueError(f"{end} bytes are offered, and at most {file.most_packed} are plausible")
        bar = tqdm(desc=file.name, initial=begun, total=end, unit="B", unit_scale=True, leave=False, disable=None)
        with bar:  # shown on a terminal only, by disable=None
            while chunk := answer.read1(CHUNK):
                stream.write(chunk)
                stream.flush()  # a process that is killed loses none
                begun += len(chunk)
                if begun > file.most_packed:
                    raise ValueError(f"more came than the {file.most_packed} bytes that are plausible")
                bar.update(len(chunk))
                seconds = time.monotonic() - start
                if seconds > timeout and begun - first < SLOWEST * seconds:
                    raise TooSlowError(f"too slow: {begun - first} bytes in {seconds:.0f} s")
    if end is not None and begun < end:
        raise ConnectionError(f"broken off after {begun} of {end} bytes")


def _request(url: str, begin: int, timeout: float) -> tuple[Any, int]:
    """The server's response to a request for the bytes from `begin` on, and the byte with which it begins."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    headers = {"User-Agent": "minidistill"} | ({"Range": f"bytes={begin}-"} if begin else {})
    try:
        answer = urlopen(Request(url, headers=headers), timeout=timeout)  # the URLs of `mirrors`  # nosec B310
    except HTTPError as error:
        error.close()
        if begin and error.code == 416:  # it has no such bytes
            return _request(url, 0, timeout)
        raise
    return answer, begin if answer.status == 206 else 0  # 206 is a part, 200 the whole


def _size(path: str) -> int:
    return os.path.getsize(path) if os.path.exists(path) else 0
