# SPDX-License-Identifier: MIT
"""quantize(): the integer network of a trained one (derived in docs/guides/quantize.md)."""

from typing import Any

import numpy as np

from ... import ops
from ...data.scaling import MOST_APART, apart, column_sizes
from ...network import MLP
from ...support.checks import warn
from .aware import QuantizationAwareMLP
from .calibration import REMEDY, ActivationRanges, calibrate, check_quantizable
from .codes import LARGEST, Grid, check_bits, least_scale, requantized, weight_codes
from .network import IntegerLayer, QuantizedMLP


def quantize(
    network: MLP, calibration: Any = None, bits: int | None = None, method: str = "mse", percentile: float = 99.99
) -> QuantizedMLP:
    """The integer network of a trained one, which stays as it is.

    calibration  some hundred training rows (N,I), which determine the ranges of activations; or `ActivationRanges`.
                 None measures each row at prediction, which takes longer and is not bound to those rows
    bits         of a weight: 8 (the default) or 4
    method       how the ranges of activations are found, and `percentile`: as in `calibrate`

    A `QuantizationAwareMLP` has bits and ranges of its own. Raises ValueError as `calibrate`, and for other bits. Gives
    a UserWarning where the inputs, which have one step, differ so much in scale that the first layer is lost.
    """
    if isinstance(network, QuantizationAwareMLP):
        if calibration is not None or bits not in (None, network.bits):
            raise ValueError(f"a QuantizationAwareMLP has ranges and {network.bits} bits of its own: give neither")
        calibration, bits = network.grids, network.bits
    bits = check_bits(8 if bits is None else bits)
    if calibration is None:
        check_quantizable(network)
        if apart(column_sizes(network.weights[0].T)[1]) > MOST_APART:
            warn(f"the first layer's weights of some inputs are {MOST_APART:g} times as large as others: {REMEDY}")
        layers, ranges = _measured_layers(network, bits), None
    else:
        grids = calibrate(network, calibration, method, percentile)
        layers, ranges = _integer_layers(network, grids, bits), [grids.inputs, *grids.hidden]
    return QuantizedMLP(network.sizes, network.activation, bits, layers, ranges, network.backend)


def _measured_layers(network: MLP, bits: int) -> list[IntegerLayer]:
    layers = []
    for W, b in zip(network.weights, network.biases, strict=True):
        codes, units, scale, _ = weight_codes(W, bits)
        layers.append(IntegerLayer(codes, b.astype(np.float32), units, np.float32(scale)))
    return layers


def _integer_layers(network: MLP, grids: ActivationRanges, bits: int) -> list[IntegerLayer]:
    layers, ranges = [], [grids.inputs, *grids.hidden]
    for k, (W, b) in enumerate(zip(network.weights, network.biases, strict=True)):
        inputs = ranges[k]
        codes, units, scale, _ = weight_codes(W, bits, least_scale(b, inputs))
        steps = inputs.scale * scale * units                                    # (O,)  of an accumulator
        c = np.rint(b / steps) - inputs.zero * codes.sum(axis=0, dtype=np.int64)    # (O,)                
        target, zero, table = 1.0, 0, None  # for the logits
        if k < len(grids.hidden):
            before, after = grids.before[k], grids.hidden[k]
            target, zero = before or after
            table = None if before is None else activation_table(network.activation, before, after)
        multiplier = np.float32(inputs.scale * scale / target)
        layers.append(IntegerLayer(codes, c.astype(np.int32), units, multiplier, zero, table))
    return layers


def activation_table(activation: str, before: Grid, after: Grid) -> np.ndarray:
    """The code after the activation for each code before it, (256,) uint8."""
    z = before.scale * (np.arange(LARGEST + 1) - before.zero)                   # (256,) float64
    a, _ = getattr(ops, f"{activation}_forward")(z)
    return requantized(a / after.scale, after.zero)                             # (256,)                  
