# SPDX-License-Identifier: MIT
"""Vectors for numba: 4, 8 or 16 floats in one register, and pointers to load them from.

A core multiplies and adds 8 floats as fast as one (16 with AVX-512, 4 with NEON or SSE), and a matrix product is fast
only when it does. LLVM finds vectors in simple loops by itself, but it will not keep a block of twelve of them in
registers across a loop. So this file teaches numba three things, each an LLVM type with a few operations:

    pointer   the address of an element: `pointer(array, offset)`; `at(p, n)` is p + n, and `p[n]` is a number
    Vector    `load`, `store`, `broadcast`; the operators + - * / and the functions below. To a formula a Vector is a
    number:
              what rows.py says of one float is done to eight at once, and its constants take on the Vector's dtype
    block     rows x columns of Vectors that stay in registers: `zeros`, `multiply_add`, `store_block`

Nothing here checks bounds: matmul.py and cpu.py call it when the shapes are known to be right.
"""

import operator
import os

import llvmlite.binding as llvm
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic, models, overload, register_model

# -------------------------------------------------------------------------------------- the registers of the processor


def instruction_sets():
    """The instruction sets that numba compiles for: those of the host, or those in NUMBA_CPU_FEATURES."""
    features = cpu_target.target_context.codegen().magic_tuple()[2]
    return {feature[1:] for feature in features.split(",") if feature.startswith("+")}


INSTRUCTION_SETS = instruction_sets()


def widest_register_bytes():
    """Bytes in the widest vector register: 64 with AVX-512, 32 with AVX2, else 16 (SSE, NEON)."""
    forced = os.environ.get("MINIDISTILL_REGISTER_BYTES")  # the tests run every width on any machine
    if forced:
        return int(forced)
    if "avx512f" in INSTRUCTION_SETS:
        return 64
    return 32 if "avx2" in INSTRUCTION_SETS else 16


REGISTER_BYTES = widest_register_bytes()
REGISTERS = 16 if REGISTER_BYTES < 64 and "x86" in llvm.get_process_triple() else 32


def best_byte_products():
    """How this processor multiplies bytes, one of the three ways that int8.py has."""
    forced = os.environ.get("MINIDISTILL_BYTE_PRODUCTS")  # the tests run each on any machine that can
    if forced:
        return forced
    if "avx512vnni" in INSTRUCTION_SETS and (REGISTER_BYTES == 64 or "avx512vl" in INSTRUCTION_SETS):
        return "vnni"
    if "avxvnni" in INSTRUCTION_SETS and REGISTER_BYTES < 64:
        return "vnni"
    if "x86" not in llvm.get_process_triple() or (REGISTER_BYTES == 64 and "avx512bw" not in INSTRUCTION_SETS):
        return "plain"
    return "madd"


BYTE_PRODUCTS = best_byte_products()


def lanes_of(dtype):
    """How many numbers of a numba dtype one register holds."""
    return REGISTER_BYTES * 8 // dtype.bitwidth


class Vector(types.Type):
    """As many numbers of one dtype as fill a register; of integers, as many as there are floats beside them."""

    def __init__(self, dtype, lanes):
        self.dtype = dtype
        self.lanes = lanes
        super().__init__(name=f"Vector({dtype}, {lanes})")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """Numba keeps a Vector as LLVM's own vector type, and LLVM keeps that in a register."""

    def __init__(self, manager, vector):
        number = manager.lookup(vector.dtype).get_value_type()
        super().__init__(manager, vector, ir.VectorType(number, vector.lanes))


def vector_of(dtype):
    return Vector(dtype, lanes_of(dtype))


# ------------------------------------------------------------------------------------------------------------ pointers


@intrinsic
def pointer(typing, array, offset):
    """The address of element `offset` of a contiguous array, counted in elements from its first."""
    signature = types.CPointer(array.dtype)(array, offset)

    def emit(context, builder, signature, args):
        view = context.make_array(signature.args[0])(context, builder, args[0])
        return builder.gep(view.data, [args[1]])

    return signature, emit


@intrinsic
def at(typing, p, n):
    """The pointer `n` elements further on."""
    return p(p, n), lambda context, builder, signature, args: builder.gep(args[0], [args[1]])


@intrinsic
def address_of(typing, value):
    """A pointer to a copy of `value`, good until the calling function returns.

    A prange hands its body numbers and pointers only: a tuple of tuples goes in as its address, and `value_at` gets it
    out.
    """
    result = types.CPointer(value)

    def emit(context, builder, signature, args):
        place = cgutils.alloca_once_value(builder, args[0])
        return builder.bitcast(place, context.get_value_type(result))

    return result(value), emit


@intrinsic
def value_at(typing, p):
    """What `address_of` put there."""

    def emit(context, builder, signature, args):
        value = context.get_value_type(p.dtype)
        return builder.load(builder.bitcast(args[0], value.as_pointer()))

    return p.dtype(p), emit


@intrinsic
def prefetch(typing, p):
    """Asks for the cache line at `p`, which is wanted soon. Changes nothing and never faults, whatever `p` is."""

    def emit(context, builder, signature, args):
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        to_read, keep_near, data = word(0), word(3), word(1)
        builder.call(function, [builder.bitcast(args[0], byte), to_read, keep_near, data])
        return context.get_dummy_value()

    return types.none(p), emit


# ------------------------------------------------------------------------------------------------- loading and storing


def as_vector_pointer(builder, p, vector):
    return builder.bitcast(p, vector.as_pointer())


def first_lanes(builder, vector, n):
    """The mask whose lane i is on where i < n. It counts in integers as wide as the floats: the cheapest comparison."""
    index = ir.IntType(8 * bytes_of(vector))
    if index.width < n.type.width:
        n = builder.trunc(n, index)
    ramp = ir.Constant(ir.VectorType(index, vector.count), [index(i) for i in range(vector.count)])
    return builder.icmp_signed("<", ramp, splat(builder, n, vector.count))


def splat(builder, number, lanes):
    """`number` in every lane."""
    vector = ir.VectorType(number.type, lanes)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.IntType(32)(0))
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), everywhere)


def letter(vector):
    """LLVM's short name of a vector type: v8f32."""
    bits = {"float": "f32", "double": "f64"}[str(vector.element)]
    return f"v{vector.count}{bits}"


def bytes_of(vector):
    return {"float": 4, "i32": 4, "double": 8}[str(vector.element)]


@intrinsic
def load(typing, p):
    """The Vector that starts at `p`."""
    result = vector_of(p.dtype)

    def emit(context, builder, signature, args):
        vector = context.get_value_type(result)
        return builder.load(as_vector_pointer(builder, args[0], vector), align=bytes_of(vector))

    return result(p), emit


def emit_masked_load(builder, p, n, vector):
    address = as_vector_pointer(builder, p, vector)
    mask = first_lanes(builder, vector, n)
    word = ir.IntType(32)
    kind = ir.FunctionType(vector, [address.type, word, mask.type, vector])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.load.{letter(vector)}.p0")
    return builder.call(function, [address, word(bytes_of(vector)), mask, vector(None)])


@intrinsic
def load_masked(typing, p, n):
    result = vector_of(p.dtype)

    def emit(context, builder, signature, args):
        return emit_masked_load(builder, *args, context.get_value_type(result))

    return result(p, n), emit


@njit(forceinline=True)
def load_first(p, n):
    """As `load`, of the first `n` lanes; the others are zero, and their memory is not touched.

    The usual Vector is full, and a branch that always goes the same way costs less than a mask.
    """
    if n >= lanes(p):
        return load(p)
    return load_masked(p, n)


@intrinsic
def first(typing, value, n):
    """The Vector `value` with zeros from lane n on."""

    def emit(context, builder, signature, args):
        value, n = args
        return builder.select(first_lanes(builder, value.type, n), value, value.type(None))

    return value(value, n), emit


@intrinsic
def one_hot(typing, like, start, label):
    """A Vector like `like` that begins at column `start` of a row: one in column `label`, zero elsewhere."""

    def emit(context, builder, signature, args):
        vector, start, label = args[0].type, args[1], args[2]
        lane = builder.sub(context.cast(builder, label, signature.args[2], signature.args[1]), start)
        index = ir.IntType(8 * bytes_of(vector))
        ramp = ir.Constant(ir.VectorType(index, vector.count), list(range(vector.count)))
        lane = builder.trunc(lane, index) if index.width < lane.type.width else lane
        inside = builder.icmp_signed("==", ramp, splat(builder, lane, vector.count))
        one = ir.Constant(vector, [1.0] * vector.count)
        return builder.select(inside, one, vector(None))

    return like(like, start, label), emit


@intrinsic
def store(typing, p, value):
    """Writes a Vector from `p` on."""

    def emit(context, builder, signature, args):
        vector = args[1].type
        builder.store(args[1], as_vector_pointer(builder, args[0], vector), align=bytes_of(vector))
        return context.get_dummy_value()

    return types.none(p, value), emit


@intrinsic
def store_masked(typing, p, n, value):
    """The first n < lanes of a Vector: by a masked store where processors are good at it, else in pieces of 4, 2, 1."""

    def emit(context, builder, signature, args):
        place, n, rest = args
        vector = rest.type
        if REGISTER_BYTES == 64:
            address = as_vector_pointer(builder, place, vector)
            mask = first_lanes(builder, vector, n)
            word = ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [vector, address.type, word, mask.type])
            function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.store.{letter(vector)}.p0")
            builder.call(function, [rest, address, word(bytes_of(vector)), mask])
        else:
            while rest.type.count > 1:
                lower, upper = halves(builder, rest)
                count = n.type(lower.type.count)
                wanted = builder.icmp_signed("!=", builder.and_(n, count), n.type(0))
                with builder.if_then(wanted):
                    builder.store(lower, as_vector_pointer(builder, place, lower.type), align=bytes_of(vector))
                place = builder.select(wanted, builder.gep(place, [count]), place)
                rest = builder.select(wanted, upper, lower)
        return context.get_dummy_value()

    return types.none(p, n, value), emit


@njit(forceinline=True)
def store_first(p, n, value):
    """As `store`, of the first `n` lanes only."""
    if n >= lanes(value):
        store(p, value)
    elif n > 0:
        store_masked(p, n, value)


def lanes(vector):
    """How many numbers a Vector holds, known when the kernel is compiled."""
    raise NotImplementedError("for compiled code")


@overload(lanes)
def _lanes(vector):
    if isinstance(vector, types.CPointer):
        count = lanes_of(vector.dtype)
    else:
        count = vector.lanes
    return lambda vector: count


@intrinsic
def broadcast(typing, p, number):
    """A Vector with `number` in every lane, of the dtype that `p` points to (or that the Vector `p` has)."""
    dtype = p.dtype
    result = p if isinstance(p, Vector) else vector_of(dtype)

    def emit(context, builder, signature, args):
        value = context.cast(builder, args[1], signature.args[1], dtype)
        return splat(builder, value, result.lanes)

    return result(p, number), emit


# ------------------------------------------------------------------------------------ a Vector is a number to a formula


def elementwise(emit_operation):
    """An intrinsic of two Vectors that LLVM does lane by lane."""

    @intrinsic
    def operation(typing, a, b):
        return a(a, b), lambda context, builder, signature, args: emit_operation(builder, *args)

    return operation


CONTRACT = ("contract",)  # a * b + c may be one instruction; nothing else may be rearranged, and NaN stays NaN

FLOAT_OPERATIONS = {
    operator.add: elementwise(lambda builder, a, b: builder.fadd(a, b, flags=CONTRACT)),
    operator.sub: elementwise(lambda builder, a, b: builder.fsub(a, b, flags=CONTRACT)),
    operator.mul: elementwise(lambda builder, a, b: builder.fmul(a, b, flags=CONTRACT)),
    operator.truediv: elementwise(lambda builder, a, b: builder.fdiv(a, b)),
    # written so that a NaN in `a` comes through: every comparison with NaN is false
    max: elementwise(lambda builder, a, b: builder.select(builder.fcmp_ordered("<", a, b), b, a)),
    min: elementwise(lambda builder, a, b: builder.select(builder.fcmp_ordered(">", a, b), b, a)),
}

INTEGER_OPERATIONS = {
    operator.add: elementwise(lambda builder, a, b: builder.add(a, b)),
    operator.mul: elementwise(lambda builder, a, b: builder.mul(a, b)),
    operator.xor: elementwise(lambda builder, a, b: builder.xor(a, b)),
    operator.and_: elementwise(lambda builder, a, b: builder.and_(a, b)),
    operator.rshift: elementwise(lambda builder, a, b: builder.lshr(a, b)),
}


def teach(function, kind, operation):
    """Makes `function(a, b)` work where one of the two is a Vector and the other a Vector or a number."""

    @overload(function)
    def on_vectors(a, b):
        a_is_vector, b_is_vector = isinstance(a, Vector), isinstance(b, Vector)
        if not (a_is_vector or b_is_vector):
            return None
        vector = a if a_is_vector else b
        if not isinstance(vector.dtype, kind):
            return None
        if a_is_vector and b_is_vector:
            return lambda a, b: operation(a, b)
        if a_is_vector:
            return lambda a, b: operation(a, broadcast(a, b))
        return lambda a, b: operation(broadcast(b, a), b)


for function, operation in FLOAT_OPERATIONS.items():
    teach(function, types.Float, operation)
for function, operation in INTEGER_OPERATIONS.items():
    teach(function, types.Integer, operation)


@overload(operator.neg)
def _negative(a):
    if isinstance(a, Vector):
        return lambda a: negative(a)


@intrinsic
def negative(typing, a):
    return a(a), lambda context, builder, signature, args: builder.fneg(args[0])


def call_unary(builder, name, a):
    kind = ir.FunctionType(a.type, [a.type])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.{letter(a.type)}"), [a])


@intrinsic
def square_root(typing, a):
    return a(a), lambda context, builder, signature, args: call_unary(builder, "sqrt", args[0])


@intrinsic
def nearest(typing, a):
    """The nearest whole number, ties to even."""
    return a(a), lambda context, builder, signature, args: call_unary(builder, "nearbyint", args[0])


@intrinsic
def power_of_two(typing, n):
    """2**n for whole n, without a conversion to integers.

    Adding 1.5 * 2**23 to a float32 pushes its whole part into the lowest bits; with the exponent's bias added as well,
    these bits, shifted to where the exponent stands, are the answer. In float64 the shift is 52.
    """
    shift, bias = (23, 127) if n.dtype == types.float32 else (52, 1023)

    def emit(context, builder, signature, args):
        vector = args[0].type
        integers = ir.VectorType(ir.IntType(n.dtype.bitwidth), n.lanes)
        magic = ir.Constant(vector, [1.5 * 2.0**shift + bias] * n.lanes)
        bits = builder.bitcast(builder.fadd(args[0], magic), integers)
        bits = builder.shl(bits, ir.Constant(integers, [shift] * n.lanes))
        return builder.bitcast(bits, vector)

    return n(n), emit


@intrinsic
def exponent(typing, a):
    """The whole number e of a = 2**e * m with 1 <= m < 2, for normal positive a; again without a conversion.

    The exponent's bits are put where the lowest bits of 2**23 are, which reads as 2**23 + e + bias (2**52 in float64).
    """
    shift, bias = (23, 127) if a.dtype == types.float32 else (52, 1023)

    def emit(context, builder, signature, args):
        vector = args[0].type
        integers = ir.VectorType(ir.IntType(a.dtype.bitwidth), a.lanes)
        bits = builder.lshr(builder.bitcast(args[0], integers), ir.Constant(integers, [shift] * a.lanes))
        base = ir.Constant(vector, [2.0**shift] * a.lanes)
        number = builder.bitcast(builder.or_(bits, builder.bitcast(base, integers)), vector)
        return builder.fsub(number, ir.Constant(vector, [2.0**shift + bias] * a.lanes))

    return a(a), emit


@intrinsic
def where_positive(typing, a, value):
    """`value` in the lanes where a > 0, zero in the others."""

    def emit(context, builder, signature, args):
        zero = args[1].type(None)
        return builder.select(builder.fcmp_ordered(">", args[0], args[0].type(None)), args[1], zero)

    return value(a, value), emit


@intrinsic
def choose_positive(typing, a, value, other):
    """`value` in the lanes where a > 0, `other` in the others, and where a is NaN."""

    def emit(context, builder, signature, args):
        return builder.select(builder.fcmp_ordered(">", args[0], args[0].type(None)), args[1], args[2])

    return value(a, value, other), emit


@intrinsic
def where_at_least(typing, bits, threshold, value):
    """`value` in the lanes whose unsigned `bits` reach the number `threshold`, zero in the others."""

    def emit(context, builder, signature, args):
        limit = splat(builder, args[1], bits.lanes)
        return builder.select(builder.icmp_unsigned(">=", args[0], limit), args[2], args[2].type(None))

    return value(bits, threshold, value), emit


@intrinsic
def count_up(typing, like, start):
    """The uint32 Vector start, start + 1, ... with as many lanes as the Vector `like`."""
    result = Vector(types.uint32, like.lanes)

    def emit(context, builder, signature, args):
        word = ir.IntType(32)
        ramp = ir.Constant(ir.VectorType(word, like.lanes), list(range(like.lanes)))
        first = context.cast(builder, args[1], signature.args[1], types.uint32)
        return builder.add(splat(builder, first, like.lanes), ramp)

    return result(like, start), emit


def halves(builder, a):
    """The lower and the upper half of a vector."""
    half = a.type.count // 2
    word = ir.IntType(32)
    lower = ir.Constant(ir.VectorType(word, half), list(range(half)))
    upper = ir.Constant(ir.VectorType(word, half), list(range(half, 2 * half)))
    return builder.shuffle_vector(a, a, lower), builder.shuffle_vector(a, a, upper)


def across_lanes(emit_operation):
    """An intrinsic that combines all lanes into one number, halving the vector until one lane is left."""

    @intrinsic
    def operation(typing, a):
        def emit(context, builder, signature, args):
            rest = args[0]
            while rest.type.count > 1:
                rest = emit_operation(builder, *halves(builder, rest))
            return builder.extract_element(rest, ir.IntType(32)(0))

        return a.dtype(a), emit

    return operation


@intrinsic
def lane_0(typing, a):
    """The number in the first lane."""
    return a.dtype(a), lambda context, builder, signature, args: builder.extract_element(args[0], ir.IntType(32)(0))


def add(builder, a, b):
    return builder.fadd(a, b)


def larger(builder, a, b):
    return builder.select(builder.fcmp_unordered(">", b, a), b, a)


sum_lanes, max_lanes = across_lanes(add), across_lanes(larger)


# --------------------------------------------------------------------------------------------------- blocks of Vectors
# A block is a tuple of rows * columns Vectors. The loops over it are Python's and run while the kernel is compiled:
# what they leave behind is straight-line code, every Vector of it in a register of its own.


@intrinsic(prefer_literal=True)
def zeros(typing, p, rows, columns):
    """A block of rows x columns Vectors of zeros, of the dtype that `p` points to; both sizes are constants."""
    count = rows.literal_value * columns.literal_value
    result = types.UniTuple(vector_of(p.dtype), count)

    def emit(context, builder, signature, args):
        return context.get_value_type(result)(None)

    return result(p, rows, columns), emit


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
        kind = ir.FunctionType(llvm_vector, [llvm_vector] * 3)
        # one fused instruction where the processor has it, two where it has not: llvm.fma would call the C library
        name = f"llvm.fmuladd.{letter(llvm_vector)}"
        multiply = cgutils.get_or_insert_function(builder.module, kind, name)
        for i in range(rows):
            number = builder.load(builder.gep(a, [builder.mul(a_row, a_row.type(i))]))
            number = splat(builder, number, vector.lanes)
            for j in range(columns):
                place = i * columns + j
                total = builder.extract_value(block, place)
                total = builder.call(multiply, [number, builder.extract_value(b, j), total])
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


def shuffle(builder, a, b, lanes):
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes))
