# SPDX-License-Identifier: MIT
"""QuantizationAwareMLP: training with the rounding of the integer network (quantization-aware training)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...network import MLP
from ...support.checks import check_finite
from .calibration import ActivationRanges, calibrate, check_quantizable
from .codes import check_bits, fake_quantize_backward, least_scale, weight_codes


class RoundedCache(NamedTuple):
    """What the backward pass needs of a forward pass: a list of one entry per layer each, and a mask of the inputs."""

    dropout: list[Any]
    linear: list[Any]
    activation: list[Any]
    weights_inside: list[np.ndarray]  # (I,O) bool: rounded and not clipped
    inputs_inside: np.ndarray         # (B,I) bool

    @property
    def hidden(self) -> list[np.ndarray]:
        """The hidden activations as the layer after each receives them (dropout included), each (B, width)."""
        return [x for x, W in self.linear[1:]]


class QuantizationAwareMLP(MLP):
    """A network that learns as the float network that it is, and answers as the integer network it will be.

    It starts from a trained `network`, of which it takes a copy, and goes through `fit` or `distill` like any other.
    Weights and activations are rounded on the way forward; on the way back rounding counts as the identity. The ranges
    of its activations are those of the trained network and stay: it learns to live with them.

    calibration, bits, method, percentile   as in `quantize`, which makes the integer network of it in the end

    `parameters` are the unrounded ones, and `save` writes a plain network with these. Raises as `calibrate` does.
    """

    def __init__(
        self, network: MLP, calibration: Any, bits: int = 8, method: str = "mse", percentile: float = 99.99
    ) -> None:
        self.bits = check_bits(bits)
        check_quantizable(network)
        if calibration is None:
            raise ValueError("calibration must be rows (N,I) that show the ranges of activations, got None")
        given = isinstance(calibration, ActivationRanges)
        self.grids: ActivationRanges = calibration if given else calibrate(network, calibration, method, percentile)
        settings = (network.activation, network.dropout, network.seed, network.dtype, network.backend)
        super().__init__(network.sizes, *settings)
        self.parameters[:] = network.parameters

    def forward(
        self, x: np.ndarray, training: bool = False, step: int = 0, layerwise: bool = False
    ) -> tuple[np.ndarray, Any]:
        """As of an MLP, with inputs, weights and hidden activations on their grids."""
        a, inputs_inside = self.grids.inputs.rounded(x)                         # (B,I)
        cache = RoundedCache([], [], [], [], inputs_inside)
        last = len(self.weights) - 1
        for k, rate in enumerate(self.dropout):
            a, mask = self.ops.dropout_forward(a, rate, self.seed, step, k) if training and rate > 0 else (a, None)
            W, b, inside = self.rounded(k)                                      # (I,O), (O,), (I,O)
            z, linear = self.ops.linear_forward(a, W, b)                        # (B,O)
            a, activation = self._activation_forward(k, z) if k < last else (z, None)       # (B,O)
            cache.dropout.append(mask)
            cache.linear.append(linear)
            cache.activation.append(activation)
            cache.weights_inside.append(inside)
        return a, cache

    def backward(
        self, dlogits: np.ndarray, cache: Any, input_gradient: bool = False, dhidden: Sequence[Any] | None = None
    ) -> np.ndarray | None:
        """As of an MLP; what was clipped gets no gradient."""
        last = len(self.weights) - 1
        da = dlogits                                                            # (B,C)
        for k in range(last, -1, -1):
            dz = self._activation_backward(da, cache.activation[k]) if k < last else da     # (B,O)
            dW, db = self.weight_gradients[k], self.bias_gradients[k]
            skip_dx = k == 0 and not input_gradient
            da, _, _ = self.ops.linear_backward(dz, cache.linear[k], dW, db, skip_dx)       # (B,I)
            dW *= cache.weights_inside[k]                                       # (I,O)                   
            if dhidden is not None and k > 0 and dhidden[k - 1] is not None:
                da = da + dhidden[k - 1]                                        # (B,I)
            if cache.dropout[k] is not None and not skip_dx:
                da = self.ops.dropout_backward(da, cache.dropout[k])            # (B,I)
        return np.asarray(fake_quantize_backward(da, cache.inputs_inside)) if input_gradient else None

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

    def copy(self, backend: str | None = None) -> "QuantizationAwareMLP":
        """A network of its own with the same weights and ranges."""
        return QuantizationAwareMLP(self._unrounded(backend), self.grids, self.bits)

    def __reduce__(self) -> tuple[Any, ...]:
        return QuantizationAwareMLP, (self._unrounded(self.backend), self.grids, self.bits)

    def _unrounded(self, backend: str | None) -> MLP:
        network = MLP(self.sizes, self.activation, self.dropout, self.seed, self.dtype, backend)
        network.parameters[:] = self.parameters
        return network
