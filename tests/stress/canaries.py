# SPDX-License-Identifier: MIT
"""Arrays between bytes of a known pattern: what a compiled kernel writes beyond an array's end shows there."""

import numpy as np

PATTERN = 0xA5
MARGIN = 4096  # bytes on each side: a row of a batch beyond the end still hits them


class Canaries:
    """Makes guarded arrays and counts the bytes around them that have changed."""

    def __init__(self):
        self.blocks = []

    def guarded(self, values, order="C"):
        """A copy of `values` with pattern bytes on both sides; `order` is its layout, as np.array takes it."""
        values = np.array(values, order=order)
        memory = np.full(values.nbytes + 2 * MARGIN, PATTERN, np.uint8)
        strides = values.strides if values.size else None
        copy = np.ndarray(values.shape, values.dtype, memory, MARGIN, strides)
        copy[...] = values
        self.blocks.append(memory)
        return copy

    def overwritten(self):
        """How many pattern bytes have changed."""
        edges = (edge for memory in self.blocks for edge in (memory[:MARGIN], memory[-MARGIN:]))
        return sum(int((edge != PATTERN).sum()) for edge in edges)
