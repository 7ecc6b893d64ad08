# SPDX-License-Identifier: MIT
"""Arithmetic of Vectors: to a formula a Vector is a number.

The operators + - * / and the functions below work lane by lane, or combine the lanes into one number. What rows.py says
of one float is done to eight at once, and its constants take on the Vector's dtype.
"""

import operator

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

from .simd import WORD, Vector, broadcast, bytes_of, call_llvm, first_lanes, halves, letter, splat


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


for kind, operations in ((types.Float, FLOAT_OPERATIONS), (types.Integer, INTEGER_OPERATIONS)):
    for function, operation in operations.items():
        teach(function, kind, operation)


@overload(operator.neg)
def _negative(a):
    if isinstance(a, Vector):
        return lambda a: negative(a)


@intrinsic
def negative(typing, a):
    return a(a), lambda context, builder, signature, args: builder.fneg(args[0])


def call_unary(builder, name, a):
    return call_llvm(builder, f"llvm.{name}.{letter(a.type)}", a.type, a)


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
def choose_positive(typing, a, value, other):
    """`value` in the lanes where a > 0, `other` in the others, and where a is NaN."""

    def emit(context, builder, signature, args):
        return builder.select(builder.fcmp_ordered(">", args[0], args[0].type(None)), args[1], args[2])

    return value(a, value, other), emit


@njit(forceinline=True)
def where_positive(a, value):
    """`value` in the lanes where a > 0, zero in the others."""
    return choose_positive(a, value, broadcast(value, 0))


@intrinsic
def where_at_least(typing, bits, threshold, value):
    """`value` in the lanes whose unsigned `bits` reach the number `threshold`, zero in the others."""

    def emit(context, builder, signature, args):
        reached = builder.icmp_unsigned(">=", args[0], splat(builder, args[1], bits.lanes))
        return builder.select(reached, args[2], args[2].type(None))

    return value(bits, threshold, value), emit


@intrinsic
def first(typing, value, n):
    """The Vector `value` with zeros from lane n on."""

    def emit(context, builder, signature, args):
        return builder.select(first_lanes(builder, args[0].type, args[1]), args[0], args[0].type(None))

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
def count_up(typing, like, start):
    """The uint32 Vector start, start + 1, ... with as many lanes as the Vector `like`."""
    result = Vector(types.uint32, like.lanes)

    def emit(context, builder, signature, args):
        ramp = ir.Constant(ir.VectorType(WORD, like.lanes), list(range(like.lanes)))
        first = context.cast(builder, args[1], signature.args[1], types.uint32)
        return builder.add(splat(builder, first, like.lanes), ramp)

    return result(like, start), emit


def across_lanes(emit_operation):
    """An intrinsic that combines all lanes into one number, halving the vector until one lane is left."""

    @intrinsic
    def operation(typing, a):
        def emit(context, builder, signature, args):
            rest = args[0]
            while rest.type.count > 1:
                rest = emit_operation(builder, *halves(builder, rest))
            return builder.extract_element(rest, WORD(0))

        return a.dtype(a), emit

    return operation


@intrinsic
def lane_0(typing, a):
    """The number in the first lane."""
    return a.dtype(a), lambda context, builder, signature, args: builder.extract_element(args[0], WORD(0))


sum_lanes = across_lanes(lambda builder, a, b: builder.fadd(a, b))
max_lanes = across_lanes(lambda builder, a, b: builder.select(builder.fcmp_unordered(">", b, a), b, a))
