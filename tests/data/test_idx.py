# SPDX-License-Identifier: MIT
"""IDX files: read exactly where they are right, refused with a reason where they are not."""

import gzip
import math
import re
import struct
import tracemalloc

import numpy as np
import pytest
from fifo import through_a_pipe

from minidistill.data import load_idx
from minidistill.data.idx import CHUNK
from minidistill.support import files

CODES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}


def idx_bytes(array):
    """An array as the content of an IDX file."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, CODES[array.dtype.name], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
CONTENT = idx_bytes(IMAGES)


def refusal(path):
    """The message of the ValueError that the file gets, without its name, which every message must begin with."""
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        load_idx(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    return message.removeprefix(str(path))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzipped"])
@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4), (1, 1, 1, 1)])
def test_every_type_and_rank_comes_back_as_written(tmp_path, pack, dtype, shape):
    array = (np.random.default_rng(0).normal(size=shape) * 100).astype(dtype)  # negative values wrap in uint8
    path = tmp_path / "values"
    path.write_bytes(pack(idx_bytes(array)))
    loaded = load_idx(path)
    assert loaded.dtype == np.dtype(dtype)
    assert loaded.dtype.isnative
    assert np.array_equal(loaded, array)


def test_bytes_come_in_the_order_that_the_format_says(tmp_path):
    path = tmp_path / "values"
    path.write_bytes(bytes([0, 0, 0x0B, 1, 0, 0, 0, 2, 1, 2, 0xFF, 0xFE]))  # by hand: two of int16
    assert load_idx(path).tolist() == [0x0102, -2]


def test_the_content_tells_gzip_whatever_the_name(tmp_path):
    (tmp_path / "packed").write_bytes(gzip.compress(CONTENT))
    (tmp_path / "plain.gz").write_bytes(CONTENT)
    assert np.array_equal(load_idx(tmp_path / "packed"), IMAGES)
    assert np.array_equal(load_idx(str(tmp_path / "plain.gz")), IMAGES)


def test_an_array_of_more_than_one_chunk_is_whole_and_writable(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, size=(3, 1_000_003), dtype=np.uint8)
    path = tmp_path / "large"
    path.write_bytes(idx_bytes(array))
    loaded = load_idx(path)
    assert np.array_equal(loaded, array)
    loaded[0, 0] = 1


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzipped"])
def test_a_byte_too_many_is_found_behind_a_whole_number_of_chunks(tmp_path, pack):
    path = tmp_path / "large"
    path.write_bytes(pack(idx_bytes(np.zeros(2 * CHUNK, np.uint8)) + b"\0"))
    assert "goes on after its last value" in refusal(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="No such file.*.*nowhere"):
        load_idx(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not an IDX file.*got \\[\\]"),
        (b"\0\0\x08", "is not an IDX file"),
        (b"\x89PNG\r\n\x1a\n", "is not an IDX file: it must begin with 0 0"),
        (b"\0\x01" + CONTENT[2:], "is not an IDX file"),
        (b"\0\0\x0a" + CONTENT[3:], "type code must be one of 0x08, .*, got 0x0a"),
        (b"\0\0\x08\0", "must have 1 to 64 dimensions, its header says 0"),
        (b"\0\0\x08\xff" + bytes(4 * 255), "must have 1 to 64 dimensions, its header says 255"),
        (CONTENT[:9], "cut short in its header: wanted 16 bytes, got 9"),
        (CONTENT[:-1], r"cut short: shape \(2, 3, 4\) of uint8 wants 24 bytes of values, got 23"),
        (CONTENT[:16], "cut short: .* wants 24 bytes of values, got 0"),
        (CONTENT + b"\0", "goes on after its last value: .* wants 24 bytes"),
        (b"\0\0\x08\x02" + struct.pack(">2I", 0, 28), r"is empty: its header says shape \(0, 28\)"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzipped"])
def test_what_is_wrong_is_said(tmp_path, pack, content, message):
    path = tmp_path / "broken"
    path.write_bytes(pack(content))
    assert re.search(message, refusal(path))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzipped"])
def test_cut_at_any_byte_a_file_is_refused(tmp_path, pack):
    packed = pack(CONTENT)
    for length in range(len(packed)):
        path = tmp_path / f"cut-{length}"
        path.write_bytes(packed[:length])
        refusal(path)


def test_a_damaged_gzip_is_refused_even_where_only_the_checksum_tells(tmp_path):
    packed = bytearray(gzip.compress(CONTENT))
    packed[-8] ^= 1  # the first byte of the checksum
    path = tmp_path / "damaged.gz"
    path.write_bytes(packed)
    assert "gzip cannot unpack it" in refusal(path)


def test_no_flipped_bit_of_a_gzip_changes_the_values_in_silence(tmp_path):
    packed = gzip.compress(CONTENT, mtime=0)
    path = tmp_path / "flipped.gz"
    for bit in range(8 * len(packed)):
        flipped = bytearray(packed)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            assert np.array_equal(load_idx(path), IMAGES)  # the time stamp and the like play no part
        except ValueError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzipped"])
@pytest.mark.parametrize("sizes", [(2**32 - 1, 2**32 - 1, 2**32 - 1), (2**32 - 1,), (2**16, 2**16, 2**16, 2**16)])
def test_a_header_that_promises_the_moon_costs_no_memory(tmp_path, pack, sizes):
    path = tmp_path / "moon"
    path.write_bytes(pack(struct.pack(f">BBBB{len(sizes)}I", 0, 0, 0x0E, len(sizes), *sizes) + bytes(100)))
    tracemalloc.start()
    try:
        message = refusal(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert f"wants {8 * math.prod(sizes)} bytes of values, got 100" in message
    assert peak < 8_000_000


def test_a_gzip_that_unpacks_without_measure_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "UNPACKED_FREELY", 2**20)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(struct.pack(">BBBBI", 0, 0, 8, 1, 2**27) + bytes(2**27)))
    tracemalloc.start()
    try:
        assert "bytes of arrays in a file of" in refusal(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20 + 2 * files.MOST_UNPACKING * path.stat().st_size  # of the 128 MiB that it holds


def test_a_file_from_a_pipe_is_read_whole(tmp_path):
    content = struct.pack(">BBBBI", 0, 0, 8, 1, 10_000) + bytes(range(250)) * 40
    for k, packed in enumerate((content, gzip.compress(content))):
        with through_a_pipe(tmp_path / f"pipe{k}", packed) as path:
            assert load_idx(path).tolist() == list(range(250)) * 40
