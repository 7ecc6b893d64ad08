# SPDX-License-Identifier: MIT
"""What the tests of the CUDA backend have in common.

`make test-cuda-sim` runs them in the simulator, a process with NUMBA_ENABLE_CUDASIM=1, and `make cuda` on a card. There
a Python thread runs for each thread of a block, and blocks run one after the other: shapes are tiny, and no race
shows.
"""

import numpy as np
import pytest

from minidistill import kernels

try:
    kernels.load_backend("cuda")
except ImportError as error:  # the files that import this one are skipped
    pytest.skip(f"neither a card nor its simulator: {error}", allow_module_level=True)

TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}
both_dtypes = pytest.mark.parametrize("dtype", TOLERANCE)


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


class Elsewhere:
    """An array of another library, as far as one can see without it: its interface, and that it is kept alive."""

    def __init__(self, array):
        self.kept, self.shape = array, array.shape
        on_card = getattr(array, "__cuda_array_interface__", None)
        self.__cuda_array_interface__ = on_card or array._ary.__array_interface__  # the simulator's card is the host
