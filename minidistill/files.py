# SPDX-License-Identifier: MIT
"""Files that are whole or not there: written beside their place and renamed, read without running any code in them."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

ZIP_MAGIC = b"PK"  # an .npz is a zip archive of .npy files


def cache_folder(parent: str = "") -> "Path":
    """Where we keep what can be made or fetched again; it need not exist yet.

    It is `minidistill` in `parent`, or else in XDG_CACHE_HOME, or else where this system keeps the caches of a user.
    """
    from pathlib import Path  # here, since it takes a third as long to import as all of this package

    usual = {"darwin": "~/Library/Caches", "win32": os.environ.get("LOCALAPPDATA") or "~/AppData/Local"}
    chosen = parent or os.environ.get("XDG_CACHE_HOME") or usual.get(sys.platform, "~/.cache")
    return Path(chosen).expanduser() / "minidistill"


def check_place(name: str, path: str | os.PathLike[str]) -> None:
    """Refuses a path where no file can be written, before the work whose result would go there."""
    folder = os.path.dirname(os.path.realpath(path))
    if os.path.isdir(path) or not os.path.basename(path):
        raise IsADirectoryError(f"{name}: cannot write {os.fspath(path)!r}: it is a folder")
    if not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
        raise FileNotFoundError(f"{name}: cannot write {path}: no folder {folder} that one may write to")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of `path` when the block ends well, and vanishes when it does not.

    A link is followed; what is no regular file, such as a pipe or /dev/null, is written to and not replaced.
    """
    import tempfile  # here, since few who import the package write files

    check_place("path", path)
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.path.isfile(target):
        with open(target, "wb") as stream:
            yield stream
        return
    folder = os.path.dirname(target)
    try:
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".minidistill-", suffix=".part")
    except OSError as error:
        raise type(error)(f"cannot write {path}: {error.strerror} ({folder})") from None
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())  # or a power cut could leave the new name with nothing in it
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp's own mode lets nobody else read
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_npz(path: str | os.PathLike[str], kind: str, arrays: dict[str, Any]) -> None:
    """Writes arrays as one .npz whose `kind` says what it is."""
    with replacing(path) as stream:
        np.savez(stream, kind=np.array(kind), **arrays)


def read_npz(path: str | os.PathLike[str], kind: str, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The named arrays of an .npz written as `kind`; ValueError for any other file, FileNotFoundError for none."""
    arrays = read_arrays(path)
    if str(arrays.get("kind")) != kind or not set(names) <= set(arrays):
        found = ", ".join(sorted(arrays)) or "nothing"
        raise ValueError(f"{path} is not a {kind} of minidistill: it holds {found}")
    return {name: arrays[name] for name in names}


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """All arrays of an .npz by name; ValueError for a file that is none or is damaged, FileNotFoundError for none."""
    import zipfile  # here, since it takes as long to import as all of this package
    import zlib

    damage = (ValueError, KeyError, EOFError, OSError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)
    with open(path, "rb") as stream:
        if stream.read(2) != ZIP_MAGIC:
            raise ValueError(f"{path} is not an .npz file")
        stream.seek(0)
        try:
            stored = np.load(stream, allow_pickle=False)
            return {name: stored[name] for name in stored.files}
        except damage as error:
            raise ValueError(f"{path} is not an .npz file, or is damaged: {error}") from None
