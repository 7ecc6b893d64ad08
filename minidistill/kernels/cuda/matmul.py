# SPDX-License-Identifier: MIT
"""Matrix products on a card: the ladder from one thread an element to numbers that are loaded four at a time.

Every rung overwrites C (M,N) with A (M,K) @ B (K,N), and each adds one idea:

    1  naive           a thread an element: the definition, run side by side
    2  coalesced       neighbours in a row of C are neighbours in a warp: what they read of B lies side by side, and
                       the card fetches it in one piece
    3  shared_tiles    a block makes a tile of C. Its threads together fetch a tile of A and one of B into shared
                       memory, and then each number that came from far away is used many times
    4  register_tiles  a thread makes several elements: each number that came from shared memory is used several times
    5  vectorised      the tiles are fetched four numbers an instruction

Rungs 3 to 5 are one function, `product_function`, whose `Tile` says how much of C a block makes and how much of that a
thread. It reads A and B as they lie or turned: x @ W, x.T @ dz and dz @ W.T are the same code. Its *finish* takes each
element while a thread still holds it: to add a bias and apply the activation, or to update the weight at once.
"""

from functools import cache
from typing import NamedTuple

from .device import (
    ALIGNMENT,
    AT_ONCE,
    SIMULATED,
    THREADS,
    block_count,
    cuda,
    formulas,
    kernel_and_function,
    load_four,
    multiprocessors,
)
from .rows import dropout_function, update_function

# ------------------------------------------------------------------------------------------------------- rungs 1 and 2


@cuda.jit
def naive(A, B, C):
    i, j = cuda.grid(2)  # the first of the two counts threads of a warp, which so lie in a column of C
    if i < C.shape[0] and j < C.shape[1]:
        total = C.dtype.type(0)
        for k in range(A.shape[1]):
            total += A[i, k] * B[k, j]
        C[i, j] = total


@cuda.jit
def coalesced(A, B, C):
    j, i = cuda.grid(2)
    if i < C.shape[0] and j < C.shape[1]:
        total = C.dtype.type(0)
        for k in range(A.shape[1]):
            total += A[i, k] * B[k, j]
        C[i, j] = total


# ------------------------------------------------------------------------------------------------------- rungs 3 to 5


class Tile(NamedTuple):
    """What a block of THREADS threads makes at once. (rows / height) * (columns / width) is THREADS."""

    rows: int     # of C, a block
    columns: int
    depth: int    # of K, before the next tiles of A and B are fetched
    height: int   # rows and columns of C, a thread
    width: int

    def number_in(self, M, N):
        """How many of them C (M,N) has."""
        return -(-M // self.rows) * -(-N // self.columns)


SHARED = Tile(2, 4, 4, 1, 1) if SIMULATED else Tile(16, 16, 16, 1, 1)
REGISTERS = Tile(4, 8, 4, 2, 2) if SIMULATED else Tile(64, 64, 16, 4, 4)
VECTORS = Tile(8, 16, 4, 4, 4) if SIMULATED else Tile(128, 128, 8, 8, 8)
PADDING = 4  # columns: the numbers that a warp writes to a tile at once would else all lie in the same bank


@cache
def tile_loader(dtype, size, depth, side_by_side):
    """load(source, wide, first, count, k0, K, tile): fetches tile[k, i], the factors `first` + i at k0 + k.

    They lie side by side in the source, which then is (K, count); or it is (count, K). Threads that are neighbours read
    neighbours in memory, either way. Beyond the edges the tile is zero. `wide` says that the source begins, and each of
    its rows, at a multiple of four numbers.
    """
    zero = dtype(0)
    numbers, by_fours = size * depth, size % AT_ONCE == depth % AT_ONCE == 0
    turns, turns_of_four = -(-numbers // THREADS), -(-numbers // (AT_ONCE * THREADS))  # known, so unrolled

    @cuda.jit(device=True)
    def load(source, wide, first, count, k0, K, tile):
        if by_fours and wide:
            for turn in range(turns_of_four):
                e = AT_ONCE * (turn * THREADS + cuda.threadIdx.x)
                k, i = (e // size, e % size) if side_by_side else (e % depth, e // depth)
                four = (zero, zero, zero, zero)
                if e < numbers and k0 + k < K and first + i < count:
                    place = (k0 + k) * count + first + i if side_by_side else (first + i) * K + k0 + k
                    four = load_four(source, place)
                if e < numbers:
                    for n in range(AT_ONCE):
                        if side_by_side:
                            tile[k, i + n] = four[n]
                        else:
                            tile[k + n, i] = four[n]
        else:
            for turn in range(turns):
                e = turn * THREADS + cuda.threadIdx.x
                k, i = (e // size, e % size) if side_by_side else (e % depth, e // depth)
                number = zero
                if e < numbers and k0 + k < K and first + i < count:
                    place = (k0 + k) * count + first + i if side_by_side else (first + i) * K + k0 + k
                    number = source[place]
                if e < numbers:
                    tile[k, i] = number

    return load


@cache
def tile_reader(count):
    """read(tile, k, i, numbers): the `count` numbers of a thread, tile[k, i] and those beside it."""

    @cuda.jit(device=True)
    def read(tile, k, i, numbers):
        for n in range(count):
            numbers[n] = tile[k, i + n]

    @cuda.jit(device=True)
    def read_by_fours(tile, k, i, numbers):
        for n in range(0, count, AT_ONCE):
            numbers[n], numbers[n + 1], numbers[n + 2], numbers[n + 3] = load_four(tile[k], i + n)

    return read if count % AT_ONCE else read_by_fours


@cache
def product_function(dtype, tile, a_turned, b_turned, finish):
    """product(M, N, K, A, B, a_wide, b_wide, to): A @ B, all arrays flat.

    A is (M,K), turned (K,M); B is (K,N), turned (N,K). finish(i, j, N, value, to) is called once an element, and `to`
    says where it goes.
    """
    rows, columns, depth, height, width = tile
    load_a = tile_loader(dtype, rows, depth, a_turned)
    load_b = tile_loader(dtype, columns, depth, not b_turned)
    read_a, read_b = tile_reader(height), tile_reader(width)
    a_shape, b_shape = (depth, rows + PADDING), (depth, columns + PADDING)
    threads_across = columns // width
    zero = dtype(0)

    def product_share(M, N, K, A, B, a_wide, b_wide, to):
        a_tile = cuda.shared.array(a_shape, dtype, ALIGNMENT)
        b_tile = cuda.shared.array(b_shape, dtype, ALIGNMENT)
        sums = cuda.local.array((height, width), dtype)
        a = cuda.local.array(height, dtype)
        b = cuda.local.array(width, dtype)
        top = cuda.threadIdx.x // threads_across * height
        left = cuda.threadIdx.x % threads_across * width
        tiles_across = (N + columns - 1) // columns
        tiles = (M + rows - 1) // rows * tiles_across
        for number in range(cuda.blockIdx.x, tiles, cuda.gridDim.x):
            i0, j0 = number // tiles_across * rows, number % tiles_across * columns
            for r in range(height):
                for c in range(width):
                    sums[r, c] = zero
            for k0 in range(0, K, depth):
                load_a(A, a_wide, i0, M, k0, K, a_tile)
                load_b(B, b_wide, j0, N, k0, K, b_tile)
                cuda.syncthreads()  # both tiles are there
                for k in range(depth):
                    read_a(a_tile, k, top, a)
                    read_b(b_tile, k, left, b)
                    for r in range(height):
                        for c in range(width):
                            sums[r, c] += a[r] * b[c]
                cuda.syncthreads()  # nobody reads them any more
            for r in range(height):
                for c in range(width):
                    if i0 + top + r < M and j0 + left + c < N:
                        finish(i0 + top + r, j0 + left + c, N, sums[r, c], to)

    return kernel_and_function(product_share)


def multiply(dtype, shape, A, B, turned, finish, to, tile=None, short=True, wide=True):
    """Launches the product (M, N, K) of flat arrays on the card, by `tile_for` where no Tile is given."""
    M, N, K = shape
    tile = tile or tile_for(M, N, short)
    a_wide = wide and is_wide(A, M if turned[0] else K)
    b_wide = wide and is_wide(B, K if turned[1] else N)
    kernel = product_function(dtype, tile, *turned, finish).kernel
    kernel[block_count(tile.number_in(M, N), 1), THREADS](M, N, K, A, B, a_wide, b_wide, to)


def tile_for(M, N, short=True):
    """The largest Tile of which C (M,N) has enough for every multiprocessor of the card.

    `short` says that the finish is. The compiler does not repeat a long one, with an activation and dropout, for each
    of 64 elements, and elements that a loop counts through do not stay in registers.
    """
    tiles = (VECTORS, REGISTERS) if short else (REGISTERS,)
    return next((tile for tile in tiles if tile.number_in(M, N) >= multiprocessors()), SHARED)


def is_wide(array, row):
    """Whether rows of so many numbers, in an array on the card, all begin where `load_four` can."""
    return row % AT_ONCE == 0 and (SIMULATED or array.device_ctypes_pointer.value % ALIGNMENT == 0)


# ------------------------------------------------------------------------------------------- what becomes of an element


@cuda.jit(device=True)
def store(i, j, N, value, to):
    to[0][i * N + j] = value


@cache
def finish_forward(dtype, activation):
    """Bias, activation and dropout; `to` is out, bias, kept, key, threshold and scale.

    kept is what the backward pass needs: z of GELU, and a of tanh before dropout. ReLU needs what is in out.
    """
    activate = getattr(formulas(dtype), activation) if activation else None
    masked = dropout_function(dtype)
    keeps_z, keeps_a = activation == "gelu", activation == "tanh"

    @cuda.jit(device=True)
    def forward(i, j, N, value, to):
        out, bias, kept, key, threshold, scale = to
        a = activate(value + bias[j])
        if keeps_z:
            kept[i * N + j] = value + bias[j]
        if keeps_a:
            kept[i * N + j] = a
        out[i * N + j] = masked(a, key, i, j, threshold, scale)

    @cuda.jit(device=True)
    def logits(i, j, N, value, to):
        to[0][i * N + j] = value + to[1][j]

    return forward if activation else logits


@cache
def finish_backward(dtype, activation):
    """dz of the layer below, from da, or dx where there is no layer: `to` is out, kept, key, threshold and scale."""
    activate_backward = getattr(formulas(dtype), f"{activation}_backward") if activation else None
    masked, hidden = dropout_function(dtype), activation is not None

    @cuda.jit(device=True)
    def backward(i, j, N, value, to):
        out, kept, key, threshold, scale = to
        da = masked(value, key, i, j, threshold, scale)
        out[i * N + j] = activate_backward(da, kept[i * N + j]) if hidden else da

    return backward


@cache
def finish_update(dtype, optimizer):
    """One step of the optimizer; `to` is the weights, what it remembers of them, the rate, corrections and settings.

    The gradient of a weight never reaches memory.
    """
    update = update_function(dtype, optimizer)

    @cuda.jit(device=True)
    def update_weight(i, j, N, value, to):
        w, first, second, rate, corrections, settings = to
        update(i * N + j, value, w, first, second, rate, corrections, settings)

    return update_weight
