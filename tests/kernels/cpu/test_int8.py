# SPDX-License-Identifier: MIT
"""kernels/cpu/int8.py: the integer network's definition to the last bit, whichever instruction multiplies the bytes."""

import os
import subprocess
import sys

import llvmlite.binding as llvm
import numba
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from llvmlite import ir
from numba import njit

from minidistill import MLP, quantize
from minidistill.deployment.quantization import QuantizedMLP
from minidistill.deployment.quantization.codes import WIDEST
from minidistill.kernels.cpu import int8, simd
from minidistill.kernels.cpu.simd import pointer

pytestmark = pytest.mark.compiles

widths = st.integers(1, 70)


def both(sizes, activation="relu", bits=8, calibrated=True, seed=0):
    """The readable network and the compiled one, and rows of which some are out of the range that it was shown."""
    random = np.random.default_rng(seed)
    network = MLP(sizes, activation, seed=seed, backend="numpy")
    network.parameters += 0.2 * random.standard_normal(network.num_parameters).astype(np.float32)
    x = random.standard_normal((150, sizes[0])).astype(np.float32)
    one = quantize(network, x / 2 if calibrated else None, bits)
    return one, QuantizedMLP(one.sizes, one.activation, bits, one.layers, one.grids, "cpu"), x


@given(
    sizes=st.tuples(widths, widths, widths, st.integers(2, 40)),
    activation=st.sampled_from(["relu", "tanh", "gelu"]),
    bits=st.sampled_from([8, 4]),
    calibrated=st.booleans(),
    rows=st.integers(1, 150),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_the_bits_are_those_of_the_readable_network(sizes, activation, bits, calibrated, rows, seed):
    readable, compiled, x = both(sizes, activation, bits, calibrated, seed)
    assert compiled.compiled is not None and readable.compiled is None
    before = x.copy()
    np.testing.assert_array_equal(compiled.logits(x[:rows]), readable.logits(x[:rows]))
    np.testing.assert_array_equal(x, before)


def test_rows_need_not_lie_side_by_side_and_may_be_float64():
    readable, compiled, x = both((9, 20, 4))
    wide = np.zeros((len(x), 18))
    wide[:, ::2] = x
    np.testing.assert_array_equal(compiled.logits(wide[::3, ::2]), readable.logits(x[::3]))


def test_inputs_beyond_every_range_are_clipped():
    readable, compiled, x = both((9, 20, 4))
    x[:, 0], x[:, 1] = 3e38, -3e38
    np.testing.assert_array_equal(compiled.logits(x), readable.logits(x))


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 70, 65), (5, WIDEST, 3), (9, 31, 17)])
def test_products_are_exact_at_the_outermost_codes(shape):
    """vpmaddubsw would saturate here, and so would any other sums of 16 bits."""
    N, inputs, outputs = shape
    random = np.random.default_rng(0)
    codes = random.choice([-127, 127], (inputs, outputs)).astype(np.int8)
    codes[:, 0] = 127
    q = np.full((N, inputs), 255, np.uint8)
    q[1:] = random.choice([0, 1, 128, 254, 255], (N - 1, inputs))
    groups = np.zeros((N, int8.filled(inputs, int8.GROUP)), int8.CODE)
    groups[:, :inputs] = q
    memory = np.full(N * outputs + 64, 777, np.int32)
    out = memory[32:-32].reshape(N, outputs)
    int8._products(groups, groups.shape[1], int8.pack(codes), out, np.empty(2 * int8.LANES, np.int32))
    np.testing.assert_array_equal(out, q.astype(np.int64) @ codes)
    assert (memory[:32] == 777).all() and (memory[-32:] == 777).all(), "wrote outside the result"


def test_nothing_is_written_but_the_logits_and_the_memory_for_it():
    readable, compiled, x = both((9, 20, 33, 5))
    passes = compiled.compiled
    for rows in (1, 3, 64, 150):
        out = np.full((rows + 8, 5), 777, np.float32)
        memory = np.full(2 * min(rows, int8.AT_ONCE) * passes.width + 64, 77, int8.CODE)
        sums = np.full(2 * int8.ROWS * int8.LANES + 32, 7777, np.int32)
        int8._forward(1, x[:rows], out[4:-4], *passes.arrays, memory[32:-32], passes.width, sums[16:-16])
        np.testing.assert_array_equal(out[4:-4], readable.logits(x[:rows]))
        for array, edge, filling in ((out, 4, 777), (memory, 32, 77), (sums, 16, 7777)):
            assert (array[:edge] == filling).all() and (array[-edge:] == filling).all()


def test_the_bits_are_the_same_on_any_number_of_threads():
    readable, compiled, x = both((300, 400, 200, 10), "gelu")
    expected, before = readable.logits(x), numba.get_num_threads()
    assert 2 * int8.ROWS * compiled.multiply_adds > int8.WORK_FOR_THREADS
    try:
        for threads in {1, before}:
            numba.set_num_threads(threads)
            for rows in (2 * int8.ROWS, 127, 150):
                for _ in range(5):  # a race would not show every time
                    np.testing.assert_array_equal(compiled.logits(x[:rows]), expected[:rows])
    finally:
        numba.set_num_threads(before)


def ways_of_this_processor():
    """Its other instructions, and "vnni" in narrower registers; CI also limits it to other widths."""
    has, own = simd.INSTRUCTION_SETS, simd.REGISTER_BYTES
    ways = [("plain", own)]
    if "x86" in llvm.get_process_triple() and (own < 64 or "avx512bw" in has):
        ways.append(("madd", own))
    if "avx512vnni" in has:
        ways += [("vnni", width) for width in (16, 32, 64) if width <= own and (width == 64 or "avx512vl" in has)]
    elif "avxvnni" in has:
        ways += [("vnni", 16), ("vnni", 32)]
    return [way for way in ways if way != (simd.BYTE_PRODUCTS, own)]


@pytest.mark.parametrize(("instruction", "width"), ways_of_this_processor())
def test_every_instruction_at_every_width_gives_the_same_bits(instruction, width):
    program = (
        "import numpy as np; from test_int8 import both, int8\n"
        f"assert (int8.BYTE_PRODUCTS, 4 * int8.LANES) == ({instruction!r}, {width})\n"
        "for sizes, activation, bits in ((9, 70, 33, 5), 'relu', 8), ((65, 3, 20), 'gelu', 4):\n"
        "    for calibrated in True, False:\n"
        "        readable, compiled, x = both(sizes, activation, bits, calibrated)\n"
        "        np.testing.assert_array_equal(compiled.logits(x), readable.logits(x))\n"
    )
    forced = {"MINIDISTILL_BYTE_PRODUCTS": instruction, "MINIDISTILL_REGISTER_BYTES": str(width)}
    here = os.path.dirname(os.path.abspath(__file__))
    environment = {**os.environ, **forced, "PYTHONPATH": os.pathsep.join([here, *sys.path])}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)


# ---------------------------------------------------------------------------------------------- machine code


def test_a_block_is_made_of_the_instruction_that_it_is_named_after():
    if simd.BYTE_PRODUCTS == "plain":
        pytest.skip("this processor has neither")

    @njit
    def run(groups, q, w, sums):
        int8.many_wide(groups, pointer(q, 0), groups * int8.GROUP, pointer(w, 0), pointer(sums, 0))

    panel = 8 * int8.GROUP * 2 * int8.LANES
    run(8, np.zeros(8 * int8.GROUP * int8.ROWS, int8.CODE), np.zeros(panel, np.int8), np.zeros(panel, np.int32))
    (code,) = run.inspect_asm().values()
    instruction = {"vnni": "vpdpbusd", "madd": "pmaddwd"}[simd.BYTE_PRODUCTS]
    register = {16: "%xmm", 32: "%ymm", 64: "%zmm"}[simd.REGISTER_BYTES]
    found = [line for line in code.splitlines() if instruction in line]
    assert len(found) >= 2 * int8.ROWS
    assert all(register in line for line in found)


def assembly(instruction, lanes, processor):
    """What LLVM makes of one step for another processor, with the sums in register 0 and the weights in register 1."""
    sums, weights = ir.VectorType(int8.INT, lanes), ir.VectorType(int8.BYTE, lanes * int8.GROUPS[instruction])
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(sums, [sums, int8.INT, weights]), "dot")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(int8.emit_dot(builder, instruction, *function.args))
    target = llvm.Target.from_default_triple().create_target_machine(cpu=processor, opt=3)
    return target.emit_assembly(llvm.parse_assembly(str(module)))


@pytest.mark.skipif("x86_64" not in llvm.get_process_triple(), reason="LLVM is built for the host's family")
@pytest.mark.parametrize(
    ("instruction", "lanes", "processor", "expected"),
    [
        ("vnni", 16, "sapphirerapids", "vpdpbusd\t%zmm1, %zmm2, %zmm0"),  # register 1 is taken as signed, 2 is not
        ("vnni", 8, "cascadelake", "vpdpbusd\t%ymm1, %ymm2, %ymm0"),
        ("vnni", 8, "alderlake", "{vex}\tvpdpbusd\t%ymm1, %ymm2, %ymm0"),
        ("madd", 16, "skylake-avx512", "vpmaddwd\t%zmm"),
        ("madd", 8, "haswell", "vpmaddwd\t%ymm"),
        ("madd", 4, "x86-64", "pmaddwd\t%xmm"),
    ],
)
def test_processors_that_are_not_here_get_their_instruction(instruction, lanes, processor, expected):
    assert expected in assembly(instruction, lanes, processor)
