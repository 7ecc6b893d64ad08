# SPDX-License-Identifier: MIT
"""kernels/cuda/: the names of ops.py, for arrays of the host and of the card."""

import inspect

import numpy as np
import pytest
from gpu_arrays import Elsewhere, assert_same, both_dtypes, numbers

from minidistill import ops
from minidistill.kernels import cuda
from minidistill.kernels.cuda.device import is_on_gpu, to_gpu

pytestmark = pytest.mark.cuda


def test_every_name_of_ops_is_here_with_the_same_arguments():
    for name, function in vars(ops).items():
        if inspect.isfunction(function):
            mine = inspect.signature(getattr(cuda, name)).parameters
            assert list(mine) == list(inspect.signature(function).parameters), name


@both_dtypes
def test_linear(dtype):
    x, W, b, dz = (numbers(k, *shape, dtype=dtype) for k, shape in enumerate([(5, 6), (6, 3), (3,), (5, 3)]))
    z, cache = cuda.linear_forward(x, W, b)
    assert_same(z, ops.linear_forward(x, W, b)[0], size=(abs(x) @ abs(W) + abs(b)).max())
    dW, db = np.empty_like(W), np.empty_like(b)
    results = cuda.linear_backward(dz, cache, dW, db), ops.linear_backward(dz, cache)
    sizes = (abs(dz) @ abs(W.T)).max(), (abs(x.T) @ abs(dz)).max(), abs(dz).sum(axis=0).max()
    for mine, reference, size in zip(*results, sizes, strict=True):
        assert_same(mine, reference, size)
    assert_same(dW, x.T @ dz, sizes[1])
    assert cuda.linear_backward(dz, cache, skip_dx=True)[0] is None


def test_what_lives_on_the_card_is_read_where_it_is_and_the_result_stays_there():
    s = numbers(0, 5, 10)
    q, _ = cuda.softmax_forward(Elsewhere(to_gpu(s)), 2.0)
    assert is_on_gpu(q)
    assert_same(q.copy_to_host(), ops.softmax_forward(s, 2.0)[0])


def test_every_function_reads_arrays_of_another_library():
    s, t, y = numbers(0, 5, 10), numbers(1, 5, 10), np.arange(5)
    a, b = (Elsewhere(to_gpu(array)) for array in (s, t))
    assert_same(cuda.product(a, b, b_turned=True).copy_to_host(), s @ t.T, size=(abs(s) @ abs(t.T)).max())
    assert_same(cuda.relu_backward(a, b).copy_to_host(), s * (t > 0))
    assert_same(cuda.linear_backward(a, (b, b), skip_dx=True)[2].copy_to_host(), s.sum(axis=0), abs(s).sum())
    value, ds = cuda.distillation_loss(a, b, Elsewhere(to_gpu(y)), 2.0, 0.5)
    reference, expected = cuda.distillation_loss(s, t, y, 2.0, 0.5)
    assert value == reference
    np.testing.assert_array_equal(ds.copy_to_host(), expected)


def test_parameters_on_the_card_are_changed_there():
    w, dw, v = numbers(0, 9), numbers(1, 9), np.zeros(9, np.float32)
    on_card = to_gpu(w)
    cuda.sgd_update(Elsewhere(on_card), dw, to_gpu(v), 0.1)
    ops.sgd_update(w, dw, v, 0.1)
    assert_same(on_card.copy_to_host(), w)
