# SPDX-License-Identifier: MIT
"""kernels/cuda/rows.py: elements, columns and whole gradients on a card are those of ops.py."""

import numpy as np
import pytest
from gpu_arrays import assert_same, both_dtypes, numbers

from minidistill import ops
from minidistill.kernels import cuda

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu"])
@both_dtypes
def test_activations(name, dtype):
    z, da = numbers(0, 3, 11, dtype=dtype), numbers(1, 3, 11, dtype=dtype)
    a, kept = getattr(cuda, f"{name}_forward")(z)
    reference, reference_kept = getattr(ops, f"{name}_forward")(z)
    assert_same(a, reference)
    assert_same(getattr(cuda, f"{name}_backward")(da, kept), getattr(ops, f"{name}_backward")(da, reference_kept))


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu"])
def test_no_activation_makes_a_number_of_nan(name):
    assert np.isnan(getattr(cuda, f"{name}_forward")(np.full((1, 3), np.nan, np.float32))[0]).all()


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.95])
@both_dtypes
def test_dropout_masks_are_the_same_bit_for_bit(rate, dtype):
    arguments = (5, 13), rate, 2**40 + 7, 11, 3, dtype
    np.testing.assert_array_equal(cuda.dropout_mask(*arguments), ops.dropout_mask(*arguments))
    a = numbers(0, 5, 13, dtype=dtype)
    masked, mask = cuda.dropout_forward(a, rate, 5, 1, 2)
    reference, reference_mask = ops.dropout_forward(a, rate, 5, 1, 2)
    np.testing.assert_array_equal(masked, reference)
    np.testing.assert_array_equal(cuda.dropout_backward(a, mask), ops.dropout_backward(a, reference_mask))


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.02])
@both_dtypes
def test_updates(nesterov, decay, dtype):
    w, dw, m, v = (numbers(k, 37, dtype=dtype) for k in range(4))
    v = abs(v)
    for change in (
        lambda ops, w, dw, m, v: ops.sgd_update(w, dw, m, 0.1, 0.8, nesterov, decay),
        lambda ops, w, dw, m, v: ops.adam_update(w, dw, m, v, 0.1, 7, weight_decay=decay),
        lambda ops, w, dw, m, v: ops.clip_norm(dw, 0.5),
        lambda ops, w, dw, m, v: ops.clip_norm(dw, 50.0),
        lambda ops, w, dw, m, v: ops.max_norm(w[:36].reshape(4, 9), 1.0),
    ):
        mine, reference = [w.copy() for w in (w, dw, m, v)], [w.copy() for w in (w, dw, m, v)]
        change(cuda, *mine)
        change(ops, *reference)
        for one, other in zip(mine, reference, strict=True):
            assert_same(one, other)


@pytest.mark.filterwarnings("ignore:.*overflow encountered:RuntimeWarning")
def test_a_gradient_that_explodes_is_clipped_all_the_same():
    mine, reference = np.full(50, 1e25, np.float32), np.full(50, 1e25, np.float32)
    cuda.clip_norm(mine, 1.0)
    ops.clip_norm(reference, 1.0)
    assert_same(mine, reference)
