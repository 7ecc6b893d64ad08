# SPDX-License-Identifier: MIT
"""Products of bytes: a quantised network's pass in one compiled call, with the same bits as in deployment/quantization.

A vector register holds four times as many bytes as floats, and processors have instructions that multiply bytes and
add the products of neighbours in a 32-bit sum. So q (a row's activations) and W are read in *groups* of neighbours
along the inputs, and the weights are packed so that the groups of a register's worth of outputs lie side by side:

    "vnni"    vpdpbusd: 4 unsigned bytes times 4 signed ones, added to a sum. AVX-512 VNNI, AVX-VNNI
    "madd"    vpmaddwd: 2 words times 2 words, and an addition. All other x86. The weights are stored as bytes and
              widened in a register, the activations are words already. (vpmaddubsw takes bytes, and 4 of them in two
              steps, but its sums of two have 16 bits and saturate: 255 * 127 * 2 is too much.)
    "plain"   the same sums without such an instruction, in the layout of "vnni": NEON and all else

Sums of whole numbers are exact, so all three give the same bits, on any number of threads. What becomes of a sum, bias,
multiplier, rounding and the activation's table, happens while a block of sums is in the cache. The methods of
IntegerPasses check the shapes that they are given; the kernels check no bounds.
"""

import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.extending import intrinsic

from ..arguments import as_dtype, check_shape
from ..threads import usable_threads
from . import blocks, simd
from .cache import kernel, parallel_kernel
from .matmul import WORK_FOR_THREADS, internal
from .simd import BYTE_PRODUCTS, at, pointer

# ------------------------------------------------------------------------------------------------------ instructions

DPBUSD = {16: "llvm.x86.avx512.vpdpbusd.128", 32: "llvm.x86.avx512.vpdpbusd.256", 64: "llvm.x86.avx512.vpdpbusd.512"}
PMADDWD = {16: "llvm.x86.sse2.pmadd.wd", 32: "llvm.x86.avx2.pmadd.wd", 64: "llvm.x86.avx512.pmaddw.d.512"}
GROUPS = {"vnni": 4, "madd": 2, "plain": 4}
GROUP = GROUPS[BYTE_PRODUCTS]
CODE = np.int16 if BYTE_PRODUCTS == "madd" else np.uint8  # of an activation in memory
LANES = simd.REGISTER_BYTES // 4  # sums in a register
ROWS = 4 if simd.REGISTERS == 16 else 8  # a block has ROWS rows of 2 registers of sums
AT_ONCE = 64  # rows whose activations stay in the second-level cache

BYTE, WORD, INT = ir.IntType(8), ir.IntType(16), ir.IntType(32)


def emit_dot(builder, instruction, total, group, weights):
    """total (n x i32) plus, in each lane, the sum of a group of activations times the lane's group of weights.

    `group` is one i32 with the activations of a group in it, `weights` are n groups of signed bytes.
    """
    n = total.type.count
    sums = total.type
    if instruction == "vnni":
        group, weights = simd.splat(builder, group, n), builder.bitcast(weights, sums)
        return simd.call_llvm(builder, DPBUSD[4 * n], sums, total, group, weights)
    if instruction == "madd":
        words = ir.VectorType(WORD, 2 * n)
        group, weights = builder.bitcast(simd.splat(builder, group, n), words), builder.sext(weights, words)
        return builder.add(total, simd.call_llvm(builder, PMADDWD[4 * n], sums, group, weights))
    for place in range(4):
        activation = builder.and_(builder.lshr(group, INT(8 * place)), INT(255))
        lanes = simd.shuffle(builder, weights, weights, [*range(place, 4 * n, 4)])
        product = builder.mul(simd.splat(builder, activation, n), builder.sext(lanes, sums))
        total = builder.add(total, product)
    return total


@intrinsic
def add_dots(typing, block, q, q_row, w):
    """block (rows x 2 or 1 registers of sums) += groups of `rows` activations, q_row apart, times groups of weights."""
    vector = block.dtype
    rows = ROWS if block.count in (ROWS, 2 * ROWS) else 1
    columns = block.count // rows

    def emit(context, builder, signature, args):
        block, q, q_row, w = args
        several = ir.VectorType(BYTE, GROUP * vector.lanes)
        weights = []
        for j in range(columns):
            place = builder.gep(w, [ir.IntType(64)(j * several.count)])
            weights.append(builder.load(simd.as_vector_pointer(builder, place, several), align=1))
        for i in range(rows):
            place = builder.gep(q, [builder.mul(q_row, q_row.type(i))])
            group = builder.load(builder.bitcast(place, INT.as_pointer()), align=1)
            for j in range(columns):
                total = builder.extract_value(block, i * columns + j)
                total = emit_dot(builder, BYTE_PRODUCTS, total, group, weights[j])
                block = builder.insert_value(block, total, i * columns + j)
        return block

    return block(block, q, q_row, w), emit


def make_block(rows, columns):
    """The kernel for a block of rows x columns registers of sums."""
    several = GROUP * columns * LANES

    @internal
    def block(groups, q, q_row, w, sums):
        """sums (rows, columns * LANES), int32, become those of `groups` groups."""
        total = blocks.zeros(sums, rows, columns)
        for k in range(groups):
            total = add_dots(total, at(q, k * GROUP), q_row, at(w, k * several))
        blocks.store_block(sums, total)

    return block


many_wide, many_narrow = make_block(ROWS, 2), make_block(ROWS, 1)
one_wide, one_narrow = make_block(1, 2), make_block(1, 1)

# ------------------------------------------------------------------------------------------------------------ packing


def filled(count, whole):
    """The multiple of `whole` that `count` fits in."""
    return -(-count // whole) * whole


def pack(codes):
    """Weight codes (I,O) in the order in which blocks read them; zeros fill the last group and the last register."""
    inputs, outputs = codes.shape
    full = np.zeros((filled(inputs, GROUP), filled(outputs, LANES)), np.int8)
    full[:inputs, :outputs] = codes
    panels = np.split(full, range(2 * LANES, full.shape[1], 2 * LANES), axis=1)
    grouped = (panel.reshape(-1, GROUP, panel.shape[1]).transpose(0, 2, 1) for panel in panels)
    return np.concatenate([panel.ravel() for panel in grouped])


def pack_row(numbers):
    """One number an output (O,), with zeros to fill the last register."""
    return np.pad(numbers, (0, -len(numbers) % LANES))


# ----------------------------------------------------------------------------------------------------------- epilogues
# What happens to a block of sums. No multiplication may be fused with an addition here: none of these operations has a
# flag that would allow it.

HALVES = 12582912.0  # 1.5 * 2^23: added, it leaves no place for fractions; halves go to the even number
LARGEST = 255.0


def emit_codes(builder, v, offset):
    """Codes 0 to LARGEST of v (floats that count steps from the code `offset`): the nearest whole numbers."""
    bounds = builder.fneg(offset), builder.fsub(offset.type(LARGEST), offset)
    low, high, offset = (simd.splat(builder, number, v.type.count) for number in (*bounds, offset))
    v = builder.select(builder.fcmp_ordered(">", v, low), v, low)
    v = builder.select(builder.fcmp_ordered("<", v, high), v, high)
    halves = ir.Constant(v.type, [HALVES] * v.type.count)
    v = builder.fadd(builder.fsub(builder.fadd(v, halves), halves), offset)
    code = WORD if CODE is np.int16 else BYTE
    return builder.trunc(builder.fptosi(v, ir.VectorType(INT, v.type.count)), ir.VectorType(code, v.type.count))


def emit_load(builder, p, number):
    """LANES numbers from p on."""
    vector = ir.VectorType(number, LANES)
    return builder.load(simd.as_vector_pointer(builder, p, vector), align=4)


def emit_store(builder, codes, p):
    builder.store(codes, simd.as_vector_pointer(builder, p, codes.type), align=1)


@intrinsic
def as_floats(typing, p):
    """The same address, of float32."""
    result = types.CPointer(types.float32)

    def emit(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(result))

    return result(p), emit


@intrinsic
def store_codes(typing, q, sums, bias, multipliers, offset):
    """LANES codes from q on, of the sums from `sums` on."""

    def emit(context, builder, signature, args):
        q, sums, bias, multipliers, offset = args
        total = builder.add(emit_load(builder, sums, INT), emit_load(builder, bias, INT))
        v = builder.sitofp(total, ir.VectorType(ir.FloatType(), LANES))
        v = builder.fmul(v, emit_load(builder, multipliers, ir.FloatType()))
        emit_store(builder, emit_codes(builder, v, offset), q)
        return context.get_dummy_value()

    return types.none(q, sums, bias, multipliers, offset), emit


@intrinsic
def store_input_codes(typing, q, x, multiplier, offset):
    """LANES codes from q on, of the inputs from x on."""

    def emit(context, builder, signature, args):
        q, x, multiplier, offset = args
        v = builder.fmul(emit_load(builder, x, ir.FloatType()), simd.splat(builder, multiplier, LANES))
        emit_store(builder, emit_codes(builder, v, offset), q)
        return context.get_dummy_value()

    return types.none(q, x, multiplier, offset), emit


@internal
def finish(rows, width, sums, bias, multipliers, zero, table, tabled, q, q_row):
    """Codes for the next layer, row by row from q on, `width` of a row; sums, bias and multipliers fill registers."""
    offset = np.float32(zero)
    for r in range(rows):
        row, to = at(sums, r * width), at(q, r * q_row)
        for j in range(0, width, LANES):
            store_codes(at(to, j), at(row, j), at(bias, j), at(multipliers, j), offset)
        if tabled:
            for j in range(width):
                to[j] = CODE(table[np.intp(to[j])])


@internal
def code_inputs(inputs, x, multiplier, zero, q, rest):
    """Codes from q on, of one row of inputs. `rest` has room for a register of floats."""
    offset = np.float32(zero)
    whole = inputs - inputs % LANES
    for i in range(0, whole, LANES):
        store_input_codes(at(q, i), at(x, i), multiplier, offset)
    if whole < inputs:
        for i in range(whole, inputs):
            rest[i - whole] = x[i]
        store_input_codes(at(q, whole), rest, multiplier, offset)


@internal
def finish_logits(rows, width, sums, stride, bias, multipliers, out, out_row):
    """The last layer's numbers, which lie side by side: a whole register would reach into the next row."""
    for r in range(rows):
        row, to = at(sums, r * stride), at(out, r * out_row)
        for j in range(width):
            to[j] = np.float32(row[j] + bias[j]) * multipliers[j]


# -------------------------------------------------------------------------------------------------------------- passes


@internal
def part(first, last, x, out, sizes, weights, biases, multipliers, zeros, tables, input_multiplier, input_zero,
         memory, width, sums):  # fmt: skip
    """The pass of some rows. `memory` has two places for their codes, `width` a row; `sums` is for a block."""
    rows = last - first
    here, there = memory, at(memory, rows * width)
    rest = as_floats(sums)
    for r in range(LANES):
        rest[r] = 0
    for r in range(rows):
        code_inputs(sizes[0], at(x, (first + r) * sizes[0]), input_multiplier, input_zero, at(here, r * width), rest)
    layers = len(sizes) - 1
    w, unit = weights, 0
    for k in range(layers):
        groups, outputs = (sizes[k] + GROUP - 1) // GROUP, sizes[k + 1]
        zero, tabled, table = zeros[k], len(tables) > 0 and k < layers - 1, pointer(tables, 256 * k)
        for j in range(0, outputs, 2 * LANES):
            wide = j + LANES < outputs
            stride = 2 * LANES if wide else LANES
            bias, multiplier = at(biases, unit + j), at(multipliers, unit + j)
            i = 0
            while i < rows:
                q = at(here, i * width)
                height = ROWS if i + ROWS <= rows else 1
                if height == ROWS:
                    if wide:
                        many_wide(groups, q, width, w, sums)
                    else:
                        many_narrow(groups, q, width, w, sums)
                elif wide:
                    one_wide(groups, q, width, w, sums)
                else:
                    one_narrow(groups, q, width, w, sums)
                if k == layers - 1:
                    to = at(out, (first + i) * outputs + j)
                    finish_logits(height, min(outputs - j, stride), sums, stride, bias, multiplier, to, outputs)
                else:
                    to = at(there, i * width + j)
                    finish(height, stride, sums, bias, multiplier, zero, table, tabled, to, width)
                i += height
            w = at(w, groups * GROUP * stride)
        unit += (outputs + LANES - 1) // LANES * LANES
        here, there = there, here


@parallel_kernel
def _forward(threads, x, out, sizes, weights, biases, multipliers, zeros, tables, input_multiplier, input_zero,
            memory, width, sums):  # fmt: skip
    """out (N,C) = the logits of x (N,I), on so many threads, each with its part of `memory` and of `sums`."""
    N = len(x)
    x_at, out_at = pointer(x, 0), pointer(out, 0)
    w, b, m = pointer(weights, 0), pointer(biases, 0), pointer(multipliers, 0)
    if threads == 1:
        for first in range(0, N, AT_ONCE):
            part(first, min(N, first + AT_ONCE), x_at, out_at, sizes, w, b, m, zeros, tables, input_multiplier,
                 input_zero, pointer(memory, 0), width, pointer(sums, 0))  # fmt: skip
        return
    for share in prange(threads):
        t = np.intp(share)
        begin, end = N * t // threads, N * (t + 1) // threads
        own, block = pointer(memory, t * (len(memory) // threads)), pointer(sums, t * 2 * ROWS * LANES)
        for first in range(begin, end, AT_ONCE):
            part(first, min(end, first + AT_ONCE), x_at, out_at, sizes, w, b, m, zeros, tables, input_multiplier,
                 input_zero, own, width, block)  # fmt: skip


@kernel
def _products(q, q_row, weights, out, sums):
    """out (N,O), int32 = q @ the packed weights. q (N,q_row) are activations as CODE, the last group is whole."""
    N, O = out.shape
    groups, w = q_row // GROUP, pointer(weights, 0)
    block = pointer(sums, 0)
    for j in range(0, O, 2 * LANES):
        wide = j + LANES < O
        stride = 2 * LANES if wide else LANES
        for i in range(N):
            if wide:
                one_wide(groups, pointer(q, i * q_row), q_row, w, block)
            else:
                one_narrow(groups, pointer(q, i * q_row), q_row, w, block)
            for c in range(min(O - j, stride)):
                out[i, j + c] = block[c]
        w = at(w, groups * GROUP * stride)


class IntegerPasses:
    """The compiled pass of one `QuantizedMLP`; its weights are packed once."""

    def __init__(self, network):
        self.inputs, self.outputs, self.work = network.sizes[:-1], network.sizes[1:], network.multiply_adds
        packed = [pack(layer.codes) for layer in network.layers]
        if network.grids is None:  # then a layer at a time is asked for
            self.packed = packed
            return
        weights = np.concatenate(packed)
        biases = np.concatenate([pack_row(layer.bias) for layer in network.layers])
        multipliers = np.concatenate([pack_row(layer.multipliers) for layer in network.layers])
        zeros = np.array([layer.zero for layer in network.layers], np.int64)
        tables = [layer.table for layer in network.layers if layer.table is not None]
        tables = np.concatenate(tables) if tables else np.empty(0, np.uint8)
        inputs = network.input_multiplier, network.grids[0].zero
        self.arrays = (np.array(network.sizes, np.int64), weights, biases, multipliers, zeros, tables, *inputs)
        self.width = filled(max(network.sizes), 2 * LANES)  # of a row of codes: blocks write whole registers

    def logits(self, x):
        """Logits (N,C) of x (N,I), float32, of a calibrated network."""
        x, N = as_dtype("x", x, np.float32), len(x)
        check_shape("x", x, (N, self.inputs[0]))
        threads = usable_threads() if N >= 2 * ROWS and N * self.work >= WORK_FOR_THREADS else 1
        out = np.empty((N, self.outputs[-1]), np.float32)
        memory = np.empty(threads * min(N, AT_ONCE) * 2 * self.width, CODE)
        sums = np.empty(threads * 2 * ROWS * LANES, np.int32)
        _forward(threads, x, out, *self.arrays, memory, self.width, sums)
        return out

    def product(self, k, q):
        """The sums (N,O), int32, of codes q (N,I), uint8, times the weights of layer k; where rows are measured."""
        if not 0 <= k < len(self.packed):
            raise ValueError(f"k must be a layer in 0..{len(self.packed) - 1}, got {k}")
        q, N = np.asarray(q), len(q)
        check_shape("q", q, (N, self.inputs[k]))
        if q.dtype != np.uint8:
            raise TypeError(f"q must be codes, uint8, got {q.dtype}")
        inputs = self.inputs[k]
        groups = np.zeros((N, filled(inputs, GROUP)), CODE)
        groups[:, :inputs] = q
        out = np.empty((N, self.outputs[k]), np.int32)
        _products(groups, groups.shape[1], self.packed[k], out, np.empty(2 * LANES, np.int32))
        return out
