# SPDX-License-Identifier: MIT
"""kernels/cache.py: a damaged entry is compiled again, and processes that save at once do not disturb each other."""

import pytest

pytest.importorskip("numba")

from cache_damage import flip_bits, write_together

from minidistill.kernels.cpu.cache import HASH_BYTES, Entries


def test_an_entry_with_a_flipped_bit_is_compiled_again(tmp_path):
    status, files, hits, errors = flip_bits(tmp_path, flips=100)
    assert status == 0, errors
    assert files == 2
    assert hits == [1] * 100


def test_processes_that_compile_one_kernel_at_once_leave_a_cache_that_is_right(tmp_path):
    statuses, errors, hits = write_together(tmp_path, processes=3)
    assert statuses == [0, 0, 0], errors
    assert not errors
    assert hits == 2


def test_an_entry_belongs_to_its_key_and_to_the_version_of_its_source(tmp_path):
    entries = Entries(tmp_path, "kernel", ("stamp", 1))
    entries.save("float32", [1, 2])
    entries.save("float64", [3, 4])
    assert entries.load("float32") == [1, 2] and entries.load("float64") == [3, 4]
    assert entries.load("int64") is None
    assert Entries(tmp_path, "kernel", ("stamp", 2)).load("float32") is None
    single, double = (entries._key_and_path(key)[1] for key in ("float32", "float64"))
    single.write_bytes(double.read_bytes())
    assert entries.load("float32") is None, "the content of another signature"
    entries.flush()
    assert entries.load("float64") is None and not list(tmp_path.glob("*.nbc"))


def test_an_entry_that_is_cut_off_anywhere_is_none(tmp_path):
    entries = Entries(tmp_path, "kernel", 0)
    entries.save("key", list(range(20)))
    (file,) = tmp_path.glob("*.nbc")
    content = file.read_bytes()
    for length in (0, 1, HASH_BYTES - 1, HASH_BYTES, HASH_BYTES + 1, len(content) - 1):
        file.write_bytes(content[:length])
        assert entries.load("key") is None
