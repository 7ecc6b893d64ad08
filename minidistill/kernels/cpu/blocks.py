# SPDX-License-Identifier: MIT
"""Blocks of Vectors that stay in registers, and the transpose of a square.

A block is a tuple of rows * columns Vectors. The loops over it are Python's and run while the kernel is compiled: what
they leave behind is straight-line code, every Vector of it in a register of its own.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .simd import as_vector_pointer, bytes_of, call_llvm, emit_masked_load, lanes_of, letter, shuffle, splat, vector_of


@intrinsic(prefer_literal=True)
def zeros(typing, p, rows, columns):
    """A block of rows x columns Vectors of zeros, of the dtype that `p` points to; both sizes are constants."""
    count = rows.literal_value * columns.literal_value
    result = types.UniTuple(vector_of(p.dtype), count)
    return result(p, rows, columns), lambda context, builder, signature, args: context.get_value_type(result)(None)


@intrinsic(prefer_literal=True)
def load_row(typing, p, columns, n, partial):
    """A tuple of `columns` Vectors from `p` on. Where `partial` is true, the last one ends with number n of the row."""
    columns, partial = columns.literal_value, partial.literal_value
    vector = vector_of(p.dtype)
    result = types.UniTuple(vector, columns)

    def emit(context, builder, signature, args):
        llvm_vector = context.get_value_type(vector)
        row = []
        for j in range(columns):
            start = builder.gep(args[0], [ir.IntType(64)(j * vector.lanes)])
            if partial and j == columns - 1:
                left = builder.sub(args[2], args[2].type(j * vector.lanes))
                row.append(emit_masked_load(builder, start, left, llvm_vector))
            else:
                row.append(builder.load(as_vector_pointer(builder, start, llvm_vector), align=bytes_of(llvm_vector)))
        return cgutils.pack_array(builder, row)

    return result(p, types.literal(columns), n, types.literal(partial)), emit


@intrinsic
def multiply_add(typing, block, a, a_row, b):
    """block += the outer product of a column of numbers and a row of Vectors.

    The numbers stand at `a`, `a_row` elements apart; `b` is a tuple of Vectors. The count of rows is that of the block.
    """
    vector, columns = b.dtype, b.count
    rows = block.count // columns

    def emit(context, builder, signature, args):
        block, a, a_row, b = args
        llvm_vector = context.get_value_type(vector)
        # one fused instruction where the processor has it, two where it has not: llvm.fma would call the C library
        name = f"llvm.fmuladd.{letter(llvm_vector)}"
        for i in range(rows):
            number = builder.load(builder.gep(a, [builder.mul(a_row, a_row.type(i))]))
            number = splat(builder, number, vector.lanes)
            for j in range(columns):
                place = i * columns + j
                factor, total = builder.extract_value(b, j), builder.extract_value(block, place)
                total = call_llvm(builder, name, llvm_vector, number, factor, total)
                block = builder.insert_value(block, total, place)
        return block

    return block(block, a, a_row, b), emit


@intrinsic
def store_block(typing, p, block):
    """Writes the Vectors of a block one after the other from `p` on."""

    def emit(context, builder, signature, args):
        p, block = args
        vector = context.get_value_type(signature.args[1].dtype)
        address = as_vector_pointer(builder, p, vector)
        for place in range(signature.args[1].count):
            target = builder.gep(address, [ir.IntType(64)(place)])
            builder.store(builder.extract_value(block, place), target, align=bytes_of(vector))
        return context.get_dummy_value()

    return types.none(p, block), emit


def transposed(builder, rows):
    """The transpose of a square of vectors, as many as each has lanes.

    Each round exchanges quadrants of half the size: with 4 lanes first the 2x2 corners, then the numbers inside each.
    """
    size = len(rows)
    step = size // 2
    while step:
        left = [lane if lane & step == 0 else lane - step + size for lane in range(size)]
        right = [lane + step if lane & step == 0 else lane + size for lane in range(size)]
        for i in range(size):
            if i & step == 0:
                upper, lower = rows[i], rows[i + step]
                rows[i] = shuffle(builder, upper, lower, left)
                rows[i + step] = shuffle(builder, upper, lower, right)
        step //= 2
    return rows


@intrinsic
def copy_transposed(typing, source, source_row, target, target_row):
    """Transposes a square, as many rows as a Vector has lanes, from `source` to `target`; rows stand that far apart."""
    lanes = lanes_of(source.dtype)

    def emit(context, builder, signature, args):
        source, source_row, target, target_row = args
        vector = context.get_value_type(vector_of(signature.args[0].dtype))

        def row(start, stride, i):
            return as_vector_pointer(builder, builder.gep(start, [builder.mul(stride, stride.type(i))]), vector)

        rows = [builder.load(row(source, source_row, i), align=bytes_of(vector)) for i in range(lanes)]
        for i, value in enumerate(transposed(builder, rows)):
            builder.store(value, row(target, target_row, i), align=bytes_of(vector))
        return context.get_dummy_value()

    return types.none(source, source_row, target, target_row), emit
