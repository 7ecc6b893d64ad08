# SPDX-License-Identifier: MIT
"""Rows and small networks to quantize."""

import numpy as np

from minidistill import MLP, Dataset

_random = np.random.default_rng(0)
X = _random.standard_normal((90, 6)).astype(np.float32)
DATA = Dataset(X, _random.integers(3, size=90))
ACTIVATIONS = ("relu", "tanh", "gelu")


def network(sizes=(6, 8, 5, 3), **options):
    """One whose biases are not zero, or mistakes in them would not show."""
    made = MLP(sizes, **options)
    made.parameters += 0.1 * np.random.default_rng(1).standard_normal(made.num_parameters).astype(made.dtype)
    return made
