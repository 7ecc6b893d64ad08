# SPDX-License-Identifier: MIT
"""Dataset: what it takes in, and how it shares out rows."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from minidistill.data import Dataset
from minidistill.data.dataset import _proportional_shares


def numbered(labels):
    """A dataset in which x holds the number of the row: so that a row can be recognised wherever it went."""
    return Dataset(np.arange(len(labels), dtype=np.float64)[:, None], np.array(labels))


def row_numbers(data):
    return data.x[:, 0].astype(int)


# ---------------------------------------------------------------------------------------------- what comes in


@pytest.mark.parametrize(
    ("given", "kept"), [("float64", "float64"), ("float32", "float32"), ("uint8", "float32"), ("bool", "float32")]
)
def test_float64_stays_and_all_else_becomes_float32(given, kept):
    assert Dataset(np.ones((3, 2), given)).x.dtype == kept


def test_labels_become_int64_and_may_be_missing():
    assert Dataset([[1.0], [2.0]], [1.0, 0.0]).y.dtype == np.int64
    assert Dataset([[1.0], [2.0]]).y is None


def test_length_classes_and_description():
    data = Dataset(np.zeros((3, 2), np.float32), [0, 4, 1])
    assert len(data) == 3
    assert data.classes == 5
    assert repr(data) == "Dataset(3 rows, 2 columns, float32, 5 classes)"
    assert repr(Dataset(data.x)) == "Dataset(3 rows, 2 columns, float32, unlabelled)"


def test_unlabelled_rows_have_no_number_of_classes():
    with pytest.raises(ValueError, match="no labels"):
        _ = Dataset([[1.0]]).classes


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (np.zeros(3), None, ValueError, "x must have 2 dimensions"),
        (np.zeros((0, 3)), None, ValueError, "x is empty"),
        (np.zeros((3, 0)), None, ValueError, "x is empty"),
        ([["a"]], None, TypeError, "x must hold numbers"),
        ([[1.0, np.nan]], None, ValueError, "x must be finite.*row 0, column 1"),
        ([[np.inf]], None, ValueError, "x must be finite"),
        ([[1.0], [2.0]], [0], ValueError, "y must have a label for each of the 2 rows"),
        ([[1.0], [2.0]], [[0], [1]], ValueError, "y must have 1 dimension"),
        ([[1.0], [2.0]], [0, -1], ValueError, "y must be at least 0, and below 2.31, got -1 at row 1"),
        ([[1.0], [2.0]], [0, 0.5], TypeError, "y must be whole numbers.*0.5"),
        ([[1.0], [2.0]], ["cat", "dog"], TypeError, "y must be whole numbers.*cat"),
    ],
)
def test_bad_arrays_are_refused_by_name(x, y, error, message):
    with pytest.raises(error, match=message):
        Dataset(x, y)


def test_a_dataset_cannot_be_changed_but_the_arrays_stay_their_owners():
    x, y = np.zeros((2, 2)), np.array([0, 1])
    data = Dataset(x, y)
    with pytest.raises(ValueError, match="read-only"):
        data.x[0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        data.y[0] = 1
    with pytest.raises(AttributeError):
        data.x = x
    x[0, 0] = 1  # no error: x itself is as writable as before
    assert np.shares_memory(x, data.x), "the rows were copied"


def test_a_dataset_goes_to_another_process_and_cannot_be_changed_there_either():
    data = Dataset(np.arange(6.0).reshape(3, 2), [0, 1, 1])
    there = pickle.loads(pickle.dumps(data))
    np.testing.assert_array_equal(there.x, data.x)
    np.testing.assert_array_equal(there.y, data.y)
    assert not there.x.flags.writeable and not there.y.flags.writeable


def test_datasets_can_be_compared_and_collected_as_objects():
    data = Dataset([[1.0, 2.0]])
    same = data
    assert data == same
    assert data != Dataset([[1.0, 2.0]])
    assert len({data, same}) == 1


# ---------------------------------------------------------------------------------------------- choosing rows


def test_subset_keeps_the_given_order_and_repeats():
    data = numbered([0, 1, 2, 3]).subset([3, 0, 3])
    assert row_numbers(data).tolist() == [3, 0, 3]
    assert data.y.tolist() == [3, 0, 3]


def test_subset_takes_a_mask():
    assert row_numbers(numbered([0, 1, 2]).subset([True, False, True])).tolist() == [0, 2]


def test_subset_of_unlabelled_rows_is_unlabelled():
    assert Dataset([[1.0], [2.0]]).subset([1]).y is None


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([0, 3], ValueError, "between 0 and 2 .3 rows., got 3"),
        ([-1], ValueError, "between 0 and 2 .3 rows., got -1"),
        ([], ValueError, "indices is empty"),
        ([[0]], ValueError, "1 dimension"),
        ([0.0], TypeError, "whole numbers or bools"),
        ([True, False], ValueError, "a bool for each of the 3 rows, got 2"),
        ([False, False, False], ValueError, "chooses no row"),
    ],
)
def test_bad_indices_are_refused(indices, error, message):
    with pytest.raises(error, match=message):
        numbered([0, 1, 2]).subset(indices)


@given(
    labels=st.lists(st.integers(0, 6), min_size=2, max_size=120),
    position=st.floats(0, 1),
    seed=st.integers(0, 2**32),
    as_share=st.booleans(),
)
def test_split_is_a_stratified_partition(labels, position, seed, as_share):
    data = numbered(labels)
    count = 1 + int(position * (len(data) - 2))
    first, rest = data.split(count / len(data) if as_share else count, seed=seed)

    assert len(first) == count
    assert sorted([*row_numbers(first), *row_numbers(rest)]) == list(range(len(data))), "rows were lost or doubled"
    for part in first, rest:
        assert np.array_equal(part.y, data.y[row_numbers(part)]), "a row lost its label"
        fair = np.bincount(data.y, minlength=7) * len(part) / len(data)
        assert np.all(np.abs(np.bincount(part.y, minlength=7) - fair) < 1), "a class is off by a row or more"


@given(
    labels=st.lists(st.integers(0, 6), min_size=1, max_size=120),
    position=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_take_is_stratified_and_without_repeats(labels, position, seed):
    data = numbered(labels)
    n = 1 + int(position * (len(data) - 1))
    taken = data.take(n, seed=seed)

    assert len(set(row_numbers(taken))) == n
    assert np.array_equal(taken.y, data.y[row_numbers(taken)])
    fair = np.bincount(data.y, minlength=7) * n / len(data)
    assert np.all(np.abs(np.bincount(taken.y, minlength=7) - fair) < 1)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_the_same_seed_draws_the_same_rows(seed):
    data = numbered([0, 1] * 50)
    for first, second in zip(data.split(0.3, seed=seed), data.split(0.3, seed=seed), strict=True):
        assert np.array_equal(row_numbers(first), row_numbers(second))
    assert np.array_equal(row_numbers(data.take(30, seed=seed)), row_numbers(data.split(0.3, seed=seed)[0]))


def test_another_seed_draws_other_rows():
    data = numbered([0, 1] * 50)
    assert set(row_numbers(data.take(30, seed=0))) != set(row_numbers(data.take(30, seed=1)))


def test_drawing_leaves_the_global_random_state_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    numbered([0, 1] * 50).split(0.5)
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_both_parts_are_shuffled_and_classes_mixed():
    data = numbered([0] * 100 + [1] * 100)  # sorted by class, as files often are
    for part in data.split(0.5):
        assert 25 < (np.diff(part.y) != 0).sum() < 75, "the classes lie in blocks, or take turns"
        assert (np.diff(row_numbers(part)) < 0).sum() > 25, "the rows lie in their old order"


def test_every_row_has_the_same_chance():
    data = numbered([0] * 4 + [1] * 8)
    times = sum(np.bincount(row_numbers(data.take(3, seed=seed)), minlength=12) for seed in range(2000))
    assert np.all(np.abs(times - 500) < 100), times  # expected 500 each, standard deviation 19


def test_a_sample_smaller_than_the_number_of_classes_does_not_always_lack_the_same_ones():
    data = numbered(list(range(10)) * 3)
    assert len({label for seed in range(30) for label in data.take(3, seed=seed).y}) == 10


def test_unlabelled_rows_are_split_at_random():
    data = Dataset(np.arange(100.0)[:, None])
    first, rest = data.split(25)
    assert (len(first), len(rest)) == (25, 75)
    assert sorted([*row_numbers(first), *row_numbers(rest)]) == list(range(100))
    assert row_numbers(first).tolist() != list(range(25))
    assert first.y is None


def test_a_tiny_share_still_leaves_a_row_on_each_side():
    data = numbered([0, 1, 0])
    assert [len(part) for part in data.split(0.01)] == [1, 2]
    assert [len(part) for part in data.split(0.99)] == [2, 1]


@pytest.mark.parametrize(
    ("size", "error", "message"),
    [
        (0.0, ValueError, r"size must be in \(0, 1\), got 0.0"),
        (1.0, ValueError, r"size must be in \(0, 1\), got 1.0"),
        (float("nan"), ValueError, "size must be in"),
        (0, ValueError, "size must be at least 1, got 0"),
        (3, ValueError, "at most 2, got 3"),
        (True, TypeError, "size must be a whole number"),
        ("half", TypeError, "size must be a whole number"),
    ],
)
def test_bad_sizes_are_refused(size, error, message):
    with pytest.raises(error, match=message):
        numbered([0, 1, 0]).split(size)


def test_one_row_cannot_be_split():
    with pytest.raises(ValueError, match="at least 2 rows"):
        numbered([0]).split(0.5)


@pytest.mark.parametrize(("n", "error"), [(0, ValueError), (4, ValueError), (1.5, TypeError)])
def test_take_refuses_what_it_cannot_give(n, error):
    with pytest.raises(error, match="^n must be"):
        numbered([0, 1, 0]).take(n)


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="seed must be at least 0"):
        numbered([0, 1, 0]).take(1, seed=-1)


def test_shares_are_right_where_counts_have_32_bits():
    """There 50,000 times 60,000 would overflow."""
    shares = _proportional_shares(50_000, np.array([60_000, 40_000], np.int32), np.random.default_rng(0))
    np.testing.assert_array_equal(shares, [30_000, 20_000])
