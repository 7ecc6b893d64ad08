# SPDX-License-Identifier: MIT
"""Files that are whole or not there: written beside their place and renamed, read without running any code in them."""

import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of `path` when the block ends well, and vanishes when it does not."""
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {target}: it is a folder")
    try:
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    except OSError as error:
        raise type(error)(f"cannot write {target}: {error.strerror} ({target.parent})") from None
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
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
    try:
        with np.load(path, allow_pickle=False) as stored:
            if not isinstance(stored, np.lib.npyio.NpzFile):
                raise ValueError("it holds a single array")
            if str(stored.get("kind")) != kind:
                raise ValueError(f"it holds {', '.join(sorted(stored)) or 'nothing'}")
            return {name: stored[name] for name in names}
    except FileNotFoundError:
        raise FileNotFoundError(f"no such file: {path}") from None
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"{path} is not a {kind} of minidistill, or is damaged: {error}") from None
