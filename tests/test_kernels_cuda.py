# SPDX-License-Identifier: MIT
"""kernels/cuda.py and its rooms: the results of ops.py, on a card or, without one, in numba's simulator.

`make test-cuda-sim` runs these in a process with NUMBA_ENABLE_CUDASIM=1, `make cuda` on a card. The simulator runs one
Python thread for each of a block's and blocks one after the other: shapes are tiny, and no race shows.
"""

import inspect

import numpy as np
import pytest
from elsewhere import Elsewhere

from minidistill import kernels, ops

try:
    cuda = kernels.load_backend("cuda")
except ImportError as error:
    pytest.skip(f"neither a card nor its simulator: {error}", allow_module_level=True)
from minidistill.kernels import cuda_matmul
from minidistill.kernels.cuda_device import THREADS, is_on_card, to_card

pytestmark = pytest.mark.cuda

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


def test_every_name_of_ops_is_here_with_the_same_arguments():
    for name, function in vars(ops).items():
        if inspect.isfunction(function):
            mine = inspect.signature(getattr(cuda, name)).parameters
            assert list(mine) == list(inspect.signature(function).parameters), name


# ----------------------------------------------------------------------------------------------------------- products

TILES = {"shared": cuda_matmul.SHARED, "registers": cuda_matmul.REGISTERS, "vectors": cuda_matmul.VECTORS}
LAYOUTS = {"A @ B": (False, False), "A.T @ B": (True, False), "A @ B.T": (False, True)}


@pytest.mark.parametrize("kernel", [cuda_matmul.naive, cuda_matmul.coalesced], ids=["naive", "coalesced"])
def test_the_first_rungs_multiply(kernel):
    A, B, C = numbers(0, 5, 7), numbers(1, 7, 3), np.full((5, 3), np.nan, np.float32)
    kernel[(2, 3), (4, 2)](A, B, C)
    assert_same(C, A @ B, size=(abs(A) @ abs(B)).max())


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 9, 6), (8, 16, 8)], ids=str)
def test_every_tile_multiplies_every_layout_at_edges_and_in_full(tile, layout, shape):
    M, N, K = shape
    a_turned, b_turned = LAYOUTS[layout]
    A, B = numbers(0, M, K), numbers(1, K, N)
    turned = [A.T.copy() if a_turned else A, B.T.copy() if b_turned else B]
    for wide in (False, True):
        C = cuda.product(*turned, a_turned, b_turned, tile=TILES[tile], wide=wide)
        assert_same(C, A @ B, size=(abs(A) @ abs(B)).max())


def test_rows_are_read_by_fours_where_they_begin_at_a_multiple_of_four():
    on_card = to_card(numbers(0, 24))
    assert cuda_matmul.is_wide(on_card, 8) and not cuda_matmul.is_wide(on_card, 6)


def test_a_block_has_the_threads_of_its_tile():
    for tile in TILES.values():
        assert (tile.rows // tile.height) * (tile.columns // tile.width) == THREADS


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


# ----------------------------------------------------------------------------------------------------------- elements


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


# ----------------------------------------------------------------------------------------------------- rows of logits

SHAPES = pytest.mark.parametrize("shape", [(1, 2), (5, 10), (3, 70)], ids=["one row", "few classes", "many classes"])


@SHAPES
@pytest.mark.parametrize("scale", [1, 30])
@both_dtypes
def test_softmax(shape, scale, dtype):
    s, dq = numbers(0, *shape, dtype=dtype) * dtype(scale), numbers(1, *shape, dtype=dtype)
    for name in ("softmax", "log_softmax"):
        q, cache = getattr(cuda, f"{name}_forward")(s, 3.0)
        reference, reference_cache = getattr(ops, f"{name}_forward")(s, 3.0)
        assert_same(q, reference)
        backward = f"{name}_backward"
        terms = abs(dq).max()  # where q is all but one-hot they cancel, and of the difference only rounding is left
        assert_same(getattr(cuda, backward)(dq, cache), getattr(ops, backward)(dq, reference_cache), terms)


@SHAPES
@pytest.mark.parametrize("scale", [1, 30])
@both_dtypes
def test_losses(shape, scale, dtype):
    s, t = (numbers(k, *shape, dtype=dtype) * dtype(scale) for k in range(2))
    y, tolerance, T = np.arange(shape[0]) % shape[1], 10 * TOLERANCE[dtype], 2.5
    for arguments in ((s, y), (s, ops.softmax_forward(t)[0])):
        value, cache = cuda.cross_entropy_forward(*arguments)
        reference, reference_cache = ops.cross_entropy_forward(*arguments)
        assert_same(value, reference)
        expected = ops.cross_entropy_backward(reference_cache)
        np.testing.assert_allclose(cuda.cross_entropy_backward(cache), expected, atol=tolerance)
    value, cache = cuda.soft_target_forward(s, t, T)
    reference, reference_cache = ops.soft_target_forward(s, t, T)
    np.testing.assert_allclose(value, reference, rtol=tolerance, atol=tolerance * T * T * scale)
    expected = ops.soft_target_backward(reference_cache)
    np.testing.assert_allclose(cuda.soft_target_backward(cache), expected, atol=T * tolerance)


@pytest.mark.parametrize("descending", [False, True])
def test_one_pass_finds_the_largest_logit_wherever_it_stands(descending):
    s = np.linspace(-400, 400, 41, dtype=np.float32)[None, :: -1 if descending else 1]
    t = np.roll(s, 7, axis=1)
    value, ds = cuda.distillation_loss(s, t, np.array([3]), temperature=4.0, alpha=0.5)
    kl, kl_cache = ops.soft_target_forward(s, t, 4.0)
    ce, ce_cache = ops.cross_entropy_forward(s, np.array([3]))
    assert_same(np.float32(value), np.float32((kl + ce) / 2))
    assert_same(ds, (ops.soft_target_backward(kl_cache) + ops.cross_entropy_backward(ce_cache)) / 2)


@pytest.mark.parametrize("place", [0, 1, 69])
def test_nan_among_the_logits_reaches_the_loss(place):
    s = numbers(0, 2, 70)
    s[1, place] = np.nan
    assert np.isnan(cuda.distillation_loss(s, s[::-1].copy(), np.array([0, 1]), 2.0, 0.5)[0])


# ------------------------------------------------------------------------------------------------- arrays on the card


def test_what_lives_on_the_card_is_read_where_it_is_and_the_result_stays_there():
    s = numbers(0, 5, 10)
    q, _ = cuda.softmax_forward(Elsewhere(to_card(s)), 2.0)
    assert is_on_card(q)
    assert_same(q.copy_to_host(), ops.softmax_forward(s, 2.0)[0])


def test_every_function_reads_arrays_of_another_library():
    s, t, y = numbers(0, 5, 10), numbers(1, 5, 10), np.arange(5)
    a, b = (Elsewhere(to_card(array)) for array in (s, t))
    assert_same(cuda.product(a, b, b_turned=True).copy_to_host(), s @ t.T, size=(abs(s) @ abs(t.T)).max())
    assert_same(cuda.relu_backward(a, b).copy_to_host(), s * (t > 0))
    assert_same(cuda.linear_backward(a, (b, b), skip_dx=True)[2].copy_to_host(), s.sum(axis=0), abs(s).sum())
    value, ds = cuda.distillation_loss(a, b, Elsewhere(to_card(y)), 2.0, 0.5)
    reference, expected = cuda.distillation_loss(s, t, y, 2.0, 0.5)
    assert value == reference
    np.testing.assert_array_equal(ds.copy_to_host(), expected)


def test_parameters_on_the_card_are_changed_there():
    w, dw, v = numbers(0, 9), numbers(1, 9), np.zeros(9, np.float32)
    on_card = to_card(w)
    cuda.sgd_update(Elsewhere(on_card), dw, to_card(v), 0.1)
    ops.sgd_update(w, dw, v, 0.1)
    assert_same(on_card.copy_to_host(), w)


def test_an_array_on_the_card_of_another_dtype_is_refused():
    with pytest.raises(TypeError, match="an array on the card must be contiguous float32, got contiguous float64"):
        to_card(to_card(numbers(0, 3, dtype=np.float64)), np.float32)
