# SPDX-License-Identifier: MIT
"""Quantization: networks whose weights and activations are whole numbers of 8 or 4 bits (docs/guides/quantize.md).

`quantize` returns a `QuantizedMLP` of a trained network: one byte or half a byte per weight, and integer products. Rows
of calibration data determine the ranges of the activations; without them, each row is measured at prediction.
`QuantizationAwareMLP` recovers accuracy: it trains further, from labels or from a teacher, with the rounding.

    codes         Grid, codes of weights, rounding forward and backward
    calibration   ActivationRanges, calibrate()
    network       IntegerLayer, QuantizedMLP: the definition to the last bit
    aware         QuantizationAwareMLP
    conversion    quantize()
"""

from typing import TYPE_CHECKING

from ...support.deprecation import renamed_names
from .aware import QuantizationAwareMLP
from .calibration import ActivationRanges, calibrate
from .codes import Grid, fake_quantize_backward, fake_quantize_forward
from .conversion import quantize
from .network import KIND, IntegerLayer, QuantizedMLP

__all__ = [
    "KIND", "ActivationRanges", "Grid", "IntegerLayer", "QuantizationAwareMLP", "QuantizedMLP", "calibrate",
    "fake_quantize_backward", "fake_quantize_forward", "quantize",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__ = renamed_names(__name__, {"Grids": "ActivationRanges"})
