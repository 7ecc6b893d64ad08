# SPDX-License-Identifier: MIT
"""Matrix products: the ladder from three loops to the speed of BLAS.

Every rung is a function f(A, B, C) that overwrites C (M,N) with A (M,K) @ B (K,N), and each adds one idea:

    1  three_loops        the definition: C[i,j] is the sum over k of A[i,k] * B[k,j]
    2  reordered          the loops in the order i, k, j: memory is read in the order in which it lies
    3  tiled              a piece of B that fits the cache serves all rows of A before the next one is fetched
    4  register_blocked   a block of C stays in registers while k runs: each number that is loaded is used many times
    5  packed             the columns of B that a block needs are first copied side by side: one stream, no cache misses
    6  threaded           every core makes a share of C; k is never split, so their number does not change a bit

The first three are the loops that one would write, and LLVM does with them what it can. The others stand on simd.py,
and they are one function, `make_product`, with its parts switched on. It reads A and B through two strides each, so
that x @ W, dz @ W.T and x.T @ dz are the same code: to transpose is to swap the strides. What happens to a block of C
while it is still in the cache is the product's *epilogue*.
"""

from functools import wraps

import numpy as np
from numba import njit, prange

from ..arguments import check_apart, check_changed_in_place, check_dimensions
from ..threads import guarded, usable_threads
from . import blocks, simd
from .simd import at, lanes, load, load_first, pointer, store, store_first


def checked(rung):
    """`rung`, which is called if C (M,N) can be overwritten by A (M,K) @ B (K,N): it checks nothing."""

    @wraps(rung, updated=())
    def run(A, B, C):
        check_changed_in_place(C=C)
        for name, array in (("A", A), ("B", B)):
            if not isinstance(array, np.ndarray) or array.dtype != C.dtype:
                found = f"{getattr(array, 'dtype', type(array).__name__)} for {name}, {C.dtype} for C"
                raise TypeError(f"A, B and C must all be float32 or all float64, got {found}")
            check_dimensions(name, array, "(rows, columns)")
        if A.shape[1] != B.shape[0] or C.shape != (A.shape[0], B.shape[1]) or 0 in (*A.shape, *B.shape):
            raise ValueError(f"cannot multiply A {A.shape} by B {B.shape} into C {C.shape}")
        check_apart("C", C, A=A, B=B)
        rung(A, B, C)

    run.py_func = getattr(rung, "py_func", rung)
    return run


# ------------------------------------------------------------------------------------------------------- rungs 1 to 3


@checked
@njit
def three_loops(A, B, C):
    M, K = A.shape
    N = B.shape[1]
    for i in range(M):
        for j in range(N):
            total = C.dtype.type(0)
            for k in range(K):
                total += A[i, k] * B[k, j]
            C[i, j] = total


@checked
@njit
def reordered(A, B, C):
    M, K = A.shape
    N = B.shape[1]
    C[:] = 0
    for i in range(M):
        for k in range(K):
            for j in range(N):
                C[i, j] += A[i, k] * B[k, j]


TILE = 64  # 64 x 64 float32 are 16 KB: half of a usual first-level cache


@checked
@njit
def tiled(A, B, C):
    M, K = A.shape
    N = B.shape[1]
    C[:] = 0
    for kt in range((K + TILE - 1) // TILE):
        for jt in range((N + TILE - 1) // TILE):
            k0, j0 = kt * TILE, jt * TILE
            for i in range(M):
                for k in range(min(TILE, K - k0)):  # all count from 0: of others numba tests whether they are negative
                    for j in range(min(TILE, N - j0)):
                        C[i, j0 + j] += A[i, k0 + k] * B[k0 + k, j0 + j]


# ------------------------------------------------------------------------------------------ rung 4: blocks in registers
# A block of C has ROWS rows of 2 Vectors. With AVX2 that is 6 x 2 = 12 of the 16 registers, and the row of B takes two
# more. Each step of k loads these 2 Vectors and 6 numbers of A for 12 multiply-adds. Without a block, each multiply-add
# would load two operands and store a result, and memory, not arithmetic, would set the pace.

ROWS = 6 if simd.REGISTERS == 16 else 8

internal = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)  # called from compiled code only


def make_block(rows, columns, partial):
    """The kernel for a block of rows x columns Vectors; of a partial one, the last Vector of a row is not full."""

    @internal
    def block(K, A, a_row, a_col, B, b_row, width, C):
        """C, rows x columns Vectors side by side in memory, becomes A (rows,K) @ B (K,width)."""
        total = blocks.zeros(C, rows, columns)
        for k in range(K):
            b = blocks.load_row(at(B, k * b_row), columns, width, partial)
            total = blocks.multiply_add(total, at(A, k * a_col), a_row, b)
        blocks.store_block(C, total)

    return block


def make_blocks(columns, partial, most=ROWS):
    """The kernels for 1 to `most` rows behind one name: their number is known when it is called, not before."""
    with_most = make_block(most, columns, partial)
    with_fewer = make_blocks(columns, partial, most - 1) if most > 1 else nothing

    @internal
    def block(rows, K, A, a_row, a_col, B, b_row, width, C):
        if rows == most:
            with_most(K, A, a_row, a_col, B, b_row, width, C)
        else:
            with_fewer(rows, K, A, a_row, a_col, B, b_row, width, C)

    return block


@internal
def nothing(*arguments):
    pass


full_block = make_blocks(2, False)      # the last Vector of a row is full,
partial_block = make_blocks(2, True)    # or it is not,
narrow_block = make_blocks(1, True)     # or one Vector is enough
WIDE = 8
wide_block = make_block(1, WIDE, False)       # a single row, a batch of one: as many sums at a time, in one row,
half_block = make_block(1, WIDE // 2, False)  # or half as many


# -------------------------------------------------------------------------------------- rungs 5 and 6: packing, threads
# The rows of a large B lie on different pages of memory, and a block would visit one after the other. So the columns of
# a block are copied first: into a panel of K rows of 2 Vectors. Many panels are packed at a time, as many as half of
# the second-level cache holds, and all rows of A pass over them. Copying is also where a transposed B is turned round.

CACHE_BYTES = 256 * 1024
PAGE_BYTES = 1024  # rows of an operand at least this far apart are worth packing,
REUSES = 4         # where this many blocks of rows use the copy
NEVER, WHERE_IT_PAYS = np.arange(2)
WORK_FOR_THREADS = 1 << 20  # multiply-adds: some 20 microseconds of one core, against a few to wake the others

ROWS_AHEAD = 8  # rows of B on other pages than the one being copied: no processor guesses them, it is told of them


@internal
def pack(K, B, b_row, b_col, columns, panels):
    """Copies K rows of B into panels of 2 Vectors a row, one panel behind the other, with zeros behind the last column.

    A row is read to its end before the next one: neighbours in memory arrive together.
    """
    n = lanes(B)
    wide = 2 * n
    if b_col == 1:
        for k in range(K):
            row = at(B, k * b_row)
            for j in range(0, columns, wide):
                target = at(panels, j * K + wide * k)
                simd.prefetch(at(row, ROWS_AHEAD * b_row + j))
                store(target, load_first(at(row, j), columns - j))
                store(at(target, n), load_first(at(row, j + n), columns - j - n))
        return
    for j in range(0, columns, wide):
        pack_turned(K, at(B, j * b_col), b_row, b_col, min(wide, columns - j), at(panels, j * K))


@internal
def pack_turned(K, B, b_row, b_col, width, panel):
    """One panel of a B whose columns are not side by side."""
    n = lanes(B)
    if b_row == 1 and width == 2 * n and n <= K:
        for start in range(0, K, n):
            k = min(start, K - n)  # the last square may do again what the one before it did
            blocks.copy_transposed(at(B, k), b_col, at(panel, 2 * n * k), 2 * n)
            blocks.copy_transposed(at(B, n * b_col + k), b_col, at(panel, 2 * n * k + n), 2 * n)
        return
    for k in range(K):
        for j in range(width):
            panel[2 * n * k + j] = B[k * b_row + j * b_col]
        for j in range(width, 2 * n):
            panel[2 * n * k + j] = 0


@njit
def panels_at_once(K, n, itemsize):
    """How many panels of K rows of 2 Vectors of n numbers stay in the cache together."""
    return max(1, CACHE_BYTES // (2 * n * K * itemsize))


@njit
def count_blocks(M, N, n):
    """How many blocks C (M,N) is made of, with Vectors of n numbers."""
    return ((M + ROWS - 1) // ROWS) * ((N + 2 * n - 1) // (2 * n))


def scratch_size(K, dtype, threads):
    """Numbers of scratch memory for a product of this K."""
    itemsize = np.dtype(dtype).itemsize
    return threads * _scratch_of_a_thread(K, simd.REGISTER_BYTES // itemsize, itemsize)


@njit
def _scratch_of_a_thread(K, n, itemsize):
    """A thread's block of C, panel of A and panels of B."""
    return 2 * n * (ROWS + K + panels_at_once(K, n, itemsize) * K)


def make_product(epilogue, announce):
    """The product whose blocks of C are finished by epilogue(i, j, rows, width, block, stride, extra).

    The block is at rows i.., columns j.. of C; row r of its numbers starts at block + r * stride. Before it is
    computed, announce(i, j, rows, extra) may ask memory for what the epilogue will want: it arrives in the meantime.
    `extra` is handed on for every block: a pointer, or a short tuple of numbers and pointers.
    """

    @internal
    def part(
        first_row, last_row, first_column, last_column, K, A, a_row, a_col, B, b_row, b_col,
        itemsize, scratch, pack_b, extra,
    ):  # fmt: skip
        """The part of C within these rows and columns."""
        n = lanes(B)
        block = scratch
        a_panel = at(block, ROWS * 2 * n)
        b_panels = at(a_panel, K * 2 * n)
        blocks = (last_row - first_row + ROWS - 1) // ROWS
        at_once = panels_at_once(K, n, itemsize) * 2 * n if pack_b else max(1, last_column - first_column)
        fits = 2 * n >= ROWS  # in a row of a panel, which holds two Vectors: not where these are of two doubles
        far_apart = a_row == 1 and a_col * itemsize >= PAGE_BYTES
        pack_a = fits and far_apart and last_column - first_column >= REUSES * 2 * n
        if last_row - first_row == 1 and not pack_b:
            while first_column + WIDE // 2 * n <= last_column:
                j, width = first_column, WIDE * n
                if j + width <= last_column:
                    wide_block(K, at(A, first_row * a_row), a_row, a_col, at(B, j * b_col), b_row, width, block)
                else:
                    width = WIDE // 2 * n
                    half_block(K, at(A, first_row * a_row), a_row, a_col, at(B, j * b_col), b_row, width, block)
                epilogue(first_row, j, 1, width, block, width, extra)
                first_column += width
        for left in range(first_column, last_column, at_once):
            right = min(left + at_once, last_column)
            if pack_b:
                pack(K, at(B, left * b_col), b_row, b_col, right - left, b_panels)
            i = first_row
            for blocks_left in range(blocks, 0, -1):
                height = (last_row - i + blocks_left - 1) // blocks_left  # nearly equal ones: no thin one is left over
                a, row, col = at(A, i * a_row), a_row, a_col
                if pack_a:
                    pack(K, a, a_col, 1, height, a_panel)
                    a, row, col = a_panel, 1, 2 * n
                for j in range(left, right, 2 * n):
                    width = min(2 * n, right - j)
                    b, b_stride = at(B, j * b_col), b_row
                    if pack_b:
                        b, b_stride = at(b_panels, (j - left) * K), 2 * n
                    announce(i, j, height, extra)
                    if width == 2 * n:
                        full_block(height, K, a, row, col, b, b_stride, width, block)
                    elif width > n:
                        partial_block(height, K, a, row, col, b, b_stride, width, block)
                    else:
                        narrow_block(height, K, a, row, col, b, b_stride, width, block)
                    epilogue(i, j, height, width, block, 2 * n if width > n else n, extra)
                i += height

    @njit(parallel=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
    def product(threads, M, N, K, A, a_row, a_col, B, b_row, b_col, itemsize, scratch, packing, extra):
        n = lanes(B)
        far_apart = b_row * itemsize >= PAGE_BYTES and M >= REUSES * ROWS
        pack_b = b_col != 1 or (packing == WHERE_IT_PAYS and far_apart)
        if threads == 1 or M * N * K < WORK_FOR_THREADS:
            part(np.intp(0), M, np.intp(0), N, K, A, a_row, a_col, B, b_row, b_col, itemsize, scratch, pack_b, extra)
            return
        size = _scratch_of_a_thread(K, n, itemsize)
        panels, blocks = (N + 2 * n - 1) // (2 * n), (M + ROWS - 1) // ROWS
        by_columns = panels >= REUSES * threads
        for share in prange(threads):
            t = np.intp(share)
            top, bottom, left, right = np.intp(0), M, np.intp(0), N
            if by_columns:
                left, right = panels * t // threads * 2 * n, min(N, panels * (t + 1) // threads * 2 * n)
            else:
                top, bottom = blocks * t // threads * ROWS, min(M, blocks * (t + 1) // threads * ROWS)
            own = at(scratch, t * size)
            part(top, bottom, left, right, K, A, a_row, a_col, B, b_row, b_col, itemsize, own, pack_b, extra)

    return product


@internal
def store_block(i, j, rows, width, block, stride, C):
    """The plainest epilogue: the block goes to its place in C, a (pointer, distance of rows)."""
    start, c_row = C
    n = lanes(start)
    for r in range(rows):
        for c in range(0, width, n):
            store_first(at(start, (i + r) * c_row + j + c), width - c, load(at(block, r * stride + c)))


plain_product = make_product(store_block, nothing)


@guarded
@njit
def _product_of_arrays(A, B, C, threads, packing):
    M, K = A.shape
    N = B.shape[1]
    a_row, a_col = A.strides[0] // A.itemsize, A.strides[1] // A.itemsize
    b_row, b_col = B.strides[0] // B.itemsize, B.strides[1] // B.itemsize
    a, b, c = pointer(A, 0), pointer(B, 0), pointer(C, 0)
    scratch = np.empty(threads * _scratch_of_a_thread(K, lanes(c), C.itemsize), C.dtype)
    own = pointer(scratch, 0)
    plain_product(threads, M, N, K, a, a_row, a_col, b, b_row, b_col, C.itemsize, own, packing, (c, N))


@checked
def register_blocked(A, B, C):
    """Rung 4. A, B may be views with any strides (B is packed all the same where its rows are not contiguous)."""
    _product_of_arrays(A, B, C, 1, NEVER)


@checked
def packed(A, B, C):
    """Rung 5."""
    _product_of_arrays(A, B, C, 1, WHERE_IT_PAYS)


@checked
def threaded(A, B, C):
    """Rung 6, on as many threads as `numba.set_num_threads` allows."""
    _product_of_arrays(A, B, C, usable_threads(), WHERE_IT_PAYS)


LADDER = (three_loops, reordered, tiled, register_blocked, packed, threaded)
