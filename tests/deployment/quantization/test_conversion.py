# SPDX-License-Identifier: MIT
"""What quantize and QuantizationAwareMLP refuse, and the old name of the ranges."""

import numpy as np
import pytest
from quantizable import X, network

from minidistill import MLP, QuantizationAwareMLP, quantize
from minidistill.deployment import quantization


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: quantize(network(), X, 3), ValueError, "bits must be 8 or 4, got 3"),
        (lambda: quantize(network(), X, 8.0), TypeError, "bits must be a whole number"),
        (lambda: quantize(network(), X, 0), ValueError, "bits must be at least 1"),
        (lambda: quantize(network(), X[:1]), ValueError, "calibration must have rows that differ.* got 1 equal"),
        (lambda: quantize(network(), np.ones((9, 6))), ValueError, "calibration must have rows that differ.* 9 equal"),
        (lambda: quantize(network(), X[:, :5]), ValueError, "calibration must have 6 columns"),
        (lambda: quantize(network(), X * np.nan), ValueError, "calibration must be finite"),
        (lambda: quantize(network(), X, method="kl"), ValueError, "method must be one of 'minmax'"),
        (lambda: quantize(network(), X, percentile=50), ValueError, r"percentile must be in \(50, 100\], got 50"),
        (lambda: quantize(network(), X, percentile=100.1), ValueError, r"percentile must be in \(50, 100\]"),
        (lambda: quantize("network", X), TypeError, "network must be an MLP, got str"),
        (lambda: quantize(MLP((20000, 2)), None), ValueError, "at most 16,384 each"),
        (lambda: QuantizationAwareMLP(network(), None), ValueError, "calibration must be rows"),
        (lambda: QuantizationAwareMLP(network(), X, 16), ValueError, "bits must be 8 or 4"),
        (lambda: quantize(QuantizationAwareMLP(network(), X), X), ValueError, "of its own"),
        (lambda: quantize(QuantizationAwareMLP(network(), X), bits=4), ValueError, "8 bits of its own"),
        (lambda: quantize(network(), X).logits(X[:, :5]), ValueError, "x must have 6 columns"),
        (lambda: quantize(network(), X).logits(X * np.nan), ValueError, "x must be finite"),
        (lambda: quantize(network(), X).predict_proba(X, 0), ValueError, "temperature"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_one_error(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_network_that_is_not_finite_is_refused(value):
    net = network()
    net.parameters[3] = value
    for calibration in (X, None):
        with pytest.raises(ValueError, match=r"network\.parameters must be finite"):
            quantize(net, calibration)


def test_activations_that_overflow_are_refused():
    net = network()
    net.parameters *= 1e30
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(ValueError, match="an activation on calibration"):
        quantize(net, 1e10 * X)


def test_the_old_name_of_the_ranges_is_deprecated():
    with pytest.warns(DeprecationWarning, match=r"quantization\.Grids is renamed to ActivationRanges"):
        assert quantization.Grids is quantization.ActivationRanges
    with pytest.raises(AttributeError, match="no attribute 'Gridss'"):
        _ = quantization.Gridss
