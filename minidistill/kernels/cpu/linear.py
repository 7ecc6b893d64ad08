# SPDX-License-Identifier: MIT
"""Linear layers of whole arrays: a product and its bias, forward and backward."""

import threading

import numpy as np

from ..arguments import FLOATS, as_floats, check_apart, check_dimensions, check_shape, check_written
from ..threads import usable_threads
from . import matmul, simd
from .activations import IDENTITY
from .cache import kernel
from .dropout import make_mask
from .epilogues import FORWARD, STORE, UNIT, Finish, product
from .matmul import WHERE_IT_PAYS
from .simd import pointer
from .updates import no_update


def _operands(**arrays):
    """The arrays of a product, of one dtype; their layout is for `_turned` to see."""
    found = list(arrays.values())
    if not all(isinstance(array, np.ndarray) and array.dtype == found[0].dtype in FLOATS for array in found):
        found = as_floats(**arrays)
    for name, array in zip(arrays, found, strict=True):
        if 0 in array.shape:
            raise ValueError(f"{name} is empty: got shape {array.shape}")
    return found


def _turned(A):
    """A as a C-contiguous array, and whether that is its transpose."""
    if A.T.flags.c_contiguous and not A.flags.c_contiguous:
        return A.T, True
    return np.ascontiguousarray(A), False


_scratch = threading.local()


def _product(A, B, bias=None, out=None):
    """A @ B, + bias where there is one; both are of one dtype."""
    (M, K), N, dtype = A.shape, B.shape[1], B.dtype
    in_place = out is not None and out.dtype == dtype and out.flags.c_contiguous
    C = out if in_place else np.empty((M, N), dtype)
    (a, a_turned), (b, b_turned) = _turned(A), _turned(B)
    threads = usable_threads()
    size = matmul.scratch_size(K, dtype, threads) * dtype.itemsize
    if getattr(_scratch, "memory", None) is None or _scratch.memory.nbytes < size:
        _scratch.memory = np.empty(size, np.uint8)
    bias = np.empty(0, dtype) if bias is None else np.ascontiguousarray(bias, dtype)
    _multiply(a, a_turned, b, b_turned, bias, C, _scratch.memory.view(dtype), threads)
    if out is not None and out is not C:
        out[...] = C
        return out
    return C


@kernel
def _multiply(a, a_turned, b, b_turned, bias, C, scratch, threads):
    M, N = C.shape
    K = a.shape[0] if a_turned else a.shape[1]
    mask, update = make_mask(0.0, 0, 0, 0, C), no_update(C)
    out = pointer(C, 0)
    kind, row = (FORWARD, pointer(bias, 0)) if bias.size else (STORE, out)
    a_row, a_col = (UNIT, M) if a_turned else (K, UNIT)
    b_row, b_col = (UNIT, K) if b_turned else (N, UNIT)
    finish = Finish(kind, out, N, row, out, IDENTITY, mask, update)
    A, B, own = pointer(a, 0), pointer(b, 0), pointer(scratch, 0)
    product(threads, M, N, K, A, a_row, a_col, B, b_row, b_col, C.itemsize, own, WHERE_IT_PAYS, simd.address_of(finish))


def linear_forward(x, W, b):
    x, W, b = _operands(x=x, W=W, b=b)
    check_dimensions("x", x, "(B, I)")
    check_dimensions("W", W, "(I, O)")
    check_shape("W", W, (x.shape[1], W.shape[1]))
    check_shape("b", b, (W.shape[1],))
    return _product(x, W, b), (x, W)


def linear_backward(dz, cache, dW=None, db=None, skip_dx=False):
    dz, x, W = _operands(dz=dz, x=cache[0], W=cache[1])
    check_dimensions("x", x, "(B, I)")
    check_dimensions("W", W, "(I, O)")
    check_shape("W", W, (x.shape[1], W.shape[1]))
    check_shape("dz", dz, (len(x), W.shape[1]))
    check_written("dW", dW, W.shape)
    check_written("db", db, W.shape[1:])
    if dW is not None:
        check_apart("dW", dW, dz=dz, x=x, W=W, db=db)
    dx = None if skip_dx else _product(dz, W.T)
    dW = _product(x.T, dz, out=dW)
    db = np.sum(dz, axis=0, out=db)
    return dx, dW, db
