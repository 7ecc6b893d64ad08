# SPDX-License-Identifier: MIT
"""Hashes of rows, by which saved targets are matched with their rows; and the old names of Dataset's attributes."""

import time

import numpy as np
import pytest

from minidistill.data import Dataset

MASK = 2**64 - 1


def mix(word):
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & MASK
    word = (word ^ word >> 27) * 0x94D049BB133111EB & MASK
    return word ^ word >> 31


def hash_of(row):
    """The formula of the docstring, once more, in Python's whole numbers."""
    data = (row + 0.0).tobytes()
    data += bytes(-len(data) % 8)
    words = np.frombuffer(data, np.uint64).tolist()
    return mix((len(row) + sum(mix(word ^ mix(j + 1)) for j, word in enumerate(words))) & MASK)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [1, 2, 3, 64])
def test_hashes_of_rows_follow_the_formula(dtype, columns):
    x = np.random.default_rng(columns).normal(size=(2500, columns)).astype(dtype)
    data = Dataset(x)
    for prints, rows in ((data.row_hashes, x.astype(np.float32)), (data.exact_row_hashes, x)):
        assert prints.shape == (2500,)
        assert prints.dtype == np.uint64
        assert prints.tolist() == [hash_of(row) for row in rows]


def test_hashes_of_rows_stay_what_they_were_when_files_were_written():
    """Saved targets hold hashes of rows: another formula would refuse every file that exists."""
    rows = np.array([[0.0, 0.5, 1.0], [1.0, 0.5, 0.0]], np.float32)
    for data in (Dataset(rows), Dataset(rows.astype(np.float64))):
        assert data.row_hashes.tolist() == [8420993618106041944, 15823756305277785238]


def test_values_beyond_float32_and_below_it_have_hashes_of_rows():
    huge, tiny = Dataset(np.array([[1e300], [-1e300], [1e-300], [0.0]])).row_hashes.reshape(2, 2)
    assert huge[0] != huge[1]
    assert tiny[0] == tiny[1]


def test_a_hash_belongs_to_the_row_and_not_to_its_place_or_label():
    data = Dataset(np.random.default_rng(0).normal(size=(50, 5)), np.arange(50))
    order = np.random.default_rng(1).permutation(50)
    assert np.array_equal(data.subset(order).row_hashes, data.row_hashes[order])
    assert np.array_equal(Dataset(data.x).row_hashes, data.row_hashes)


def test_hashes_of_rows_do_not_depend_on_the_layout_in_memory():
    x = np.random.default_rng(0).normal(size=(50, 5))
    assert np.array_equal(Dataset(np.asfortranarray(x)).row_hashes, Dataset(x).row_hashes)
    assert np.array_equal(Dataset(np.repeat(x, 2, axis=1)[:, ::2]).row_hashes, Dataset(x).row_hashes)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_changed_or_exchanged_value_changes_the_hash_of_a_row(dtype):
    row = np.arange(1, 14, dtype=dtype)
    variants = [row]
    for j in range(len(row)):
        variants.append(row.copy())
        variants[-1][j] = np.nextafter(row[j], np.zeros((), dtype))  # the least change
        for k in range(j):
            variants.append(row.copy())
            variants[-1][[j, k]] = row[[k, j]]
    assert len(np.unique(Dataset(np.array(variants)).exact_row_hashes)) == len(variants)


def test_rows_of_few_small_whole_numbers_do_not_collide():
    """Black and white pixels differ in few bits, and a weak hash (a weighted sum, say) takes many of them for equal."""
    x = (np.arange(2**16)[:, None] >> np.arange(16) & 1).astype(np.float32)  # every row of 16 bits
    prints = Dataset(x).row_hashes
    assert len(np.unique(prints)) == 2**16
    bits = (prints[:, None] >> np.arange(64, dtype=np.uint64) & np.uint64(1)).mean(axis=0)
    assert np.all(np.abs(bits - 0.5) < 0.01), "a bit of the hash is not used"  # standard deviation 0.002


def test_a_row_with_a_zero_more_is_another_row():
    assert Dataset([[1.0]]).row_hashes[0] != Dataset([[1.0, 0.0]]).row_hashes[0]
    short, long = np.array([[1]], np.float32), np.array([[1, 0]], np.float32)  # the same bytes, once filled up
    assert Dataset(short).row_hashes[0] != Dataset(long).row_hashes[0]


def test_equal_rows_have_equal_hashes_of_rows_even_with_a_negative_zero():
    prints = Dataset([[0.0, 1.0], [-0.0, 1.0], [0.0, 1.0]]).row_hashes
    assert prints[0] == prints[1] == prints[2]


def test_hashes_of_rows_are_computed_once_and_cannot_be_changed():
    data = Dataset([[1.0]])
    assert data.row_hashes is data.row_hashes
    with pytest.raises(ValueError, match="read-only"):
        data.row_hashes[0] = 0


def test_hashes_of_rows_are_fast_enough_for_all_of_mnist():
    data = Dataset(np.random.default_rng(0).random((60000, 784), dtype=np.float32))
    start = time.process_time()
    _ = data.row_hashes
    assert time.process_time() - start < 1.5  # about 0.1 s; a Python loop over the rows takes many


def test_the_old_names_still_work():
    data = Dataset([[1.0], [3.0]])
    for old, new in (("fingerprints", "row_hashes"), ("exact_fingerprints", "exact_row_hashes")):
        with pytest.warns(DeprecationWarning, match=rf"Dataset\.{old} is renamed to {new}"):
            assert getattr(data, old) is getattr(data, new)
    with pytest.warns(DeprecationWarning, match=r"Dataset\.column_statistics is renamed to mean_std"):
        statistics = data.column_statistics()
    with pytest.warns(DeprecationWarning, match=r"Dataset\.standardise is renamed to standardize"):
        assert data.standardise(*statistics).x.tolist() == [[-1.0], [1.0]]
