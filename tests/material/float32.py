# SPDX-License-Identifier: MIT
"""Losses that compute in float32, whatever they are given."""

import numpy as np


def in_float32(loss, returned="float32"):
    """The loss as JAX computes it: the logits and all results are float32."""

    def rounded(s, t, y):
        value, ds = loss(s.astype(np.float32), t.astype(np.float32), y)
        return np.dtype(returned).type(value), ds.astype(np.float32).astype(returned)

    return rounded
