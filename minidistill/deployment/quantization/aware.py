# SPDX-License-Identifier: MIT
"""QuantizationAwareMLP: training with the rounding of the integer network (quantization-aware training)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...network import MLP, Cache
from ...support.checks import check_finite
from .calibration import calibrate
from .codes import check_bits, fake_quantize_backward, least_scale, weight_codes


class RoundedCache(NamedTuple):
    """What the backward pass needs of a forward pass: an MLP's cache, and masks of what was rounded and not clipped."""

    layers: Cache
    weights_inside: tuple[np.ndarray, ...]  # of each layer (I,O) bool
    inputs_inside: np.ndarray               # (B,I) bool

    @property
    def hidden(self) -> list[np.ndarray]:
        """As of the MLP's cache."""
        return self.layers.hidden


class QuantizationAwareMLP(MLP):
    """A float network that is trained as such, and predicts as the integer network that `quantize` makes of it.

    It starts as a copy of a trained `network`, and `fit` and `distill` train it like any other. Weights and activations
    are rounded in the forward pass; in the backward pass rounding counts as the identity. The ranges of the activations
    are those of the trained network and stay.

    calibration, bits, method, percentile   as in `quantize`

    `parameters` are the unrounded ones, and `save` writes a plain network with these. Raises as `calibrate` does.
    """

    def __init__(
        self, network: MLP, calibration: Any, bits: int = 8, method: str = "mse", percentile: float = 99.99
    ) -> None:
        self.bits = check_bits(bits)
        if calibration is None:
            raise ValueError("calibration must be rows (N,I) that show the ranges of activations, got None")
        self.grids = calibrate(network, calibration, method, percentile)
        super().__init__(**network._settings(), backend=network.backend)
        self.parameters[:] = network.parameters

    def forward(
        self, x: np.ndarray, training: bool = False, step: int = 0, layerwise: bool = False
    ) -> tuple[np.ndarray, Any]:
        """As of an MLP, with inputs, weights and hidden activations on their grids."""
        a, inputs_inside = self.grids.inputs.rounded(x)                         # (B,I)
        weights, biases, weights_inside = zip(*map(self.rounded, range(len(self.weights))), strict=True)
        logits, cache = self._layers_forward(a, weights, biases, training, step)            # (B,C)
        return logits, RoundedCache(cache, weights_inside, inputs_inside)

    def backward(
        self, dlogits: np.ndarray, cache: Any, input_gradient: bool = False, dhidden: Sequence[Any] | None = None
    ) -> np.ndarray | None:
        """As of an MLP; what was clipped gets no gradient."""
        dx = super().backward(dlogits, cache.layers, input_gradient, dhidden)   # (B,I)
        for dW, inside in zip(self.weight_gradients, cache.weights_inside, strict=True):
            dW *= inside                                                        # (I,O)                   
        return None if dx is None else fake_quantize_backward(dx, cache.inputs_inside)

    def check_exportable(self) -> None:
        """ValueError for NaN. The exported network is the float network, with unrounded parameters."""
        check_finite("network.parameters", self.parameters)

    def rounded(self, layer: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """W (I,O) and b (O,) of a layer as the integer network has them, and where W was not clipped."""
        W, b = self.weights[layer], self.biases[layer]
        inputs = self.grids.hidden[layer - 1] if layer else self.grids.inputs
        codes, units, scale, inside = weight_codes(W, self.bits, least_scale(b, inputs))
        steps = inputs.scale * scale * units                                    # (O,)
        return codes * (scale * units).astype(self.dtype), (np.rint(b / steps) * steps).astype(self.dtype), inside

    def _activation_forward(self, layer: int, z: np.ndarray) -> tuple[np.ndarray, Any]:
        before = self.grids.before[layer]
        z, inside = (z, True) if before is None else before.rounded(z)          # (B,O)
        a, kept = self.activate(z)                                              # (B,O)
        a, inside_after = self.grids.hidden[layer].rounded(a)                   # (B,O)
        return a, (kept, inside, inside_after)

    def _activation_backward(self, da: np.ndarray, cache: Any) -> Any:
        kept, inside, inside_after = cache
        return fake_quantize_backward(self.activate_backward(da * inside_after, kept), inside)  # (B,O)   
