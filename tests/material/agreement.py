# SPDX-License-Identifier: MIT
"""How closely the results of two backends agree, and random numbers to compare them on."""

import numpy as np

TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}
NETS = [  # sizes, activation, dropout
    ((9, 5), "relu", 0.0),
    ((12, 33, 10), "relu", 0.3),
    ((12, 17, 9, 70), "tanh", (0.1, 0.5, 0.2)),
    ((7, 20, 3), "gelu", 0.2),
    ((40, 128, 10), "relu", 0.0),
]


def numbers(seed, *shape, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def assert_same(mine, reference, size=None):
    """Equal within the dtype's tolerance, relative to the largest number (or to `size`); and of the same dtype."""
    mine, reference = np.asarray(mine), np.asarray(reference)
    assert mine.dtype == reference.dtype and mine.shape == reference.shape
    assert np.isfinite(mine).all()
    tolerance = TOLERANCE[reference.dtype.type]
    size = max(1e-30, abs(reference).max()) if size is None else size
    np.testing.assert_allclose(mine, reference, rtol=tolerance, atol=tolerance * size)
