# SPDX-License-Identifier: MIT
"""kernels/matmul.py: every rung is the same product, for any shape, strides and dtype, and on any number of threads."""

import os
import subprocess
import sys

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistill.kernels import matmul

pytestmark = pytest.mark.compiles

TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}
sizes = st.integers(1, 70)


def operand(random, rows, columns, dtype, layout):
    """(rows, columns) random numbers: side by side, transposed, or every second row and column of a larger array."""
    if layout == "transposed":
        return random.standard_normal((columns, rows)).astype(dtype).T
    if layout == "every second":
        return random.standard_normal((2 * rows, 2 * columns)).astype(dtype)[::2, ::2]
    return random.standard_normal((rows, columns)).astype(dtype)


C, T, E = "contiguous", "transposed", "every second"
layouts = st.sampled_from([(C, C), (C, T), (T, C), (E, E)])


@pytest.mark.parametrize("rung", matmul.LADDER, ids=lambda rung: rung.__name__)
@given(M=sizes, K=sizes, N=sizes, dtype=st.sampled_from(list(TOLERANCE)), layout=layouts, seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_every_rung_is_the_product(rung, M, K, N, dtype, layout, seed):
    random = np.random.default_rng(seed)
    A, B = operand(random, M, K, dtype, layout[0]), operand(random, K, N, dtype, layout[1])
    padded = np.full(M * N + 64, 777, dtype)
    C = padded[32:-32].reshape(M, N)
    rung(A, B, C)
    np.testing.assert_allclose(C, A.astype(np.float64) @ B, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * K)
    assert (padded[:32] == 777).all() and (padded[-32:] == 777).all(), "wrote outside C"


@pytest.mark.parametrize("shape", [(128, 784, 800), (784, 128, 800), (600, 128, 17), (1, 900, 1300), (257, 1300, 64)])
def test_large_products_give_the_same_bits_on_any_number_of_threads(shape):
    M, K, N = shape
    random = np.random.default_rng(0)
    A, B = random.standard_normal((M, K)).astype(np.float32), random.standard_normal((K, N)).astype(np.float32)
    one, many = np.zeros((M, N), np.float32), np.zeros((M, N), np.float32)
    matmul.packed(A, B, one)
    np.testing.assert_allclose(one, A @ B, rtol=1e-3, atol=1e-4 * np.sqrt(K))
    for _ in range(20):  # a race would not show every time
        many[:] = 0
        matmul.threaded(A, B, many)
        np.testing.assert_array_equal(one, many)
    assert numba.get_num_threads() >= 1


def test_the_lower_rungs_stay_within_bounds():
    """numba can check every index, except those of simd.py's pointers."""
    program = (
        "import numpy as np; from minidistill.kernels import matmul\n"
        "for M, K, N in (1, 1, 1), (3, 70, 65), (65, 2, 130):\n"
        "    A, B, C = np.ones((M, K)), np.ones((K, N)), np.zeros((M, N))\n"
        "    for rung in matmul.LADDER[:3]:\n"
        "        rung(A, B, C); assert (C == K).all()\n"
    )
    subprocess.run([sys.executable, "-c", program], env={**os.environ, "NUMBA_BOUNDSCHECK": "1"}, check=True)


@pytest.mark.parametrize("rung", matmul.LADDER, ids=lambda rung: rung.__name__)
def test_what_does_not_fit_is_refused(rung):
    A, B, C = np.zeros((3, 4)), np.zeros((4, 5)), np.zeros((3, 5))
    with pytest.raises(ValueError, match="cannot multiply"):
        rung(A, B[:3], C)
    with pytest.raises(ValueError, match="cannot multiply"):
        rung(A, B, C[:2])
    with pytest.raises(TypeError, match="float32"):
        rung(A, B.astype(np.float32), C)
    with pytest.raises(ValueError, match="contiguous"):
        rung(A, B, np.zeros((5, 3)).T)


def test_float32_blocks_hold_no_doubles():
    A = np.ones((8, 8), np.float32)
    matmul.packed(A, A, A.copy())
    (code,) = [c for s, c in matmul._product_of_arrays.inspect_asm().items() if s[0].dtype.bitwidth == 32][:1]
    for instruction in ("vmulpd", "vaddpd", "vfmadd231pd", "vfmadd213pd", "cvtss2sd", "cvtps2pd"):
        assert instruction not in code


@pytest.mark.parametrize("n", [4, 8, 16])
def test_a_product_with_few_columns_has_fewer_blocks_if_it_is_turned(n):
    assert matmul.count_blocks(10, 128, n) < matmul.count_blocks(128, 10, n)
    assert matmul.count_blocks(800, 784, n) > matmul.count_blocks(784, 800, n)
