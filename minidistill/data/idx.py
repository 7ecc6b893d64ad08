# SPDX-License-Identifier: MIT
"""IDX files: the format of MNIST, Fashion-MNIST and their relatives (Y. LeCun, C. Cortes, C. Burges 1998).

A file is a header and then the values of one array, row by row, all numbers with the highest byte first:

    byte 0, 1    0 0
    byte 2       the type of the values, a key of TYPES
    byte 3       the number of dimensions, D
    4 D bytes    the size of each dimension, 32 bits without sign
    the rest     the values
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from ..support.files import check_unpacked, opened

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP_MAGIC = b"\x1f\x8b"
MOST_DIMENSIONS = 64  # of a NumPy array
CHUNK = 1 << 20  # bytes a read


def load_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """The array in an IDX file, plain or compressed by gzip (recognized by its content, whatever its name).

    The shape is the file's, and the dtype one of uint8, int8, int16, int32, float32, float64, in this machine's order
    of bytes. MNIST's images are (60000,28,28) uint8; a network takes rows, in 0 to 1:

        x = load_idx("train-images-idx3-ubyte.gz").reshape(60000, 784) / np.float32(255)

    Raises FileNotFoundError, and ValueError naming the file for one that is no IDX file, is cut short, goes on after
    its last value, is damaged, or is a gzip that unpacks to more than 64 MiB and a hundred times its size.
    """
    with opened(path) as file:
        packed = file.seek(0, os.SEEK_END)
        with unpacked(file, path) as stream:
            return read_array(stream, path, packed)


@contextmanager
def unpacked(file: IO[bytes], path: str | os.PathLike[str]) -> Iterator[Any]:
    """A stream of the bytes in a file, unpacked if it is a gzip; ValueError, naming `path`, where that is damaged."""
    import gzip  # here, since the package imports faster without it
    import zlib

    file.seek(0)
    compressed = file.read(2) == GZIP_MAGIC
    file.seek(0)
    if not compressed:
        yield file
        return
    try:
        with gzip.open(file) as stream:
            yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is damaged or cut short, gzip cannot unpack it: {error}") from None


def read_array(stream: Any, path: str | os.PathLike[str], packed: int) -> np.ndarray:
    """The array in a stream of IDX bytes; errors call it `path`, a file of `packed` bytes."""
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise ValueError(f"{path} is not an IDX file: it must begin with 0 0 and two more bytes, got {list(magic)}")
    code, dimensions = magic[2], magic[3]
    if code not in TYPES:
        known = ", ".join(f"0x{known:02x}" for known in TYPES)
        raise ValueError(f"{path} is not an IDX file: its type code must be one of {known}, got 0x{code:02x}")
    if not 1 <= dimensions <= MOST_DIMENSIONS:
        raise ValueError(f"{path} must have 1 to {MOST_DIMENSIONS} dimensions, its header says {dimensions}")

    header = stream.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise ValueError(f"{path} is cut short in its header: wanted {4 + 4 * dimensions} bytes, got {4 + len(header)}")
    shape = tuple(int(size) for size in np.frombuffer(header, ">u4"))
    if 0 in shape:
        raise ValueError(f"{path} is empty: its header says shape {shape}")

    dtype = np.dtype(TYPES[code])
    wanted = math.prod(shape) * dtype.itemsize
    values = bytearray()  # grows with what the file holds, not with what its header claims
    while len(values) <= wanted:  # one byte more, which must not be there
        chunk = stream.read(min(CHUNK, wanted + 1 - len(values)))
        if not chunk:
            break
        values += chunk
        check_unpacked(path, len(values), packed)
    if len(values) != wanted:
        promise = f"shape {shape} of {dtype.name} wants {wanted} bytes of values"
        if len(values) < wanted:
            raise ValueError(f"{path} is cut short: {promise}, got {len(values)}")
        raise ValueError(f"{path} goes on after its last value: {promise}, but more follow")
    array = np.frombuffer(values, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)
