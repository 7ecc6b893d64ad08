# SPDX-License-Identifier: MIT
"""Calibration: the ranges of a network's activations, by what they are on some rows."""

from typing import Any, NamedTuple

import numpy as np

from ...network import MLP
from ...support.checks import check_choice, check_finite, check_number, check_rows, warn
from .codes import SHRINKS, SMALLEST, WIDEST, Grid, fake_quantize_forward, weight_codes

METHODS = ("minmax", "percentile", "mse")
SAMPLE = 1 << 16  # values by which ranges are judged
MOST_ERROR = 0.2  # of the first layer's outputs, as a share of their distance to the mean row
REMEDY = (
    "its inputs differ too much in scale for one step. Quantize a network of standardized rows, before "
    "fold_standardization, and standardize the rows that it is given"
)


class ActivationRanges(NamedTuple):
    """What calibration found: a grid of the inputs, and of each hidden layer after and before its activation."""

    inputs: Grid
    hidden: list[Grid]
    before: list[Grid | None]  # None for ReLU: its slope is one or zero, and codes need no table


def calibrate(network: MLP, calibration: Any, method: str = "mse", percentile: float = 99.99) -> ActivationRanges:
    """The ranges of a network's activations, by what they are on the rows `calibration` (N,I); labels are not needed.

    `ActivationRanges` in place of rows are returned as they are.

    method      "minmax": all that was seen;  "percentile": without the outermost at either end;
                "mse": the range with the least mean square error, rounding and clipping together
    percentile  which ones are kept, in (50, 100]

    Raises ValueError for rows that are all the same, of another width or not finite, and for a network with NaN.
    """
    check_quantizable(network)
    if isinstance(calibration, ActivationRanges):
        return calibration
    check_choice("method", method, METHODS)
    check_number("percentile", percentile, "(50, 100]")
    x = check_rows("calibration", calibration, columns=network.sizes[0], dtype=network.dtype)
    if (x == x[0]).all():
        raise ValueError(f"calibration must have rows that differ, to show a range: got {len(x)} equal")

    def grid(values: np.ndarray) -> Grid:
        check_finite("an activation on calibration", values)
        return Grid.over(*range_of(values, method, percentile))

    hidden = network.outputs(x).hidden                                          # each (N,H)
    layers = zip([x, *hidden[:-1]], network.weights[:-1], network.biases[:-1], strict=False)
    before = [None if network.activation == "relu" else grid(h @ W + b) for h, W, b in layers]
    ranges = ActivationRanges(grid(x), [grid(h) for h in hidden], before)
    warn_of_first_layer(network, x, ranges.inputs)
    return ranges


@np.errstate(over="ignore", invalid="ignore")
def warn_of_first_layer(network: MLP, x: np.ndarray, inputs: Grid) -> None:
    """Warns where the grids of x (N,I) and of the first layer's weights, one step for all columns, lose its outputs.

    The error of the median row is at most 5% of its distance to the mean row where columns have one scale, and 60% and
    more where a network takes raw columns of different scales.
    """
    W = network.weights[0]                                                      # (I,O)
    codes, units, scale, _ = weight_codes(W, 8)
    z, rounded = x @ W, inputs.rounded(x)[0] @ (codes * (scale * units))      # each (N,O)
    errors, distances = (np.median(np.square(d).sum(axis=1)) for d in (rounded - z, z - z.mean(axis=0)))
    error = np.sqrt(errors / max(distances, SMALLEST))
    if error > MOST_ERROR:
        warn(f"8 bits change the outputs of the first layer by {error:.0%} of their deviation: {REMEDY}")


def range_of(values: np.ndarray, method: str, percentile: float) -> tuple[float, float]:
    """The lowest and the highest value that is to have a code of its own; `values` have any shape."""
    if method == "percentile":
        low, high = np.percentile(values, [100 - percentile, percentile])
        return float(low), float(high)
    low, high = float(values.min()), float(values.max())
    if method == "minmax":
        return low, high
    flat = values.ravel()
    some = flat[:: -(-flat.size // SAMPLE)].astype(np.float64)                  # (S,)
    grids = [Grid.over(low * shrink, high * shrink) for shrink in SHRINKS]
    errors = [np.square(some - fake_quantize_forward(some, g.scale, *g.limits)[0]).mean() for g in grids]
    best = SHRINKS[np.argmin(errors)]
    return float(low * best), float(high * best)


def check_quantizable(network: Any) -> None:
    """Refuses what is no MLP, has NaN, or is so wide that 32 bits could not hold its sums."""
    if not isinstance(network, MLP):
        raise TypeError(f"network must be an MLP, got {type(network).__name__}")
    network.check_exportable()
    if max(network.sizes) > WIDEST:
        raise ValueError(f"network.sizes must be at most {WIDEST:,} each to be quantized, got {network.sizes}")
