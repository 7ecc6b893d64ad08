# SPDX-License-Identifier: MIT
"""The CUDA backend: the names of ops.py, on a card.

What comes from the host goes there, is computed, and comes back; what lives on the card already (an array of numba,
CuPy, PyTorch or JAX) is read where it is, and the result stays there. One call at a time is right and slow, for the
way to the card is long: whole passes and whole epochs, with everything on the card, are in cuda/passes.py.

Read this wing in the order: cuda_device (the card), cuda_rows, cuda_losses and cuda_matmul (the kernels), cuda_epochs,
cuda_passes.
"""

import math

import numpy as np

from ...ops import hash32, kl_terms, one_hot  # noqa: F401  (a backend exports all names of ops)
from ...support.gpu_arrays import as_numba_array
from ..row_operations import cross_entropy_backward, row_operations, soft_target_backward, top_k_target_backward  # noqa: F401
from . import losses as cuda_losses
from . import matmul as cuda_matmul
from . import rows as cuda_rows
from .device import THREADS, block_count, empty, find_gpu, is_on_gpu, to_gpu  # noqa: F401  (find_gpu is called from outside)
from .losses import FEW_CLASSES
from .rows import ADAM, PARTS, SGD, WARP, threshold_and_scale


def _here(array):
    """Another library's array on the card as one of numba's; others as they are."""
    return as_numba_array(array) if is_on_gpu(array) else array


def _flat(array, dtype=None):
    array = to_gpu(array, dtype)
    return array.reshape(array.size)


def _returned(found, shape, like):
    """`found`, in its shape, where `like` is: on the host or on the card."""
    found = found.reshape(shape)
    return found if is_on_gpu(like) else found.copy_to_host()


def _written(found, into):
    """Puts a flat array on the card into an array of the host, or sees that it is there already."""
    if not is_on_gpu(into):
        into[...] = found.copy_to_host().reshape(into.shape)


def _elements(kernel, like, *arrays):
    """A kernel of one thread an element: arrays in, one like `like` out."""
    like = _here(like)
    dtype = np.dtype(like.dtype)
    out = empty(like.size, dtype)
    kernel[block_count(like.size), THREADS](*(_flat(array, dtype) for array in arrays), out)
    return _returned(out, like.shape, like)


# ------------------------------------------------------------------------------------------------- linear layer


def product(A, B, a_turned=False, b_turned=False, bias=None, tile=None, wide=True):
    """A @ B, of A or A.T and B or B.T, plus `bias` where there is one; `tile` and `wide` choose a rung."""
    A, B = _here(A), _here(B)
    M, K = A.shape[::-1] if a_turned else A.shape
    k, N = B.shape[::-1] if b_turned else B.shape
    if k != K or A.dtype != B.dtype:
        raise ValueError(f"cannot multiply {(M, K)} {A.dtype} by {(k, N)} {B.dtype}")
    dtype = np.dtype(A.dtype).type
    tile = tile or cuda_matmul.tile_for(M, N)
    a, b, out = _flat(A, dtype), _flat(B, dtype), empty(M * N, dtype)
    finish = cuda_matmul.store if bias is None else cuda_matmul.finish_forward(dtype, None)
    to = (out,) if bias is None else (out, _flat(bias, dtype))
    kernel = cuda_matmul.product_kernel(dtype, tile, a_turned, b_turned, finish)
    a_wide = wide and cuda_matmul.is_wide(a, A.shape[1])
    b_wide = wide and cuda_matmul.is_wide(b, B.shape[1])
    kernel[cuda_matmul.blocks_for(M, N, tile), THREADS](M, N, K, a, b, a_wide, b_wide, to)
    return _returned(out, (M, N), A)


def linear_forward(x, W, b):
    return product(x, W, bias=b), (x, W)


def linear_backward(dz, cache, dW=None, db=None, skip_dx=False):
    x, W = cache
    dx = None if skip_dx else product(dz, W, b_turned=True)
    found = product(x, dz, a_turned=True), _column_sums(dz)
    for given, made in zip((dW, db), found, strict=True):
        if given is not None:
            given[...] = made
    return dx, *(made if given is None else given for given, made in zip((dW, db), found, strict=True))


def _column_sums(dz):
    dz = _here(dz)
    B, O = dz.shape
    dtype = np.dtype(dz.dtype).type
    db = empty(O, dtype)
    cuda_rows.column_kernels(dtype).sums[block_count(O, WARP), THREADS](B, O, _flat(dz), db)
    return _returned(db, (O,), dz)


# ------------------------------------------------------------------------------------------------- activations


def activation(name, z):
    z = _here(z)
    return _elements(cuda_rows.activation_kernels(np.dtype(z.dtype).type, name).forward, z, z)


def activation_backward(name, da, **kept):
    da = _here(da)
    return _elements(cuda_rows.activation_kernels(np.dtype(da.dtype).type, name).backward, da, da, *kept.values())


# ------------------------------------------------------------------------------------------------- dropout


def _mask_on_card(shape, rate, seed, step, layer, dtype):
    dtype = np.dtype(dtype).type
    mask = empty(math.prod(shape), dtype)
    words = (word & 0xFFFFFFFF for word in (seed, step, layer))
    threshold, scale = threshold_and_scale(rate, dtype)
    blocks = block_count(mask.size)
    cuda_rows.dropout_kernel(dtype)[blocks, THREADS](mask, shape[1], *words, threshold, scale)
    return mask.reshape(shape)


def dropout_mask(shape, rate, seed, step, layer, dtype=np.float32):
    return _mask_on_card(shape, rate, seed, step, layer, dtype).copy_to_host()


def dropout_forward(a, rate, seed, step, layer):
    a = _here(a)
    mask = _mask_on_card(a.shape, rate, seed, step, layer, a.dtype)
    return dropout_backward(a, mask), mask if is_on_gpu(a) else mask.copy_to_host()


def dropout_backward(da, mask):
    return _elements(cuda_rows.multiply, da, da, mask)


# ------------------------------------------------------------------------------------------------- rows of logits


def softmax_rows(logarithm, direction, T, **arrays):
    like, *_ = arrays = tuple(map(_here, arrays.values()))
    (B, C), dtype = like.shape, np.dtype(like.dtype).type
    kernel = getattr(cuda_losses.softmax_kernels(dtype, logarithm), direction)
    out = empty(B * C, dtype)
    kernel[block_count(B, 1), THREADS](C, *(_flat(array, dtype) for array in arrays), dtype(1 / T), out)
    return _returned(out, (B, C), like)


def distillation_loss(s, t=None, y=None, temperature=1.0, alpha=0.0, label_smoothing=0.0):
    """(1-alpha) CE(s, y) + alpha T^2 KL(p || q) and its gradient ds (B,C), in one kernel.

    y: (B,) labels or (B,C) probabilities, None where alpha is 1; t: the teacher's logits (B,C), None where alpha is 0.
    """
    s = _here(s)
    (B, C), dtype = s.shape, np.dtype(s.dtype).type
    whole = y is not None and len(y.shape) == 1
    labels = _flat(y if whole else np.zeros(0), np.int64)
    y = _flat(np.zeros(0) if whole or y is None else y, dtype)
    t = _flat(np.zeros(0) if t is None else t, dtype)
    ds, values, order = empty(B * C, dtype), empty(B, dtype), to_gpu(np.arange(B))
    numbers = alpha, temperature, 1 - label_smoothing, label_smoothing / C, 1 / B
    few = C <= FEW_CLASSES
    blocks = block_count(B, WARP if few else 1)
    kernel = cuda_losses.loss_kernel(dtype, few)
    kernel[blocks, THREADS](B, C, _flat(s), t, y, labels, order, ds, values, *map(dtype, numbers))
    return values.copy_to_host().mean(), _returned(ds, (B, C), s)


(
    relu_forward, relu_backward, tanh_forward, tanh_backward, gelu_forward, gelu_backward,
    log_softmax_forward, log_softmax_backward, softmax_forward, softmax_backward,
    cross_entropy_forward, soft_target_forward,
) = row_operations(activation, activation_backward, softmax_rows, distillation_loss)  # fmt: skip


def top_k_target_forward(s, indices, log_p, T):
    s = _here(s)
    (B, C), dtype = s.shape, np.dtype(s.dtype).type
    indices, log_p = to_gpu(indices, np.int64), to_gpu(log_p, dtype)
    k, ds, values = indices.shape[1], empty(B * C, dtype), empty(B, dtype)
    rows = indices.reshape(B * k), log_p.reshape(B * k)
    kernel = cuda_losses.top_k_kernel(dtype)
    kernel[block_count(B, 1), THREADS](C, k, _flat(s), *rows, dtype(T), dtype(1 / B), ds, values)
    return values.copy_to_host().mean(), _returned(ds, (B, C), s)


# ------------------------------------------------------------------------------------------------- parameter updates


def _update(optimizer, w, dw, state, rate, corrections, settings):
    w = _here(w)
    dtype = np.dtype(w.dtype).type
    on_card = [_flat(array, dtype) for array in (w, *state)]
    numbers = dtype(rate), tuple(map(dtype, corrections)), tuple(map(dtype, settings))
    kernel = cuda_rows.update_kernel(dtype, optimizer)
    kernel[block_count(w.size), THREADS](_flat(dw, dtype), *on_card[:2], on_card[-1], *numbers)
    for found, array in zip(on_card, (w, *state), strict=True):
        _written(found, array)


def sgd_update(w, dw, v, rate, momentum=0.9, nesterov=False, weight_decay=0.0):
    _update(SGD, w, dw, (v,), rate, (1, 1), (weight_decay, momentum, nesterov))


def adam_update(w, dw, m, v, rate, step, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0):
    corrections = 1 - beta1**step, 1 - beta2**step
    _update(ADAM, w, dw, (m, v), rate, corrections, (weight_decay, beta1, beta2, epsilon))


def clip_norm(dw, limit):
    dw = _here(dw)
    dtype = np.dtype(dw.dtype).type
    on_card, parts = _flat(dw, dtype), empty(2 * PARTS, dtype)
    kernels = cuda_rows.clip_kernels(dtype)
    kernels.squares[block_count(PARTS, 1), THREADS](on_card, parts)
    kernels.scale[block_count(dw.size), THREADS](on_card, parts, dtype(limit))
    _written(on_card, dw)


def max_norm(W, limit):
    W = _here(W)
    (I, O), dtype = W.shape, np.dtype(W.dtype).type
    on_card = _flat(W, dtype)
    cuda_rows.column_kernels(dtype).shrink[block_count(O, WARP), THREADS](I, O, on_card, dtype(limit))
    _written(on_card, W)
