# SPDX-License-Identifier: MIT
"""Rows of a scale at which nothing is learned are named; digits, images, sparse and standardized rows are not."""

import re
import time
import warnings

import numpy as np
import pytest

from minidistill import MLP, SGD, Adam, Dataset, SoftTarget, digits, distill, fit, mutual_learning, spirals
from minidistill.data.scaling import apart, column_sizes, fault_of_scale, warn_if_badly_scaled

BADLY_SCALED = r"the inputs are badly scaled: column 2 .*data\.standardize\(mean, scale\).*fold_standardization"


def table(rows=400):
    """Four columns of very different size, as of people with their incomes, and four classes."""
    random = np.random.default_rng(0)
    y = random.integers(0, 4, rows)
    return Dataset(((y[:, None] + 0.4 * random.standard_normal((rows, 4))) * [1, 30, 5000, 0.1]).astype(np.float32), y)


def images(rows=2000):
    """Pixels of 0 to 1 in a frame that is nearly always empty, as of MNIST."""
    random = np.random.default_rng(0)
    x = random.random((rows, 28, 28)) * (random.random((rows, 28, 28)) < 0.5)
    x[:, :4] = x[:, :, :4] = 0
    x[7, 0, 0] = 0.01
    return x.reshape(rows, 784).astype(np.float32)


def one_hot(rows=2000):
    numbers = np.random.default_rng(0).integers(0, [5, 50, 1000], (rows, 3)) + [0, 5, 55]
    return np.eye(1055, dtype=np.float32)[numbers].sum(axis=1)


def counts(rows=1000):
    frequencies = 1 / np.arange(1, 501)
    return np.random.default_rng(0).multinomial(200, frequencies / frequencies.sum(), rows).astype(np.float32)


SOUND = {
    "digits": lambda: digits()[0].x,
    "digits from 0 to 16": lambda: 16 * digits()[0].x,
    "images": images,
    "spirals": lambda: spirals(60).x,
    "one-hot": one_hot,
    "words": counts,
    "standardized": lambda: table().standardize().x,
    "rare columns, standardized": lambda: Dataset(one_hot()).standardize().x,
    "a constant column": lambda: np.column_stack([table().standardize().x, np.ones(400)]),
    "nothing": lambda: np.zeros((10, 3)),
}


@pytest.mark.parametrize("name", SOUND)
def test_rows_of_usual_scale_are_not_named(name):
    assert fault_of_scale(SOUND[name]()) is None


@pytest.mark.parametrize(
    ("x", "fault"),
    [
        (lambda: table().x, r"column 2 has values of about 1\.\d+e\+04, .* root mean square of all is 5\.\d+e\+03"),
        (lambda: 255 * images(), r"root mean square of all is \d+(\.\d)? instead of about 1"),
        (lambda: 1e-4 * table().x, r"column 2 .* a quarter of the columns are at least 5e\+04 times smaller"),
        (lambda: 1e200 * np.ones((5, 2)), "root mean square of all is"),
        (lambda: np.tile([1.0, 1e-200, 1.0], (5, 1)), "column 0 .* are at least inf times smaller"),
        (lambda: 0.01 * table().standardize().x, r"values of about 0\.01, and those of all other columns are smaller"),
        (lambda: np.full((10, 3), 1e-300), "column 0 has values of about 0, and those of all other"),
        (lambda: np.column_stack([np.full(50, 2024.0), np.random.default_rng(0).normal(size=(50, 3))]), "column 0 has"),
    ],
    ids=["a raw table", "bytes of images", "apart but small", "huge", "tiny", "all small", "next to nothing", "years"],
)
def test_rows_of_bad_scale_are_named(x, fault):
    assert re.search(fault, fault_of_scale(x()))


def test_the_size_of_a_column_leaves_out_its_zeros():
    columns, sizes = column_sizes(np.array([[0.0, 3.0, 0.0], [0.0, 4.0, 7.0]]))
    np.testing.assert_array_equal(columns, [1, 2])
    np.testing.assert_allclose(sizes, [np.sqrt(12.5), 7])
    assert apart(sizes) == 7 / np.sqrt(12.5)
    assert apart(np.empty(0)) == 1


def test_a_raw_table_is_named_and_its_remedy_trains():
    data = table()
    right = {}
    for name, rows in (("raw", data), ("standardized", data.standardize())):
        network = MLP((4, 16, 4))
        options = {"epochs": 20, "optimizer": SGD(0.1, clip_norm=1.0)}
        if name == "raw":
            with pytest.warns(UserWarning, match=BADLY_SCALED) as found:
                fit(network, rows, **options)
            assert [one.filename for one in found] == [__file__]
        else:
            fit(network, rows, **options)
        right[name] = (network.predict(rows.x) == rows.y).mean()
    assert right["raw"] < 0.5 < 0.9 < right["standardized"]


def test_distill_and_mutual_name_a_raw_table_too():
    data = table()
    by_nearest = lambda x: -((x[:, 2:3] / 5000 - np.arange(4)) ** 2)  # noqa: E731
    with pytest.warns(UserWarning, match=BADLY_SCALED):
        distill(by_nearest, MLP((4, 8, 4)), data, SoftTarget(), epochs=1, optimizer=SGD(1e-9))
    with pytest.warns(UserWarning, match=BADLY_SCALED):
        mutual_learning([MLP((4, 8, 4)), MLP((4, 8, 4), seed=1)], data, epochs=1, optimizer=SGD(1e-9))


def test_rows_are_judged_as_the_augmentation_leaves_them():
    data = table()
    mean, scale = data.mean_std()
    standardized = lambda x, y, generator: (((x - mean) / scale).astype(x.dtype), y)  # noqa: E731
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(MLP((4, 8, 4)), data, epochs=1, augment=standardized)
    with pytest.warns(UserWarning, match=BADLY_SCALED):
        warn_if_badly_scaled(data, [lambda x, y, generator: (x, y)])


def quickest(call):
    times = []
    for _ in range(20):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def test_the_check_takes_a_small_share_of_the_time_of_one_sum_over_a_large_table():
    large = Dataset(np.random.default_rng(0).random((60_000, 784), dtype=np.float32))
    one_sum = quickest(large.x.sum)
    for data in (digits()[0], large):
        assert quickest(lambda data=data: warn_if_badly_scaled(data)) < one_sum / 20


def with_an_age(x):
    return np.column_stack([x, np.random.default_rng(0).uniform(18, 50, len(x))])


@pytest.mark.parametrize("change", [with_an_age, lambda x: x + 8], ids=["an age", "a mean"])
def test_rows_too_large_for_sgd_are_named_where_it_trains_to_one_class(change):
    data = table().standardize()
    rows = Dataset(change(data.x).astype(np.float32), data.y)
    network = MLP((rows.x.shape[1], 32, 4))
    with pytest.warns(UserWarning, match=r"the inputs are badly scaled: column \d+ has values of about"):
        fit(network, rows, epochs=5)
    assert len(np.unique(network.predict(rows.x))) == 1


@pytest.mark.parametrize(
    "optimizer", [Adam(0.003), SGD(0.1, clip_norm=1.0), SGD(0.003)], ids=["Adam", "clipped", "a low rate"]
)
def test_rows_that_are_large_for_sgd_alone_are_not_named_for_others(optimizer):
    data = table().standardize()
    rows = Dataset(with_an_age(data.x).astype(np.float32), data.y)
    fit(MLP((5, 32, 4)), rows, epochs=1, optimizer=optimizer)


@pytest.mark.parametrize("name", [name for name in SOUND if name not in ("digits from 0 to 16", "words")])
def test_rows_of_usual_scale_suit_sgd(name):
    assert fault_of_scale(SOUND[name](), 0.1) is None
