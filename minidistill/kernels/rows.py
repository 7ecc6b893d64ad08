# SPDX-License-Identifier: MIT
"""The maths once more, one number at a time: what a compiler makes fast, on the CPU and on a GPU alike.

ops.py says what an operation does to an array; here stands what happens to one element, under the same tags. Nothing
here loops and nothing touches memory: kernels/cpu/ and kernels/cuda/ bring the elements and take the results away.

The formulas are plain Python and run as such. `compiled(jit, ...)` wraps each of them for a target. No formula holds a
literal: 0.5 is a double, and one of them makes a float32 kernel compute in double. Their constants have names, and a
target gives the names values of its own dtype.
"""

import math
from types import FunctionType, ModuleType

ZERO, HALF, ONE, TWO, THREE = 0.0, 0.5, 1.0, 2.0, 3.0

# ------------------------------------------------------------------------------------------------- what targets replace
# A processor has an instruction for each of these, and so each target brings its own.


def square_root(a):
    return math.sqrt(a)


def nearest(a):
    """The nearest whole number, ties to even."""
    return float(round(a))


def power_of_two(n):
    """2**n for whole n."""
    return 2.0**n


def exponent(a):
    """The whole number e of a = 2**e * m with 1 <= m < 2."""
    return float(math.frexp(a)[1] - 1)


def where_positive(a, value):
    return value if a > ZERO else ZERO


def choose_positive(a, value, other):
    return value if a > ZERO else other


def where_at_least(bits, threshold, value):
    return value if bits >= threshold else ZERO


# ------------------------------------------------------------------------------------------------------------------ exp
# exp(x) = 2**n exp(r) with n the nearest whole number to x / ln 2, so that |r| <= ln(2) / 2 = 0.35. There the Taylor
# series up to r**7 is wrong by less than 0.35**8 / 8! = 6e-9, and up to r**13 by less than 5e-18: nothing in float32,
# in float64. With rounding, the relative error is below 1.2e-7 and 2.5e-16 (tested). ln 2 is subtracted in two parts: n
# * LN2_HIGH is exact, since LN2_HIGH has only 16 bits, and LN2_LOW is the rest.

LOG2_E = 1.4426950408889634
LN2_HIGH = 45426 / 65536
LN2_LOW = 1.4286068203094172e-06
C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12, C13 = (1 / math.factorial(k) for k in range(2, 14))
LIMIT_SINGLE, LIMIT_DOUBLE = 87.3, 708.3  # beyond, exp leaves the range of normal numbers


def curve_single(r):
    """exp(r) - 1 - r for |r| <= 0.35."""
    return r * r * (C2 + r * (C3 + r * (C4 + r * (C5 + r * (C6 + r * C7)))))


def curve_double(r):
    tail = C8 + r * (C9 + r * (C10 + r * (C11 + r * (C12 + r * C13))))
    return r * r * (C2 + r * (C3 + r * (C4 + r * (C5 + r * (C6 + r * (C7 + r * tail))))))


curve = curve_double


def series(r):
    """exp(r) - 1 for |r| <= 0.35."""
    return r + curve(r)


def within_range_single(x):
    """x held to where exp(x) is a normal number; NaN stays NaN."""
    return max(min(x, LIMIT_SINGLE), -LIMIT_SINGLE)


def within_range_double(x):
    return max(min(x, LIMIT_DOUBLE), -LIMIT_DOUBLE)


within_range = within_range_double


def exp(x):
    x = within_range(x)
    n = nearest(x * LOG2_E)
    scale = power_of_two(n)
    return scale + scale * series((x - n * LN2_HIGH) - n * LN2_LOW)


def exp_minus_one(x):
    """exp(x) - 1 without the cancellation near zero, where exp(x) is close to 1."""
    x = within_range(x)
    n = nearest(x * LOG2_E)
    scale = power_of_two(n)
    return (scale - ONE) + scale * series((x - n * LN2_HIGH) - n * LN2_LOW)


# 2**x needs no ln 2 and so is cheaper. With n the nearest whole number to x, |x - n| <= 1/2. In double the coefficients
# are those of exp(r ln 2); in single they are the six for which the largest relative error on that range is smallest,
# 2e-9. Large x are not wanted here, and not looked for. At the lower limit the bits of 2**n are those of zero: below
# what a normal number can hold, 2**x is 0.

S1, S2, S3 = 0.6931472028552517, 0.24022647913610992, 0.05550332470702238
S4, S5, S6 = 0.009618437358505122, 0.001339887458849158, 0.00015353362058749716
B1, B2, B3, B4, B5, B6, B7, B8, B9, B10, B11, B12, B13 = (math.log(2) ** k / math.factorial(k) for k in range(1, 14))
LOWEST_SINGLE, LOWEST_DOUBLE = -127.0, -1023.0
LN_2 = math.log(2)
NEAR_SQUARED = 0.34**2  # `curve` is exact nearer to 0


def series2_single(r):
    """(2**r - 1) / r for |r| <= 0.5."""
    return S1 + r * (S2 + r * (S3 + r * (S4 + r * (S5 + r * S6))))


def series2_double(r):
    square = r * r
    tail = (B7 + r * B8) + square * ((B9 + r * B10) + square * ((B11 + r * B12) + square * B13))
    return (B1 + r * B2) + square * ((B3 + r * B4) + square * ((B5 + r * B6) + square * tail))


series2 = series2_double


def not_below_range_single(x):
    """x, or where 2**x would not be a normal number, the exponent of zero; NaN stays NaN."""
    return max(x, LOWEST_SINGLE)


def not_below_range_double(x):
    return max(x, LOWEST_DOUBLE)


not_below_range = not_below_range_double


def exp2(x):
    """2**x for x < 127 (in double 1023)."""
    x = not_below_range(x)
    n = nearest(x)
    r, scale = x - n, power_of_two(n)
    return scale + (scale * r) * series2(r)


# log(x) = e ln 2 + log(m) with x = 2**e m and m between 1/sqrt(2) and sqrt(2). With f = (m - 1) / (m + 1), |f| <=
# 0.172, log(m) = 2 (f + f**3/3 + f**5/5 + ...): in float32 five terms are enough, in float64 eleven.

SQRT_2 = math.sqrt(2)
D3, D5, D7, D9, D11, D13, D15, D17, D19, D21 = (1 / k for k in range(3, 22, 2))


def odd_series_single(f):
    """f + f**3/3 + f**5/5 + ..."""
    g = f * f
    return f + f * g * (D3 + g * (D5 + g * (D7 + g * D9)))


def odd_series_double(f):
    g = f * f
    tail = D11 + g * (D13 + g * (D15 + g * (D17 + g * (D19 + g * D21))))
    return f + f * g * (D3 + g * (D5 + g * (D7 + g * (D9 + g * tail))))


odd_series = odd_series_double


def log(x):
    """The natural logarithm of a normal positive x."""
    e = exponent(x)
    m = x * power_of_two(-e)
    above = where_positive(m - SQRT_2, m / m)  # one or zero
    e, m = e + above, m * (ONE - HALF * above)
    return e * LN2_HIGH + (e * LN2_LOW + TWO * odd_series((m - ONE) / (m + ONE)))


# ---------------------------------------------------------------------------------------------------------- activations


def relu(z):
    return max(z, ZERO)                                            # [ACT-1]


def relu_backward(da, a):
    return where_positive(a, da)                                   # [ACT-2]


def tanh(z):
    m = exp_minus_one(TWO * z)
    return m / (m + TWO)                                           # [ACT-3]


def tanh_backward(da, a):
    return da * (ONE - a * a)                                      # [ACT-4]


GELU_SCALE = math.sqrt(2 / math.pi)
GELU_CUBIC = 0.044715


def gelu(z):
    return HALF * z * (ONE + tanh(GELU_SCALE * (z + GELU_CUBIC * z * z * z)))  # [ACT-5]


def gelu_backward(da, z):
    th = tanh(GELU_SCALE * (z + GELU_CUBIC * z * z * z))
    du = GELU_SCALE * (ONE + THREE * GELU_CUBIC * z * z)
    return da * (HALF * (ONE + th) + HALF * z * (ONE - th * th) * du)  # [ACT-6]


# -------------------------------------------------------------------------------------------------------------- dropout
# Words of 32 bits. A target may compute in longer ones: every sum and product is cut back to 32 bits.

WORD = 0xFFFFFFFF
MIX_1, MIX_2 = 0x7FEB352D, 0x846CA68B
SHIFT_15, SHIFT_16 = 15, 16


def hash32(x):
    x = x & WORD
    x = ((x ^ (x >> SHIFT_16)) * MIX_1) & WORD
    x = ((x ^ (x >> SHIFT_15)) * MIX_2) & WORD
    return x ^ (x >> SHIFT_16)                                     # [DROP-1]


def keep(value, bits, threshold, scale):
    """`value` times the mask, which is `scale` where the hashed `bits` reach the threshold, else zero."""
    return where_at_least(bits, threshold, value * scale)          # [DROP-2, DROP-3, DROP-4]


# --------------------------------------------------------------------------------------------------------------- losses
# A row of logits is walked twice. The first walk makes of each number a term, exp((s - top) / T), and sums: with the
# terms and their `total` every element of the second knows its probability. `top` is the row's largest logit or one
# near it: it cancels, and keeps the exponentials in range.


def scaled(s, top, over_T):
    """(s - top) / T, with 1/T computed once: the largest is 0, so no exponential overflows."""
    return (s - top) * over_T


def in_bits(s, top, over_T):
    """log2 of exp((s - top) / T)."""
    return (s - top) * (over_T * LOG2_E)


def log_softmax(s, top, log_total, over_T):
    return scaled(s, top, over_T) - log_total                      # [SM-1, KD-1]


def softmax(term, total):
    """`term` is exp((s - top) / T)."""
    return term / total                                            # [SM-3]


def log_softmax_backward(dlog_q, log_q, total, over_T):
    """`total` is the sum of dlog_q over the row."""
    return (dlog_q - exp(log_q) * total) * over_T                  # [SM-2]


def softmax_backward(dq, q, total, over_T):
    """`total` is the sum of dq * q over the row."""
    return q * (dq - total) * over_T                               # [SM-4]


def smoothed(y, kept, spread):
    """A target of which `kept` = 1 - e stays and `spread` = e / C is given to every class."""
    return kept * y + spread                                       # [CE-3]


def cross_entropy(y, log_q):
    return -(y * log_q)                                            # [CE-1]


def cross_entropy_backward(q, y):
    return q - y                                                   # [CE-2], over B


# KL(p || q) is the sum of p (log p - log q). Near a match these terms cancel: what is left is rounding, of either sign,
# and T^2 multiplies it. With d = log q - log p the sum of p (exp(d) - 1 - d) is the same number, since p and q both sum
# to 1, and none of its terms is below 0.


def soft_target(p, q, d):
    """p (exp(d) - 1 - d), where q = p exp(d)."""
    return choose_positive(NEAR_SQUARED - d * d, p * curve(d), q - p - p * d)  # [KD-2, KD-6], times T^2


def change(p, q, d):
    """q - p, where q = p exp(d)."""
    return choose_positive(NEAR_SQUARED - d * d, p * series(d), q - p)


def log_ratio(s, t, tops_apart, over_T, shift):
    """log q - log p with `shift` = log(total_q / total_p); `tops_apart` is the student's top less the teacher's."""
    return scaled(s - t, tops_apart, over_T) - shift


def soft_target_of_row(apart, total_p, shift):
    """KL(p || q) of a row, to all digits where it is not small. `apart` is the sum of term_p (bits_p - bits_q):

    with p = term / total_p, log p - log q is ln 2 times the bits between the terms, and `shift`.
    """
    return LN_2 * apart / total_p + shift                          # [KD-2]


def soft_target_near_match(curves, changes):
    """KL(p || q) of a row from the means over p of exp(d) - 1 - d and of exp(d) - 1.

    The second is 0 but for the rounding of `shift`, which moves all d of a row alike; a half of its square takes
    that away again.
    """
    return curves - HALF * changes * changes                       # [KD-2]


def soft_target_backward(q, p, T):
    return T * (q - p)                                             # [KD-3], over B


def rest_backward(q, p_rest, share, T):
    """For a class that the teacher does not name: the rest's probability, shared out as the student does."""
    return T * (q - p_rest * share)                                # [KD-7], over B


def both(alpha, label_part, teacher_part):
    """Value or gradient: what the labels say and what the teacher says."""
    return (ONE - alpha) * label_part + alpha * teacher_part       # [KD-4, KD-5]


# ----------------------------------------------------------------------------------------------------------- optimizers


def sgd(w, dw, v, rate, momentum, nesterov, weight_decay):
    """The new w and v."""
    g = dw + weight_decay * w
    v = momentum * v + g                                           # [OPT-1]
    change = g + momentum * v if nesterov else v
    return w - rate * change, v                                    # [OPT-2]


def adam(w, dw, m, v, rate, correction1, correction2, beta1, beta2, epsilon, weight_decay):
    """The new w, m and v; the corrections are 1 - beta1**step and 1 - beta2**step."""
    m = beta1 * m + (ONE - beta1) * dw                             # [OPT-3]
    v = beta2 * v + (ONE - beta2) * dw * dw                        # [OPT-4]
    w = w * (ONE - rate * weight_decay)
    return w - rate * (m / correction1) / (square_root(v / correction2) + epsilon), m, v  # [OPT-5]


def shrink(norm, limit):
    """The factor that brings a vector of this norm within the limit."""
    return limit / max(norm, limit)                                # [OPT-6, OPT-7]


# ------------------------------------------------------------------------------------------------------------ compiling


def compiled(jit, **replaced):
    """A module of every formula wrapped by `jit`, each calling the others' wrapped versions.

    `replaced` are names that the target brings itself. It is a module because compilers look through modules, not
    objects.
    """
    scope = dict(globals(), **replaced)
    for name, formula in globals().items():
        if isinstance(formula, FunctionType) and name not in replaced and formula is not compiled:
            scope[name] = jit(FunctionType(formula.__code__, scope, name))
    target = ModuleType("formula", compiled.__doc__)
    target.__dict__.update(scope)
    return target
