# SPDX-License-Identifier: MIT
"""kernels/cpu/top_k.py: top-k targets agree with ops.py."""

import numpy as np
import pytest
from agreement import TOLERANCE, assert_same, numbers

from minidistill import ops
from minidistill.kernels import cpu

pytestmark = pytest.mark.compiles


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("C", [5, 40, 1001])
def test_top_k_targets(C, dtype):
    s, t, T = numbers(0, 3, C, dtype=dtype), numbers(1, 3, C, dtype=dtype), 2.0
    log_p, _ = ops.log_softmax_forward(t, T)
    indices = np.argsort(-log_p, axis=1)[:, :3]
    log_p = np.take_along_axis(log_p, indices, 1)
    value, cache = cpu.top_k_target_forward(s, indices, log_p, T)
    reference, reference_cache = ops.top_k_target_forward(s, indices, log_p, T)
    np.testing.assert_allclose(value, reference, rtol=10 * TOLERANCE[dtype])
    assert_same(cpu.top_k_target_backward(cache), ops.top_k_target_backward(reference_cache))


def test_top_k_targets_of_extreme_logits():
    s = np.array([[1e4, 0, -1e4, 5], [0, 1e4, 0, 0]], np.float32)
    indices, log_p = np.array([[2], [0]]), np.log(np.array([[0.5], [0.9]], np.float32))
    value, ds = cpu.top_k_target_forward(s, indices, log_p, 1.0)
    reference, cache = ops.top_k_target_forward(s, indices, log_p, 1.0)
    np.testing.assert_allclose(value, reference, rtol=1e-5)
    np.testing.assert_allclose(ds, ops.top_k_target_backward(cache), atol=1e-6)
