# SPDX-License-Identifier: MIT
"""The CUDA backend: the names of ops.py, on a card.

What comes from the host goes there, is computed, and comes back; what lives on the card already (an array of numba,
CuPy, PyTorch or JAX) is read where it is, and the result stays there. One call at a time is right and slow, for the
way to the card is long: whole passes and whole epochs, with everything on the card, are in cuda/passes.py.
"""

import math

import numpy as np

from ...ops import hash32, kl_terms, one_hot  # noqa: F401  (a backend exports all names of ops)
from ...support.gpu_arrays import as_numba_array
from ..row_operations import cross_entropy_backward, row_operations, soft_target_backward, top_k_target_backward  # noqa: F401
from . import losses as cuda_losses, matmul as cuda_matmul, rows as cuda_rows
from .device import THREADS, block_count, empty, find_gpu, flat, formulas, is_on_gpu, to_gpu  # noqa: F401  (find_gpu is called from outside)
from .losses import FEW_CLASSES
from .rows import ADAM, PARTS, SGD, WARP


def _here(array):
    """An array of the host or of numba as it is, another library's array on the card as numba's; and its dtype."""
    array = as_numba_array(array) if is_on_gpu(array) else array
    return array, np.dtype(array.dtype).type


def _returned(found, shape, like):
    """`found`, in its shape, where `like` is: on the host or on the card."""
    found = found.reshape(shape)
    return found if is_on_gpu(like) else found.copy_to_host()


def _written(found, into):
    """Puts a flat array on the card into an array of the host, or sees that it is there already."""
    if not is_on_gpu(into):
        into[...] = found.copy_to_host().reshape(into.shape)


def _elements(kernel, like, *others):
    """A kernel of one thread an element: arrays of the shape of `like` in, one of its dtype out."""
    like, dtype = _here(like)
    out = empty(like.size, dtype)
    kernel[block_count(like.size), THREADS](*(flat(array, dtype) for array in (like, *others)), out)
    return _returned(out, like.shape, like)


# ------------------------------------------------------------------------------------------------- linear layer


def product(A, B, a_turned=False, b_turned=False, bias=None, tile=None, wide=True):
    """A @ B, of A or A.T and B or B.T, plus `bias` where there is one; `tile` and `wide` choose a rung."""
    (A, dtype), (B, _) = _here(A), _here(B)
    M, K = A.shape[::-1] if a_turned else A.shape
    k, N = B.shape[::-1] if b_turned else B.shape
    if k != K or A.dtype != B.dtype:
        raise ValueError(f"cannot multiply {(M, K)} {A.dtype} by {(k, N)} {B.dtype}")
    out, finish = empty(M * N, dtype), cuda_matmul.store
    to = (out,)
    if bias is not None:
        finish, to = cuda_matmul.finish_forward(dtype, None), (out, flat(bias, dtype))
    turned = a_turned, b_turned
    cuda_matmul.multiply(dtype, (M, N, K), flat(A, dtype), flat(B, dtype), turned, finish, to, tile, wide=wide)
    return _returned(out, (M, N), A)


def linear_forward(x, W, b):
    return product(x, W, bias=b), (x, W)


def linear_backward(dz, cache, dW=None, db=None, skip_dx=False):
    (x, W), (dz, dtype) = cache, _here(dz)
    B, O = dz.shape
    sums = empty(O, dtype)
    kernel = cuda_rows.column_sums(dtype, cuda_matmul.store).kernel
    kernel[block_count(O, WARP), THREADS](B, O, flat(dz), (sums,))
    dx = None if skip_dx else product(dz, W, b_turned=True)
    return dx, _copied(product(x, dz, a_turned=True), dW), _copied(_returned(sums, (O,), dz), db)


def _copied(found, into):
    """`found`, or the array that it has been copied into where there is one."""
    if into is None:
        return found
    into[...] = found
    return into


# ------------------------------------------------------------------------------------------------- activations


def activation(name, z):
    return _elements(cuda_rows.kernel_of_one(getattr(formulas(_here(z)[1]), name)), z)


def activation_backward(name, da, **kept):
    formula = getattr(formulas(_here(da)[1]), f"{name}_backward")
    return _elements(cuda_rows.kernel_of_two(formula), da, *kept.values())


# ------------------------------------------------------------------------------------------------- dropout


def _mask_on_gpu(shape, rate, seed, step, layer, dtype):
    dtype = np.dtype(dtype).type
    mask = empty(math.prod(shape), dtype)
    arguments = cuda_rows.dropout_arguments(rate, seed, step, layer, dtype)
    cuda_rows.dropout_kernel(dtype)[block_count(mask.size), THREADS](mask, shape[1], *arguments)
    return mask.reshape(shape)


def dropout_mask(shape, rate, seed, step, layer, dtype=np.float32):
    return _mask_on_gpu(shape, rate, seed, step, layer, dtype).copy_to_host()


def dropout_forward(a, rate, seed, step, layer):
    a, dtype = _here(a)
    mask = _mask_on_gpu(a.shape, rate, seed, step, layer, dtype)
    return dropout_backward(a, mask), mask if is_on_gpu(a) else mask.copy_to_host()


def dropout_backward(da, mask):
    return _elements(cuda_rows.multiply, da, mask)


# ------------------------------------------------------------------------------------------------- rows of logits


def softmax_rows(logarithm, direction, T, **arrays):
    like, dtype = _here(next(iter(arrays.values())))
    B, C = like.shape
    kernel = getattr(cuda_losses.softmax_kernels(dtype, logarithm), direction)
    out = empty(B * C, dtype)
    kernel[block_count(B, 1), THREADS](C, *(flat(array, dtype) for array in arrays.values()), dtype(1 / T), out)
    return _returned(out, (B, C), like)


def distillation_loss(s, t=None, y=None, temperature=1.0, alpha=0.0, label_smoothing=0.0):
    """(1-alpha) CE(s, y) + alpha T^2 KL(p || q) and its gradient ds (B,C), in one kernel.

    y: (B,) labels or (B,C) probabilities, None where alpha is 1; t: the teacher's logits (B,C), None where alpha is 0.
    """
    s, dtype = _here(s)
    B, C = s.shape
    labels, y = (y, None) if y is not None and len(y.shape) == 1 else (None, y)
    ds, values = empty(B * C, dtype), empty(B, dtype)
    arrays = flat(s), flat(t, dtype), flat(y, dtype), flat(labels, np.int64), to_gpu(np.arange(B)), ds, values
    numbers = alpha, temperature, 1 - label_smoothing, label_smoothing / C, 1 / B
    few = C <= FEW_CLASSES
    kernel = cuda_losses.loss_function(dtype, few).kernel
    kernel[block_count(B, WARP if few else 1), THREADS](B, C, *arrays, *map(dtype, numbers))
    return values.copy_to_host().mean(), _returned(ds, (B, C), s)


(
    relu_forward, relu_backward, tanh_forward, tanh_backward, gelu_forward, gelu_backward,
    log_softmax_forward, log_softmax_backward, softmax_forward, softmax_backward,
    cross_entropy_forward, soft_target_forward,
) = row_operations(activation, activation_backward, softmax_rows, distillation_loss)  # fmt: skip


def top_k_target_forward(s, indices, log_p, T):
    s, dtype = _here(s)
    B, C = s.shape
    ds, values = empty(B * C, dtype), empty(B, dtype)
    rows = flat(s), flat(indices, np.int64), flat(log_p, dtype)
    kernel = cuda_losses.top_k_kernel(dtype)
    kernel[block_count(B, 1), THREADS](C, rows[1].size // B, *rows, dtype(T), dtype(1 / B), ds, values)
    return values.copy_to_host().mean(), _returned(ds, (B, C), s)


# ------------------------------------------------------------------------------------------------- parameter updates


def _update(optimizer, w, dw, state, rate, corrections, settings):
    w, dtype = _here(w)
    on_card = [flat(array, dtype) for array in (w, *state)]
    numbers = dtype(rate), tuple(map(dtype, corrections)), tuple(map(dtype, settings))
    kernel = cuda_rows.update_kernel(dtype, optimizer)
    kernel[block_count(w.size), THREADS](flat(dw, dtype), *on_card[:2], on_card[-1], *numbers)
    for found, array in zip(on_card, (w, *state), strict=True):
        _written(found, array)


def sgd_update(w, dw, v, rate, momentum=0.9, nesterov=False, weight_decay=0.0):
    _update(SGD, w, dw, (v,), rate, (1, 1), (weight_decay, momentum, nesterov))


def adam_update(w, dw, m, v, rate, step, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0):
    corrections = 1 - beta1**step, 1 - beta2**step
    _update(ADAM, w, dw, (m, v), rate, corrections, (weight_decay, beta1, beta2, epsilon))


def clip_norm(dw, limit):
    dw, dtype = _here(dw)
    on_card, parts = flat(dw, dtype), empty(2 * PARTS, dtype)
    clip = cuda_rows.clip_functions(dtype)
    clip.squares.kernel[block_count(PARTS, 1), THREADS](on_card, parts)
    clip.scale[block_count(dw.size), THREADS](on_card, parts, dtype(limit))
    _written(on_card, dw)


def max_norm(W, limit):
    W, dtype = _here(W)
    I, O = W.shape
    on_card = flat(W, dtype)
    cuda_rows.column_norms(dtype).kernel[block_count(O, WARP), THREADS](I, O, on_card, dtype(limit))
    _written(on_card, W)
