# SPDX-License-Identifier: MIT
"""Memory that kernels work on: its alignment, and the places in one piece of it."""

from typing import Any

import numpy as np

CACHE_LINE = 64  # bytes


def aligned_zeros(shape: int | tuple[int, ...], dtype: Any) -> np.ndarray:
    """As np.zeros, from the beginning of a cache line on: a Vector that begins there lies on one line, not two."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(size + CACHE_LINE, np.uint8)
    return np.ndarray(shape, dtype, memory, offset=-memory.ctypes.data % CACHE_LINE)


class Places:
    """Places in one piece of memory, handed out one behind the other; `end` is how many numbers they take so far."""

    def __init__(self) -> None:
        self.end = 0

    def take(self, numbers: int) -> int:
        """The first of so many numbers. Each place begins with a multiple of 16, in float32 a cache line."""
        start = self.end
        self.end += -(-numbers // 16) * 16
        return start
