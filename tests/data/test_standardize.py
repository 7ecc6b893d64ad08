# SPDX-License-Identifier: MIT
"""Dataset.standardize and Dataset.mean_std."""

import numpy as np
import pytest

from minidistill.data import Dataset


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_standardised_columns_have_mean_0_and_deviation_1(dtype):
    x = np.random.default_rng(0).normal([-3, 100], [0.1, 20], size=(5000, 2)).astype(dtype)
    data = Dataset(x, np.zeros(5000)).standardize()
    assert data.x.dtype == dtype
    assert np.allclose(data.x.mean(axis=0, dtype=np.float64), 0, atol=1e-6)
    assert np.allclose(data.x.std(axis=0, dtype=np.float64), 1, atol=1e-6)
    assert len(data.y) == 5000


def test_statistics_are_those_of_numpy_over_many_blocks_of_rows():
    x = np.random.default_rng(1).normal(5, 3, size=(3000, 70))
    mean, scale = Dataset(x).mean_std()
    assert len(Dataset(x)._blocks()) > 2, "the data is too small for the test to mean anything"
    assert np.allclose(mean, x.mean(axis=0), rtol=1e-12)
    assert np.allclose(scale, x.std(axis=0), rtol=1e-12)


def test_a_constant_column_keeps_scale_1():
    x = np.column_stack([np.full(1001, 0.1, np.float32), np.arange(1001, dtype=np.float32)])  # the mean of 0.1 rounds
    mean, scale = Dataset(x).mean_std()
    assert scale[0] == 1
    assert np.abs(Dataset(x).standardize().x[:, 0]).max() < 1e-6
    assert mean.dtype == scale.dtype == np.float64


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_columns_of_extreme_size_are_standardised_too(size):
    x = Dataset(np.array([[-1.0], [1.0], [3.0]]) * size).standardize().x
    assert np.allclose(x[:, 0], np.array([-1, 0, 1]) * np.sqrt(1.5))


def test_test_data_goes_by_the_statistics_of_the_training_data():
    train, test = Dataset([[0.0], [2.0]]), Dataset([[5.0], [7.0]])
    assert test.standardize(*train.mean_std()).x.tolist() == [[4.0], [6.0]]


def test_standardise_leaves_the_original_as_it_was():
    data = Dataset([[0.0], [2.0]])
    data.standardize()
    assert data.x.tolist() == [[0.0], [2.0]]


@pytest.mark.parametrize(
    ("mean", "scale", "message"),
    [
        ([0, 0], None, "together"),
        (None, [1, 1], "together"),
        ([0], [1, 1], "mean must have 2 columns"),
        ([0, 0], [1, 1, 1], "scale must have 2 columns"),
        ([0, 0], [1, 0], "scale must be above 0, got 0.0 for column 1"),
        ([0, np.nan], [1, 1], "mean must be finite"),
    ],
)
def test_bad_statistics_are_refused(mean, scale, message):
    with pytest.raises(ValueError, match=message):
        Dataset([[1.0, 2.0]]).standardize(mean, scale)


def test_what_overflows_in_standardising_is_refused():
    with pytest.raises(ValueError, match="x must be finite"):
        Dataset(np.array([[1e30]], np.float32)).standardize([0.0], [1e-30])
