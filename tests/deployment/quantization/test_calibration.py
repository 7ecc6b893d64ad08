# SPDX-License-Identifier: MIT
"""Ranges of activations, and the warning about inputs that one step does not fit."""

import numpy as np
import pytest
from quantizable import ACTIVATIONS, X, network

from minidistill import MLP, Dataset, QuantizationAwareMLP, fit, quantize
from minidistill.deployment.quantization import Grid, calibrate, fake_quantize_forward
from minidistill.deployment.quantization.calibration import SAMPLE, range_of
from minidistill.deployment.quantization.codes import SHRINKS

RANDOM = np.random.default_rng(0)


def test_the_ranges_of_the_three_methods():
    values = np.append(RANDOM.standard_normal(9999), 1000.0)
    assert range_of(values, "minmax", 99.0) == (values.min(), 1000.0)
    assert range_of(values, "percentile", 99.0) == tuple(np.percentile(values, [1, 99]))


def test_the_mean_square_error_weighs_clipping_against_rounding():
    """[Q-7]"""
    values = RANDOM.standard_t(3, 5000)

    def error(low, high):
        grid = Grid.over(low, high)
        return np.square(fake_quantize_forward(values, grid.scale, *grid.limits)[0] - values).mean()

    low, high = range_of(values, "mse", 99.0)
    assert values.min() <= low < 0 < high <= values.max()
    assert error(low, high) <= error(values.min(), values.max())
    assert error(low, high) == min(error(values.min() * s, values.max() * s) for s in SHRINKS)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_calibration_looks_at_inputs_at_activations_and_at_what_goes_into_those(activation):
    net = network(activation=activation)
    grids = calibrate(net, X, "minmax")
    hidden = net.outputs(X).hidden
    assert grids.inputs == Grid.over(float(X.min()), float(X.max()))
    assert grids.hidden == [Grid.over(float(h.min()), float(h.max())) for h in hidden]
    if activation == "relu":
        assert grids.before == [None, None]
        assert [grid.zero for grid in grids.hidden] == [0, 0]
    else:
        z = hidden[0] @ net.weights[1] + net.biases[1]
        assert grids.before[1] == Grid.over(float(z.min()), float(z.max()))


def raw_and_standardized():
    """One network for standardized rows and the same one for raw rows, with both rows, whose columns differ widely."""
    random = np.random.default_rng(0)
    y = random.integers(0, 4, 400)
    raw = Dataset(((y[:, None] + 0.3 * random.standard_normal((400, 4))) * [1, 30, 5000, 0.1]).astype(np.float32), y)
    rows = raw.standardize()
    student = MLP((4, 16, 4))
    fit(student, rows, epochs=20)
    for_raw = student.copy()
    for_raw.fold_standardization(*raw.mean_std())
    return student, rows, for_raw, raw


ONE_STEP = "its inputs differ too much in scale for one step. Quantize a network of standardized rows, before fold_"


@pytest.mark.parametrize("calibrated", [True, False], ids=["calibrated", "row by row"])
def test_a_network_of_raw_columns_is_named_and_its_remedy_keeps_the_accuracy(calibrated):
    student, rows, for_raw, raw = raw_and_standardized()
    assert (for_raw.predict(raw.x) == raw.y).mean() > 0.95
    with pytest.warns(UserWarning, match=ONE_STEP) as found:
        lost = quantize(for_raw, raw.x if calibrated else None)
    assert [one.filename for one in found] == [__file__]
    assert (lost.predict(raw.x) == raw.y).mean() < 0.7
    kept = quantize(student, rows.x if calibrated else None)
    assert (kept.predict(rows.x) == rows.y).mean() > 0.95


def test_learning_with_rounding_on_raw_columns_is_named_too():
    _, _, for_raw, raw = raw_and_standardized()
    with pytest.warns(UserWarning, match=ONE_STEP):
        QuantizationAwareMLP(for_raw, raw.x)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("method", ["minmax", "percentile", "mse"])
def test_sparse_pixels_and_one_hot_columns_are_not_named(trained, bits, method):
    student, training, _ = trained
    quantize(student, training.x, bits, method)  # a warning would be an error
    broken = training.x.copy()
    broken[0] *= 8
    quantize(student, broken, bits, method, percentile=99.9)
    columns = np.eye(105, dtype=np.float32)[RANDOM.integers(0, [5, 100], (500, 2)) + [0, 5]].sum(axis=1)
    quantize(network((105, 8, 3)), columns, bits, method)


def test_a_range_is_judged_by_values_from_all_over_the_rows():
    """[Q-7] Small values alone, as they come first, would speak for a range that clips the large ones."""
    random = np.random.default_rng(0)
    small, wide = random.uniform(-0.1, 0.1, SAMPLE), random.uniform(-1, 1, 3 * SAMPLE)
    low, high = range_of(np.concatenate([small, wide]).astype(np.float32), "mse", 0)
    assert (low, high) == pytest.approx((-1, 1), abs=0.05)


def test_a_range_clips_outliers_where_that_rounds_the_others_better():
    values = np.random.default_rng(0).standard_t(3, 60_000).astype(np.float32)
    low, high = range_of(values, "mse", 0)
    assert 0.2 * values.max() < high < 0.95 * values.max()
    assert low / high == pytest.approx(values.min() / values.max(), rel=1e-3)
