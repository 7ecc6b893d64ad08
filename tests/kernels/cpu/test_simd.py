# SPDX-License-Identifier: MIT
"""kernels/cpu/simd.py: Vectors load, store and compute as the numbers in them would, and touch no memory beyond."""

import os
import subprocess
import sys

import llvmlite.binding as llvm
import numpy as np
import pytest
from numba import njit

from minidistill.kernels.cpu import arithmetic, blocks, simd
from minidistill.kernels.cpu.simd import lanes, load, load_first, pointer, store, store_first

pytestmark = pytest.mark.compiles

DTYPES = (np.float32, np.float64)


def applied(operation):
    """A function (a, b, out, n) that loads the first n lanes of a and b and stores the result's."""

    @njit
    def run(a, b, out, n):
        store_first(pointer(out, 0), n, operation(load_first(pointer(a, 0), n), load_first(pointer(b, 0), n)))

    return run


OPERATIONS = {
    "sum": (lambda a, b: a + b, lambda a, b: a + b),
    "difference with a number": (lambda a, b: a - 2, lambda a, b: a - 2),
    "number over": (lambda a, b: 3 / b, lambda a, b: 3 / b),
    "product": (lambda a, b: a * b, lambda a, b: a * b),
    "largest": (lambda a, b: max(a, b), np.maximum),
    "smallest": (lambda a, b: min(a, 0.5), lambda a, b: np.minimum(a, 0.5)),
    "negative": (lambda a, b: -a, lambda a, b: -a),
    "where positive": (lambda a, b: arithmetic.where_positive(a, b), lambda a, b: np.where(a > 0, b, 0)),
    "root": (lambda a, b: arithmetic.square_root(b), lambda a, b: np.sqrt(b)),
    "nearest": (lambda a, b: arithmetic.nearest(a), lambda a, b: np.round(a)),
    "power of two": (lambda a, b: arithmetic.power_of_two(arithmetic.nearest(a)), lambda a, b: np.exp2(np.round(a))),
    "exponent": (lambda a, b: arithmetic.exponent(b), lambda a, b: np.floor(np.log2(b))),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_equal_numpy_lane_by_lane(name):
    operation, reference = OPERATIONS[name]
    run = applied(njit(operation))
    for dtype in DTYPES:
        count = simd.REGISTER_BYTES // np.dtype(dtype).itemsize
        random = np.random.default_rng(0)
        a, b = random.standard_normal(count).astype(dtype) * 3, random.uniform(0.1, 9, count).astype(dtype)
        for n in range(1, count + 1):
            out = np.full(count, -7, dtype)
            run(a, b, out, n)
            np.testing.assert_allclose(out[:n], reference(a, b)[:n], rtol=2 * np.finfo(dtype).eps)
            assert (out[n:] == -7).all(), "lanes beyond n were stored"


def test_nan_comes_through_max_and_min():
    @njit
    def held(a, out):
        store(pointer(out, 0), min(max(load(pointer(a, 0)), -1), 1))

    a = np.full(simd.REGISTER_BYTES // 4, np.nan, np.float32)
    out = np.zeros_like(a)
    held(a, out)
    assert np.isnan(out).all()


def test_sums_and_maxima_across_lanes():
    @njit
    def across(a):
        v = load(pointer(a, 0))
        return arithmetic.sum_lanes(v), arithmetic.max_lanes(v), arithmetic.sum_lanes(arithmetic.first(v, 1))

    for dtype in DTYPES:
        a = np.arange(simd.REGISTER_BYTES // np.dtype(dtype).itemsize, dtype=dtype) + 1
        assert across(a) == (a.sum(), a.max(), 1)


def test_copy_transposed():
    @njit
    def turned(a, out):
        blocks.copy_transposed(pointer(a, 0), a.shape[1], pointer(out, 0), out.shape[1])

    for dtype in DTYPES:
        n = simd.REGISTER_BYTES // np.dtype(dtype).itemsize
        a = np.random.default_rng(0).random((n, n + 3)).astype(dtype)
        out = np.zeros((n, n + 1), dtype)
        turned(a, out)
        np.testing.assert_array_equal(out[:, :n], a[:, :n].T)


def test_a_block_is_an_outer_product():
    @njit
    def outer(a, b, out):
        block = blocks.zeros(pointer(out, 0), 3, 2)
        n = lanes(pointer(b, 0))
        row = load(pointer(b, 0)), load(pointer(b, n))
        block = blocks.multiply_add(block, pointer(a, 0), 2, row)
        blocks.store_block(pointer(out, 0), blocks.multiply_add(block, pointer(a, 1), 2, row))

    n = simd.REGISTER_BYTES // 4
    a, b = np.arange(6, dtype=np.float32), np.random.default_rng(0).random(2 * n).astype(np.float32)
    out = np.zeros((3, 2 * n), np.float32)
    outer(a, b, out)
    np.testing.assert_allclose(out, np.outer(a[::2] + a[1::2], b), rtol=1e-6)


def test_float32_vectors_hold_no_doubles():
    """A Python constant is a double; next to a Vector it takes on the Vector's dtype."""

    @njit
    def scaled(a, out):
        store(pointer(out, 0), load(pointer(a, 0)) * 0.3 + 1.7)

    a = np.ones(16, np.float32)
    scaled(a, a.copy())
    (code,) = scaled.inspect_llvm().values()
    assert f"<{simd.REGISTER_BYTES // 4} x float>" in code
    assert "double>" not in code and "fpext" not in code


OTHER_PROCESSORS = [
    ({"NUMBA_CPU_NAME": "generic"}, 16, "madd"),
    ({"NUMBA_ENABLE_AVX": "0"}, 16, "madd"),
    ({"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": "+avx2,+fma"}, 32, "madd"),
    ({"NUMBA_CPU_NAME": "alderlake", "NUMBA_CPU_FEATURES": "+avx2,+fma,+avxvnni"}, 32, "vnni"),
    ({"NUMBA_CPU_NAME": "skylake-avx512", "NUMBA_CPU_FEATURES": "+avx512f,+avx512bw"}, 64, "madd"),
]


@pytest.mark.one_width
@pytest.mark.skipif("x86" not in llvm.get_process_triple(), reason="these are x86 processors")
@pytest.mark.parametrize(("variables", "width", "byte_products"), OTHER_PROCESSORS)
def test_registers_and_byte_products_are_those_of_the_processor_that_numba_compiles_for(
    variables, width, byte_products
):
    program = "from minidistill.kernels.cpu import simd; print(simd.REGISTER_BYTES, simd.BYTE_PRODUCTS)"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")} | variables
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(width), byte_products]
