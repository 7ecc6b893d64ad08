# SPDX-License-Identifier: MIT
"""kernels/cpu/matmul.py: every rung is the same product, for any shape, strides, dtype and number of threads."""

import os
import re
import subprocess
import sys

import llvmlite.binding as llvm
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from rounding import assert_product

from minidistill.kernels.cpu import matmul, simd

pytestmark = pytest.mark.compiles

sizes = st.integers(1, 70)
dtypes = st.sampled_from([np.float32, np.float64])


def operand(random, rows, columns, dtype, layout):
    """(rows, columns) random numbers: side by side, transposed, or every second row and column of a larger array."""
    if layout == "transposed":
        return random.standard_normal((columns, rows)).astype(dtype).T
    if layout == "every second":
        return random.standard_normal((2 * rows, 2 * columns)).astype(dtype)[::2, ::2]
    return random.standard_normal((rows, columns)).astype(dtype)


C, T, E = "contiguous", "transposed", "every second"
layouts = st.sampled_from([(C, C), (C, T), (T, C), (E, E)])


LOOPS, VECTORS = matmul.LADDER[:3], matmul.LADDER[3:]
RUNGS = [*(pytest.param(rung, marks=pytest.mark.one_width) for rung in LOOPS), *VECTORS]


@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.__name__)
@given(M=sizes, K=sizes, N=sizes, dtype=dtypes, layout=layouts, seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_every_rung_is_the_product(rung, M, K, N, dtype, layout, seed):
    random = np.random.default_rng(seed)
    A, B = operand(random, M, K, dtype, layout[0]), operand(random, K, N, dtype, layout[1])
    padded = np.full(M * N + 64, 777, dtype)
    C = padded[32:-32].reshape(M, N)
    rung(A, B, C)
    assert_product(C, A, B)
    assert (padded[:32] == 777).all() and (padded[-32:] == 777).all(), "wrote outside C"


@pytest.mark.parametrize("shape", [(128, 784, 800), (784, 128, 800), (600, 128, 17), (1, 900, 1300), (257, 1300, 64)])
def test_large_products_give_the_same_bits_on_any_number_of_threads(shape):
    M, K, N = shape
    random = np.random.default_rng(0)
    A, B = random.standard_normal((M, K)).astype(np.float32), random.standard_normal((K, N)).astype(np.float32)
    one, many = np.zeros((M, N), np.float32), np.zeros((M, N), np.float32)
    matmul.packed(A, B, one)
    assert_product(one, A, B)
    for _ in range(20):  # a race would not show every time
        many[:] = 0
        matmul.threaded(A, B, many)
        np.testing.assert_array_equal(one, many)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_transposed_A_with_its_columns_far_apart_is_packed_whatever_the_height_of_a_block(dtype):
    M, K, N = 2 * matmul.PAGE_BYTES // np.dtype(dtype).itemsize + 5, 41, 200
    random = np.random.default_rng(0)
    A, B = random.standard_normal((K, M)).astype(dtype).T, random.standard_normal((K, N)).astype(dtype)
    C = np.zeros((M, N), dtype)
    matmul.packed(A, B, C)
    assert_product(C, A, B)


@pytest.mark.one_width
def test_the_lower_rungs_stay_within_bounds():
    """numba can check every index, except those of simd.py's pointers."""
    program = (
        "import numpy as np; from minidistill.kernels.cpu import matmul\n"
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


def machine_code_in_float32():
    return next(c for s, c in matmul._product_of_arrays.inspect_asm().items() if s[0].dtype.bitwidth == 32)


def test_float32_blocks_hold_no_doubles():
    A = np.ones((8, 8), np.float32)
    matmul.packed(A, A, A.copy())
    code = machine_code_in_float32()
    for instruction in ("mulpd", "addpd", "fmadd231pd", "fmadd213pd", "cvtss2sd", "cvtps2pd"):
        assert instruction not in code


@pytest.mark.skipif("x86" not in llvm.get_process_triple(), reason="looks for registers of x86")
def test_float32_blocks_multiply_in_registers_of_the_chosen_width_and_in_no_others():
    A = np.ones((8, 8), np.float32)
    matmul.packed(A, A, A.copy())
    code = machine_code_in_float32()
    multiplications = [line for line in code.splitlines() if re.search(r"\bv?(mul|fmadd\d+)ps\b", line)]
    own = {16: "%xmm", 32: "%ymm", 64: "%zmm"}[simd.REGISTER_BYTES]
    assert len(multiplications) >= 2 * matmul.ROWS
    assert {register for line in multiplications for register in re.findall("%[xyz]mm", line)} == {own}


@pytest.mark.parametrize("n", [2, 4, 8, 16])
@pytest.mark.parametrize("shape", [(1, 1), (10, 128), (128, 10), (784, 800), (800, 784)])
def test_blocks_are_counted_as_they_cover_the_product(shape, n):
    M, N = shape
    corners = {(i, j) for i in range(0, M, matmul.ROWS) for j in range(0, N, 2 * n)}
    assert matmul.count_blocks(M, N, n) == len(corners)
