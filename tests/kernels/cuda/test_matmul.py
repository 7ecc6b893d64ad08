# SPDX-License-Identifier: MIT
"""kernels/cuda/matmul.py: every rung of the ladder multiplies, in every layout, up to the edges."""

import numpy as np
import pytest
from gpu_arrays import assert_same, numbers

from minidistill.kernels import cuda
from minidistill.kernels.cuda import matmul as cuda_matmul
from minidistill.kernels.cuda.device import THREADS, to_gpu

pytestmark = pytest.mark.cuda

TILES = {"shared": cuda_matmul.SHARED, "registers": cuda_matmul.REGISTERS, "vectors": cuda_matmul.VECTORS}
LAYOUTS = {"A @ B": (False, False), "A.T @ B": (True, False), "A @ B.T": (False, True)}


@pytest.mark.parametrize("kernel", [cuda_matmul.naive, cuda_matmul.coalesced], ids=["naive", "coalesced"])
def test_the_first_rungs_multiply(kernel):
    A, B, C = numbers(0, 5, 7), numbers(1, 7, 3), to_gpu(np.full((5, 3), np.nan, np.float32))
    kernel[(2, 3), (4, 2)](to_gpu(A), to_gpu(B), C)
    assert_same(C.copy_to_host(), A @ B, size=(abs(A) @ abs(B)).max())


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
    on_card = to_gpu(numbers(0, 24))
    assert cuda_matmul.is_wide(on_card, 8) and not cuda_matmul.is_wide(on_card, 6)


def test_a_block_has_the_threads_of_its_tile():
    for tile in TILES.values():
        assert (tile.rows // tile.height) * (tile.columns // tile.width) == THREADS
