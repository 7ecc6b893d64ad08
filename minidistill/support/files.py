# SPDX-License-Identifier: MIT
"""Files that are whole or not there: written beside their place and renamed, read without running any code in them."""

import io
import math
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from .text import excerpt

if TYPE_CHECKING:
    from pathlib import Path

WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
ZIP_MAGIC = b"PK"  # an .npz is a zip archive of .npy files
UNPACKED_FREELY = 2**26  # bytes of arrays that a file of any size may hold,
MOST_UNPACKING = 100     # and how many more for each byte of the file


def cache_folder(parent: str = "") -> "Path":
    """Where we keep what can be made or fetched again; it need not exist yet.

    It is `minidistill` in `parent`, or else in XDG_CACHE_HOME, or else where this system keeps the caches of a user.
    Raises FileNotFoundError where that would be in the home directory of a user who has none.
    """
    from pathlib import Path  # here, since it takes a third as long to import as all of this package

    usual = {"darwin": "~/Library/Caches", "win32": os.environ.get("LOCALAPPDATA") or "~/AppData/Local"}
    chosen = parent or os.environ.get("XDG_CACHE_HOME") or usual.get(sys.platform, "~/.cache")
    try:
        return Path(chosen).expanduser() / "minidistill"
    except RuntimeError:  # neither HOME nor an entry in passwd
        reason = f"there is no home directory for {chosen}: set XDG_CACHE_HOME to a folder for caches"
        raise FileNotFoundError(reason) from None


def check_regular(name: str, path: str | os.PathLike[str]) -> None:
    """Refuses a pipe or a device where a file is to be read and written again."""
    if _is_pipe_or_device(path):
        raise FileExistsError(f"{name}: expected a regular file, got a pipe or a device: {path}")


def check_place(name: str, path: str | os.PathLike[str]) -> None:
    """Refuses a path where no file can be written, before the work whose result would go there."""
    if _is_pipe_or_device(path):
        return
    folder = os.path.dirname(os.path.realpath(path))
    if os.path.isdir(path) or not os.path.basename(path):
        raise IsADirectoryError(f"{name}: cannot write {os.fspath(path)!r}: it is a folder")
    if not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
        raise FileNotFoundError(f"{name}: cannot write {path}: no folder {folder} that one may write to")
    if os.path.exists(path) and not os.stat(path).st_mode & WRITABLE:  # which is no obstacle to renaming, nor to root
        raise PermissionError(f"{name}: cannot write {path}: it is read-only")
    if os.path.islink(path) and hasattr(os, "geteuid") and os.lstat(path).st_uid not in (0, os.geteuid()):
        where = os.path.realpath(path)
        raise PermissionError(f"{name}: cannot write {path}: it is a link that another user made, to {where}")


def _is_pipe_or_device(path: str | os.PathLike[str]) -> bool:
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def check_apart(outputs: Sequence[tuple[str, str]], inputs: Iterable[tuple[str, str]] = ()) -> None:
    """Refuses an output file that is one of the inputs, or another output; each is a pair of a name and a path.

    Links are followed. Where the file system ignores case, so does the comparison of files that exist. Devices and
    pipes are not compared: /dev/null may stand for several outputs.
    """
    for k, (name, path) in enumerate(outputs):
        for other, place in (*inputs, *outputs[:k]):
            if _is_same_file(path, place):
                raise ValueError(f"{name}: {path} is the same file as {other}, {place}, which would be overwritten")


def _is_same_file(path: str, other: str) -> bool:
    if os.path.exists(path) and os.path.exists(other):
        return os.path.isfile(path) and os.path.samefile(path, other)
    return os.path.normcase(os.path.realpath(path)) == os.path.normcase(os.path.realpath(other))


def check_unpacked(path: str | os.PathLike[str], claimed: int, packed: int) -> None:
    """Refuses a file of `packed` bytes that claims `claimed` bytes of arrays, before they take that memory."""
    most = UNPACKED_FREELY + MOST_UNPACKING * packed
    if claimed > most:
        raise ValueError(
            f"{path} claims {claimed:,} bytes of arrays in a file of {packed:,}, for which at most {most:,} are read: "
            "store the arrays without compression"
        )


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of `path` when the block ends well, and vanishes when it does not.

    A file that is there already keeps its mode. A link is followed; what is no regular file, such as a pipe or
    /dev/null, is written to and not replaced.
    """
    check_place("path", path)
    if _is_pipe_or_device(path):
        with open(path, "wb") as stream:  # the real path of a pipe cannot be opened
            yield stream
        return
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    temporary = os.path.join(folder, f".minidistill-{os.urandom(8).hex()}.part")
    try:
        stream = open(temporary, "xb")  # noqa: SIM115
    except OSError as error:
        raise type(error)(f"cannot write {path}: {error.strerror} ({folder})") from None
    try:
        with stream:
            if os.path.exists(target):
                os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
            yield stream
            stream.flush()
            os.fsync(stream.fileno())  # or a power cut could leave the new name with nothing in it
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):  # an interrupt may come after the renaming
            os.unlink(temporary)
        raise


def write_npz(path: str | os.PathLike[str], kind: str, arrays: dict[str, Any]) -> None:
    """Writes arrays as one .npz whose `kind` says what it is."""
    with replacing(path) as stream:
        np.savez(stream, kind=np.array(kind), **arrays)


def read_npz(
    path: str | os.PathLike[str], kind: str, names: tuple[str, ...] | dict[str, str]
) -> dict[str, np.ndarray]:
    """The named arrays of an .npz written as `kind`; ValueError for any other file, FileNotFoundError for none.

    names  a tuple; or {name: shape} for arrays of numbers, with a letter for each dimension: {"x": "NI", "y": "N"}. The
           same letter stands for the same size
    """
    with opened(path) as stream:
        arrays = arrays_in(stream, path, ("kind", *names))
        if str(arrays.get("kind")) != kind or not set(names) <= set(arrays):
            raise ValueError(f"{path} is not a {kind} of minidistill: it holds {names_in(stream)}")
    sizes: dict[str, int] = {}
    for name, letters in names.items() if isinstance(names, dict) else ():
        array = arrays[name]
        pairs = zip(letters, array.shape, strict=False)
        fits = array.ndim == len(letters) and all(sizes.setdefault(letter, size) == size for letter, size in pairs)
        if not fits or array.dtype.kind not in "fiub":
            wanted = f"numbers of shape ({', '.join(letters)})"
            raise ValueError(f"{path} is damaged: {name} must be {wanted}, got {array.dtype} {array.shape}")
    return {name: arrays[name] for name in names}


def read_arrays(path: str | os.PathLike[str], names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an .npz by name, all or those of `names`; FileNotFoundError, or ValueError for a damaged file."""
    with opened(path) as stream:
        return arrays_in(stream, path, names)


def arrays_in(
    stream: IO[bytes], path: str | os.PathLike[str], names: Iterable[str] | None = None
) -> dict[str, np.ndarray]:
    """As `read_arrays`, of a stream that can seek; errors call it `path`.

    The sizes that the file claims are checked before memory is allocated: see `check_unpacked`.
    """
    import zipfile  # here, since it takes as long to import as all of this package

    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    if stream.read(len(ZIP_MAGIC)) != ZIP_MAGIC:
        raise ValueError(f"{path} is not an .npz file")
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = {name.removesuffix(".npy"): archive.getinfo(name) for name in _npy_names(archive)}
            chosen = {name: entry for name, entry in entries.items() if names is None or name in names}
            check_unpacked("it", sum(entry.file_size for entry in chosen.values()), size)
            return {name: _array(archive, entry) for name, entry in chosen.items()}
    except Exception as error:  # the bytes are arbitrary: the parsers may raise nearly anything
        reason = excerpt(error) or type(error).__name__
        raise ValueError(f"{path} is not an .npz file, or is damaged: {reason}") from None


def names_in(stream: IO[bytes], quote: str = "") -> str:
    """The names of all arrays of an .npz, for an error message."""
    import zipfile

    with zipfile.ZipFile(stream) as archive:
        names = sorted(f"{quote}{name.removesuffix('.npy')}{quote}" for name in _npy_names(archive))
    return excerpt(", ".join(names)) or "nothing"


def _npy_names(archive: Any) -> list[str]:
    """The entries that are arrays; others are ignored, as NumPy ignores them."""
    return [name for name in archive.namelist() if name.endswith(".npy")]


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file to read, opened once, as a stream that can seek: what comes from a pipe is read whole first.

    Devices other than a terminal are a ValueError: /dev/zero has no end.
    """
    with open(path, "rb") as stream:
        mode = os.fstat(stream.fileno()).st_mode
        if (stat.S_ISCHR(mode) and not stream.isatty()) or stat.S_ISBLK(mode):
            raise ValueError(f"{path} is a device, and neither a file nor a pipe")
        yield stream if stream.seekable() else io.BytesIO(stream.read())


def _array(archive: Any, entry: Any) -> np.ndarray:
    """An array of an open zip archive, whose header claims no more bytes than the archive has for it."""
    with archive.open(entry) as stream:
        read_header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
        shape, _, dtype = read_header[np.lib.format.read_magic(stream)[0]](stream)
        claimed = math.prod(shape) * max(dtype.itemsize, 1)
        if claimed > entry.file_size and not dtype.hasobject:
            raise ValueError(f"{entry.filename} claims {claimed:,} bytes, and has {entry.file_size:,}")
    with archive.open(entry) as stream:
        array = np.asarray(np.lib.format.read_array(stream, allow_pickle=False))
    if dtype.kind == "U" and array.size and array.ravel().view(f"{dtype.byteorder}u4").max() > sys.maxunicode:
        raise ValueError(f"{entry.filename} holds text with a character that Unicode does not have")
    return array


def check_same_run(problem: str, found: Mapping[str, Any], own: Mapping[str, Any], remedy: str = "") -> None:
    """ValueError, naming each setting that differs, where a file's settings `found` are not this run's `own`."""
    pairs = [(name, found.get(name), value) for name, value in own.items()]
    differ = [f"{excerpt(name)} was {excerpt(old)}, is now {excerpt(new)}" for name, old, new in pairs if old != new]
    if differ:
        raise ValueError(f"{problem}: {'; '.join(differ)}{remedy}")


def digest(*arrays: Any) -> str:
    """Of dtypes, shapes and bytes; None, where there are no labels, counts as well."""
    import hashlib  # here: it takes 3 ms, and most runs hash nothing

    hashed = hashlib.sha256()
    for array in arrays:
        described = "None" if array is None else f"{array.dtype} {array.shape}"
        hashed.update(described.encode())
        if array is not None:
            hashed.update(np.ascontiguousarray(array).data)
    return hashed.hexdigest()[:16]
