# SPDX-License-Identifier: MIT
"""Vectors for numba: 4, 8 or 16 floats in one register, and pointers to load them from.

A core multiplies and adds 8 floats as fast as one (16 with AVX-512, 4 with NEON or SSE), and a matrix product is fast
only when it does. LLVM finds vectors in simple loops by itself, but it does not keep a block of twelve of them in
registers across a loop. So numba gets three types of ours, each an LLVM type with a few operations:

    pointer   the address of an element: `pointer(array, offset)`; `at(p, n)` is p + n, and `p[n]` is a number
    Vector    `load`, `store`, `broadcast`; its operators and functions are in arithmetic.py
    block     rows x columns of Vectors that stay in registers: blocks.py

Nothing here checks bounds: the callers have checked the shapes.
"""

import os

import llvmlite.binding as llvm
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic, models, overload, register_model

WORD = ir.IntType(32)


# The instruction sets that numba compiles for: those of the host, or those in NUMBA_CPU_FEATURES.
FEATURES = cpu_target.target_context.codegen().magic_tuple()[2].split(",")
INSTRUCTION_SETS = {feature[1:] for feature in FEATURES if feature.startswith("+")}


# Bytes in the widest vector register: 64 with AVX-512, 32 with AVX2, else 16 (SSE, NEON).
WIDEST = 64 if "avx512f" in INSTRUCTION_SETS else 32 if "avx2" in INSTRUCTION_SETS else 16
REGISTER_BYTES = int(os.environ.get("MINIDISTILL_REGISTER_BYTES") or WIDEST)  # the tests run every width on any machine
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
        address = builder.bitcast(args[0], ir.IntType(8).as_pointer())
        to_read, keep_near, data = WORD(0), WORD(3), WORD(1)
        call_llvm(builder, "llvm.prefetch.p0", ir.VoidType(), address, to_read, keep_near, data)
        return context.get_dummy_value()

    return types.none(p), emit


def call_llvm(builder, name, result, *args):
    """Calls a function that LLVM knows by its name, and that returns the type `result`."""
    kind = ir.FunctionType(result, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


def as_vector_pointer(builder, p, vector):
    return builder.bitcast(p, vector.as_pointer())


def first_lanes(builder, vector, n):
    """The mask whose lane i is on where i < n. It counts in integers as wide as the floats: the cheapest comparison."""
    index = ir.IntType(8 * bytes_of(vector))
    if index.width < n.type.width:
        n = builder.trunc(n, index)
    ramp = ir.Constant(ir.VectorType(index, vector.count), list(range(vector.count)))
    return builder.icmp_signed("<", ramp, splat(builder, n, vector.count))


def splat(builder, number, lanes):
    """`number` in every lane."""
    nothing = ir.Constant(ir.VectorType(number.type, lanes), ir.Undefined)
    return shuffle(builder, builder.insert_element(nothing, number, WORD(0)), nothing, [0] * lanes)


def letter(vector):
    """LLVM's short name of a vector type: v8f32."""
    bits = {"float": "f32", "double": "f64"}[str(vector.element)]
    return f"v{vector.count}{bits}"


def bytes_of(vector):
    return {"float": 4, "i32": 4, "double": 8}[str(vector.element)]


def halves(builder, a):
    """The lower and the upper half of a vector."""
    lanes = list(range(a.type.count))
    half = len(lanes) // 2
    return shuffle(builder, a, a, lanes[:half]), shuffle(builder, a, a, lanes[half:])


def shuffle(builder, a, b, lanes):
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(WORD, len(lanes)), lanes))


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
    name, alignment = f"llvm.masked.load.{letter(vector)}.p0", WORD(bytes_of(vector))
    return call_llvm(builder, name, vector, address, alignment, first_lanes(builder, vector, n), vector(None))


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
            address, mask = as_vector_pointer(builder, place, vector), first_lanes(builder, vector, n)
            name, alignment = f"llvm.masked.store.{letter(vector)}.p0", WORD(bytes_of(vector))
            call_llvm(builder, name, ir.VoidType(), rest, address, alignment, mask)
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


@njit(forceinline=True)
def over_row(visit, length, n, result, *arguments):
    """result = visit(j, left, result, ...) at each Vector, of n numbers, of a row; only at the last are fewer left."""
    whole = length - length % n
    for j in range(0, whole, n):
        result = visit(j, n, result, *arguments)
    if whole < length:
        result = visit(whole, length - whole, result, *arguments)
    return result


def lanes(vector):
    """How many numbers a Vector holds, known when the kernel is compiled."""
    raise NotImplementedError("for compiled code")


@overload(lanes)
def _lanes(vector):
    count = lanes_of(vector.dtype) if isinstance(vector, types.CPointer) else vector.lanes
    return lambda vector: count


@intrinsic
def broadcast(typing, p, number):
    """A Vector with `number` in every lane, of the dtype that `p` points to (or that the Vector `p` has)."""
    result = p if isinstance(p, Vector) else vector_of(p.dtype)

    def emit(context, builder, signature, args):
        value = context.cast(builder, args[1], signature.args[1], p.dtype)
        return splat(builder, value, result.lanes)

    return result(p, number), emit
