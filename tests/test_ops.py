# SPDX-License-Identifier: MIT
"""ops.py: each forward against an independent formula in plain Python, each backward against central differences.

Everything starts from awkward values: no zeros, no symmetry, batches of one, odd shapes.
"""

import math

import numpy as np
import pytest
from exact import TEMPERATURES, assert_exact, pairs_of_logits
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays

from minidistill import ops
from minidistill.diagnosis.gradcheck import check_direction, check_gradient

SHAPES = [(1, 2), (3, 5), (7, 1)]
LARGE = (33, 65)
DTYPES = ["float32", "float64"]
EPS32 = float(np.finfo(np.float32).eps)


def awkward(*shape, seed=0, dtype=np.float64):
    """Numbers of either sign, none within 0.05 of zero: the ReLU has its kink there."""
    x = 2 * np.random.default_rng([seed, *shape]).standard_normal(shape)
    return (x + np.copysign(0.05, x)).astype(dtype)


def probabilities(B, C, seed=0, dtype=np.float64):
    e = np.exp(awkward(B, C, seed=seed))
    return (e / e.sum(axis=1, keepdims=True)).astype(dtype)


def row_softmax(row, T=1.0):
    """Softmax of one row in plain Python."""
    top = max(row)
    powers = [math.exp((s - top) / T) for s in row]
    return [power / math.fsum(powers) for power in powers]


def row_log_softmax(row, T=1.0):
    """Log-softmax of one row in plain Python; log1p keeps the digits where one class has nearly everything."""
    top = max(row)
    rest = sorted(row)[:-1]
    log_sum = math.log1p(math.fsum(math.exp((s - top) / T) for s in rest))
    return [(s - top) / T - log_sum for s in row]


# ---------------------------------------------------------------------------------------------- linear layer


def test_linear_forward_is_a_weighted_sum_and_a_bias():
    """[LIN-1]"""
    x, W, b = awkward(3, 4), awkward(4, 2), awkward(2)
    z, _ = ops.linear_forward(x, W, b)
    by_hand = [[sum(x[n, i] * W[i, o] for i in range(4)) + b[o] for o in range(2)] for n in range(3)]
    np.testing.assert_allclose(z, by_hand, rtol=1e-13)


@pytest.mark.parametrize(("B", "I", "O"), [(1, 1, 1), (1, 5, 3), (7, 3, 2)])
def test_linear_backward_agrees_with_finite_differences(B, I, O):
    """[LIN-2] for x, [LIN-3] for W, [LIN-4] for b"""
    x, W, b, dz = awkward(B, I), awkward(I, O, seed=1), awkward(O, seed=2), awkward(B, O, seed=3)
    dx, dW, db = ops.linear_backward(dz, ops.linear_forward(x, W, b)[1])
    check_gradient(lambda x: (ops.linear_forward(x, W, b)[0] * dz).sum(), x, dx)
    check_gradient(lambda W: (ops.linear_forward(x, W, b)[0] * dz).sum(), W, dW)
    check_gradient(lambda b: (ops.linear_forward(x, W, b)[0] * dz).sum(), b, db)


def test_linear_backward_agrees_along_a_direction_on_a_large_layer():
    """[LIN-2] [LIN-3] [LIN-4]"""
    x, W, b, dz = awkward(*LARGE), awkward(65, 47), awkward(47), awkward(33, 47)
    dx, dW, db = ops.linear_backward(dz, ops.linear_forward(x, W, b)[1])
    check_direction(lambda x: (ops.linear_forward(x, W, b)[0] * dz).sum(), x, dx)
    check_direction(lambda W: (ops.linear_forward(x, W, b)[0] * dz).sum(), W, dW)
    check_direction(lambda b: (ops.linear_forward(x, W, b)[0] * dz).sum(), b, db)


def test_linear_backward_writes_into_the_given_arrays_and_does_not_add():
    x, W, b, dz = awkward(3, 4), awkward(4, 2), awkward(2), awkward(3, 2)
    _, cache = ops.linear_forward(x, W, b)
    dx, dW, db = ops.linear_backward(dz, cache)
    given_dW, given_db = np.full((4, 2), np.nan), np.full(2, np.nan)
    for _ in range(2):  # a second call into the same arrays would double what is added
        same_dx, got_dW, got_db = ops.linear_backward(dz, cache, given_dW, given_db)
        assert got_dW is given_dW
        assert got_db is given_db
        assert np.array_equal(given_dW, dW)
        assert np.array_equal(given_db, db)
        assert np.array_equal(same_dx, dx)


def test_linear_backward_leaves_the_input_gradient_out_where_asked():
    _, cache = ops.linear_forward(awkward(3, 4), awkward(4, 2), awkward(2))
    dx, dW, db = ops.linear_backward(awkward(3, 2), cache, skip_dx=True)
    assert dx is None
    assert dW.shape == (4, 2)
    assert db.shape == (2,)


def test_the_linear_cache_is_the_input_and_the_weights_themselves_and_no_copy():
    x, W, b = awkward(3, 4), awkward(4, 2), awkward(2)
    _, cache = ops.linear_forward(x, W, b)
    assert len(cache) == 2
    assert cache[0] is x
    assert cache[1] is W


# ---------------------------------------------------------------------------------------------- activations

GELU_SLOPE = math.sqrt(2 / math.pi)
ACTIVATIONS = {
    "relu": (ops.relu_forward, ops.relu_backward, lambda z: z if z > 0 else 0.0),
    "tanh": (ops.tanh_forward, ops.tanh_backward, lambda z: 1 - 2 / (math.exp(2 * z) + 1)),
    "gelu": (
        ops.gelu_forward,
        ops.gelu_backward,
        # 1/2 (1 + tanh u) is 1 / (1 + e^-2u)
        lambda z: z / (1 + math.exp(-2 * GELU_SLOPE * (z + 0.044715 * z**3))),
    ),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_agree_with_plain_python(name):
    """[ACT-1] relu, [ACT-3] tanh, [ACT-5] gelu"""
    forward, _, by_hand = ACTIVATIONS[name]
    z = awkward(7, 5)
    a, _ = forward(z)
    np.testing.assert_allclose(a, [[by_hand(v) for v in row] for row in z.tolist()], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_backwards_agree_with_finite_differences(name, shape):
    """[ACT-2] relu, [ACT-4] tanh, [ACT-6] gelu"""
    forward, backward, _ = ACTIVATIONS[name]
    z, da = awkward(*shape), awkward(*shape, seed=1)
    check_gradient(lambda z: (forward(z)[0] * da).sum(), z, backward(da, forward(z)[1]))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_backwards_agree_along_a_direction_on_many_rows(name):
    """[ACT-2] [ACT-4] [ACT-6]"""
    forward, backward, _ = ACTIVATIONS[name]
    z, da = awkward(*LARGE), awkward(*LARGE, seed=1)
    check_direction(lambda z: (forward(z)[0] * da).sum(), z, backward(da, forward(z)[1]))


def test_relu_has_slope_0_at_0():
    a, cache = ops.relu_forward(np.array([[0.0, -0.0]]))
    assert a.tolist() == [[0, 0]]
    assert ops.relu_backward(np.ones((1, 2)), cache).tolist() == [[0, 0]]


def test_gelu_is_close_to_the_exact_one():
    """[ACT-5] approximates z Phi(z): to 5e-4, says the paper's formula; a wrong constant is off by more."""
    z = np.linspace(-5, 5, 101)[:, None]
    exact = [[v * (1 + math.erf(v / math.sqrt(2))) / 2] for v in z[:, 0]]
    np.testing.assert_allclose(ops.gelu_forward(z)[0], exact, atol=5e-4)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("size", [1e2, 1e4])
def test_activations_and_their_slopes_saturate_without_overflow(name, size):
    forward, backward, _ = ACTIVATIONS[name]
    z = np.array([[-size, size]], np.float32)
    a, cache = forward(z)
    top = 1 if name == "tanh" else size
    bottom = -1 if name == "tanh" else 0
    assert a.tolist() == [[bottom, top]]
    assert backward(np.ones_like(z), cache).tolist() == [[0, 0 if name == "tanh" else 1]]


# ---------------------------------------------------------------------------------------------- dropout

WORD = 0xFFFFFFFF


def hash32_by_hand(x):
    """[DROP-1] with whole numbers of any size, cut to 32 bits after each product."""
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & WORD
    x = ((x ^ (x >> 15)) * 0x846CA68B) & WORD
    return x ^ (x >> 16)


def mask_by_hand(shape, rate, seed, step, layer):
    """[DROP-2], entry by entry."""
    key = 0
    for word in (seed, step, layer):
        key = hash32_by_hand((key + word) & WORD)
    rows = [hash32_by_hand((key + row) & WORD) for row in range(shape[0])]
    bits = [[hash32_by_hand((row + unit) & WORD) for unit in range(shape[1])] for row in rows]
    return [[1 / (1 - rate) if word >= int(rate * 2**32) else 0.0 for word in row] for row in bits]


@given(words=st.lists(st.integers(0, WORD), min_size=1, max_size=20))
@settings(deadline=None, max_examples=50)
def test_hash32_agrees_with_whole_numbers_of_python(words):
    """[DROP-1]"""
    assert ops.hash32(np.array(words, np.uint32)).tolist() == [hash32_by_hand(word) for word in words]


def test_hash32_keeps_its_golden_values():
    """[DROP-1]: a saved run can only be resumed while these stay as they are."""
    assert ops.hash32(np.array([0, 1, 2, WORD], np.uint32)).tolist() == [0, 0x688990C0, 0xD1132181, 0x6768824A]


def test_hash32_gives_different_words_different_hashes():
    """[DROP-1]: a bijection never collides; among 1,000,000 words a random function would collide 116 times."""
    assert len(np.unique(ops.hash32(np.arange(1_000_000, dtype=np.uint32)))) == 1_000_000


def test_each_input_bit_flips_each_output_bit_about_half_of_the_time():
    """[DROP-1]"""
    words = np.arange(20_000, dtype=np.uint32)
    for flipped in range(32):
        changed = ops.hash32(words) ^ ops.hash32(words ^ np.uint32(1 << flipped))
        share = [((changed >> np.uint32(bit)) & 1).mean() for bit in range(32)]
        assert np.all(np.abs(np.array(share) - 0.5) < 0.03), flipped  # one standard deviation is 0.0035


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.9])
def test_the_dropout_mask_agrees_with_plain_python(rate):
    """[DROP-2]"""
    given = {"rate": rate, "seed": 3, "step": 70_000, "layer": 2}
    mask = ops.dropout_mask((5, 7), **given, dtype=np.float64)
    np.testing.assert_allclose(mask, mask_by_hand((5, 7), **given), rtol=1e-15)


def test_the_dropout_mask_is_a_pure_function_of_its_arguments():
    first = ops.dropout_mask((6, 8), 0.5, 1, 2, 3)
    np.random.seed(0)  # noqa: NPY002  (no global state may matter)
    assert np.array_equal(ops.dropout_mask((6, 8), 0.5, 1, 2, 3), first)


def test_the_first_rows_of_a_mask_are_the_mask_of_the_first_rows():
    """A last, smaller batch, or a row that another thread computes, sees the same mask."""
    mask = ops.dropout_mask((9, 8), 0.5, 1, 2, 3)
    assert np.array_equal(ops.dropout_mask((4, 5), 0.5, 1, 2, 3), mask[:4, :5])


@pytest.mark.parametrize("changed", ["seed", "step", "layer"])
def test_another_seed_step_or_layer_draws_an_unrelated_mask(changed):
    key = {"seed": 1, "step": 2, "layer": 3}
    first = ops.dropout_mask((200, 100), 0.5, **key) > 0
    second = ops.dropout_mask((200, 100), 0.5, **{**key, changed: key[changed] + 1}) > 0
    assert abs((first == second).mean() - 0.5) < 0.02  # one standard deviation is 0.0035


@pytest.mark.parametrize("axis", [0, 1])
def test_neighbouring_rows_and_units_are_unrelated(axis):
    kept = np.moveaxis(ops.dropout_mask((200, 100), 0.5, 1, 2, 3) > 0, axis, 0)
    assert abs((kept[1:] == kept[:-1]).mean() - 0.5) < 0.02
    assert len(np.unique(kept, axis=0)) == len(kept), "two of them are equal"


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.5, 0.95])
def test_the_mask_respects_the_rate_and_has_mean_1(rate):
    """[DROP-2]"""
    mask = ops.dropout_mask((500, 400), rate, seed=1, step=2, layer=3, dtype=np.float64)
    deviation = math.sqrt(rate * (1 - rate) / mask.size)
    assert abs((mask == 0).mean() - rate) < 4 * deviation
    assert abs(mask.mean() - 1) < 4 * deviation / (1 - rate)
    assert set(np.unique(mask)) == {0, 1 / (1 - rate)}


def test_a_rate_of_0_keeps_everything():
    assert np.all(ops.dropout_mask((20, 30), 0.0, 0, 0, 0) == 1)


def test_seeds_and_steps_beyond_32_bits_and_below_0_are_taken():
    assert ops.dropout_mask((2, 3), 0.5, 2**40 + 5, 2**33, 0).shape == (2, 3)
    assert ops.dropout_mask((2, 3), 0.5, -1, -1, 0).shape == (2, 3)


def test_dropout_multiplies_by_its_mask():
    """[DROP-3]"""
    a = awkward(5, 7)
    dropped, cache = ops.dropout_forward(a, 0.5, 1, 2, 3)
    assert np.array_equal(dropped, a * np.array(mask_by_hand((5, 7), 0.5, 1, 2, 3)))
    assert np.array_equal(cache, ops.dropout_mask((5, 7), 0.5, 1, 2, 3))


@pytest.mark.parametrize("shape", [*SHAPES, (5, 7)])
def test_dropout_backward_agrees_with_finite_differences(shape):
    """[DROP-4]"""
    a, da = awkward(*shape), awkward(*shape, seed=1)
    _, mask = ops.dropout_forward(a, 0.4, 1, 2, 3)
    check_gradient(lambda a: (ops.dropout_forward(a, 0.4, 1, 2, 3)[0] * da).sum(), a, ops.dropout_backward(da, mask))


def test_dropout_backward_lets_gradient_through_where_the_unit_was_kept_and_nowhere_else():
    """[DROP-4]"""
    a, da = awkward(5, 7), awkward(5, 7, seed=1)
    dropped, mask = ops.dropout_forward(a, 0.5, 1, 2, 3)
    assert 0 < (dropped == 0).sum() < dropped.size
    assert np.array_equal(ops.dropout_backward(da, mask) == 0, dropped == 0)


# ---------------------------------------------------------------------------------------------- softmax

SOFTMAXES = {
    "softmax": (ops.softmax_forward, ops.softmax_backward),
    "log_softmax": (ops.log_softmax_forward, ops.log_softmax_backward),
}
shapes = st.tuples(st.integers(1, 6), st.integers(2, 9))
temperatures = st.floats(0.25, 100)
wide_logits32 = arrays.arrays(np.float32, shapes, elements=st.floats(-10_000, 10_000, width=32))


@pytest.mark.parametrize("T", [0.5, 1.0, 20.0])
def test_softmax_agrees_with_plain_python(T):
    """[SM-3]; [SM-1] for its logarithm"""
    s = awkward(4, 6)
    np.testing.assert_allclose(ops.softmax_forward(s, T)[0], [row_softmax(row, T) for row in s.tolist()], rtol=1e-13)
    np.testing.assert_allclose(
        ops.log_softmax_forward(s, T)[0], [row_log_softmax(row, T) for row in s.tolist()], rtol=1e-13
    )


@pytest.mark.parametrize("T", [0.5, 1.0, 20.0])
@pytest.mark.parametrize("shape", [(1, 2), (3, 5), (7, 11)])
@pytest.mark.parametrize("name", SOFTMAXES)
def test_softmax_backwards_agree_with_finite_differences(name, shape, T):
    """[SM-2] for log-softmax, [SM-4] for softmax"""
    forward, backward = SOFTMAXES[name]
    s, dq = awkward(*shape), awkward(*shape, seed=1)
    check_gradient(lambda s: (forward(s, T)[0] * dq).sum(), s, backward(dq, forward(s, T)[1]))


@pytest.mark.parametrize("name", SOFTMAXES)
def test_softmax_backwards_agree_along_a_direction_on_many_rows(name):
    """[SM-2] [SM-4]"""
    forward, backward = SOFTMAXES[name]
    s, dq = awkward(*LARGE), awkward(*LARGE, seed=1)
    check_direction(lambda s: (forward(s, 3.0)[0] * dq).sum(), s, backward(dq, forward(s, 3.0)[1]))


@given(s=wide_logits32, T=temperatures)
@settings(deadline=None, max_examples=60)
def test_float32_softmax_is_accurate_for_logits_of_1e4(s, T):
    """[SM-1] [SM-3]: s - max, / T and the logarithm round once each, so a log-probability keeps 4 units in the last
    place; e^z z eps is the error of a probability, and e^z |z| stays below 1."""
    log_q, _ = ops.log_softmax_forward(s, T)
    q, _ = ops.softmax_forward(s, T)
    np.testing.assert_allclose(log_q, [row_log_softmax(row, T) for row in s.tolist()], rtol=4 * EPS32, atol=4 * EPS32)
    np.testing.assert_allclose(q, [row_softmax(row, T) for row in s.tolist()], rtol=0, atol=4 * EPS32)


@given(s=wide_logits32, T=temperatures)
@settings(deadline=None, max_examples=40)
def test_softmax_rows_are_probabilities_that_sum_to_1(s, T):
    q, _ = ops.softmax_forward(s, T)
    assert np.all((q >= 0) & (q <= 1))
    np.testing.assert_allclose(q.sum(axis=1, dtype=np.float64), 1, atol=4 * EPS32)


@given(s=wide_logits32, T=temperatures)
@settings(deadline=None, max_examples=40)
def test_log_softmax_is_the_logarithm_of_softmax(s, T):
    s = s.astype(np.float64) / 200  # gaps up to 400, and e^-400 still has all its digits in float64
    np.testing.assert_allclose(
        ops.log_softmax_forward(s, T)[0], np.log(ops.softmax_forward(s, T)[0]), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("name", SOFTMAXES)
def test_softmax_does_not_change_when_a_constant_is_added_to_a_row(name):
    forward, _ = SOFTMAXES[name]
    s = np.round(awkward(3, 5) * 64) / 64  # so that the sums below are exact
    assert np.array_equal(forward(s + np.array([[1.0], [-512.0], [4096.0]]), 2.0)[0], forward(s, 2.0)[0])


@pytest.mark.parametrize("name", SOFTMAXES)
def test_a_temperature_divides_the_logits(name):
    forward, _ = SOFTMAXES[name]
    s = awkward(3, 5)
    np.testing.assert_allclose(forward(s, 5.0)[0], forward(s / 5)[0], rtol=1e-13)


def test_a_higher_temperature_flattens_and_keeps_the_order():
    s = awkward(6, 5)
    sharp, soft, flat = (ops.softmax_forward(s, T)[0] for T in (0.5, 4.0, 1e6))
    assert np.all(sharp.max(axis=1) > soft.max(axis=1))
    assert np.array_equal(sharp.argsort(axis=1), soft.argsort(axis=1))
    np.testing.assert_allclose(flat, 0.2, atol=1e-5)  # |s| / T is below 1e-5


# ---------------------------------------------------------------------------------------------- losses on logits


def test_one_hot_rows():
    assert ops.one_hot(np.array([2, 0]), 3, np.float32).tolist() == [[0, 0, 1], [1, 0, 0]]


def cross_entropy_by_hand(s, y):
    rows = [row_log_softmax(row) for row in s.tolist()]
    pairs = zip(np.ravel(y).tolist(), np.ravel(rows).tolist(), strict=True)
    return -math.fsum(p * log_q for p, log_q in pairs) / len(s)


def soft_target_by_hand(s, t, T):
    """Mean over rows of T^2 sum_c p (log p - log q)."""
    terms = []
    for student, teacher in zip(s.tolist(), t.tolist(), strict=True):
        log_q, log_p = row_log_softmax(student, T), row_log_softmax(teacher, T)
        terms += [math.exp(lp) * (lp - lq) for lp, lq in zip(log_p, log_q, strict=True)]
    return T**2 * math.fsum(terms) / len(s)


def test_cross_entropy_with_labels_agrees_with_plain_python():
    """[CE-1]"""
    s, y = awkward(4, 3), np.array([2, 0, 1, 2])
    loss, _ = ops.cross_entropy_forward(s, y)
    assert math.isclose(loss, cross_entropy_by_hand(s, np.eye(3)[y]), rel_tol=1e-13)


def test_cross_entropy_with_rows_of_probabilities_agrees_with_plain_python():
    """[CE-1]"""
    s, y = awkward(4, 3), probabilities(4, 3, seed=1)
    assert math.isclose(ops.cross_entropy_forward(s, y)[0], cross_entropy_by_hand(s, y), rel_tol=1e-13)


@pytest.mark.parametrize(("B", "C"), [(1, 2), (5, 3), (3, 11)])
def test_cross_entropy_backward_agrees_with_finite_differences(B, C):
    """[CE-2]"""
    s = awkward(B, C)
    for y in (np.arange(B) * 7 % C, probabilities(B, C, seed=1)):
        ds = ops.cross_entropy_backward(ops.cross_entropy_forward(s, y)[1])
        check_gradient(lambda s, y=y: ops.cross_entropy_forward(s, y)[0], s, ds)


@pytest.mark.parametrize("T", [0.5, 1.0, 4.0, 20.0])
def test_soft_target_agrees_with_plain_python(T):
    """[KD-1] [KD-2]; T = 20 loses two digits: T^2 multiplies what is left of terms that cancel"""
    s, t = awkward(4, 3), awkward(4, 3, seed=1)
    assert math.isclose(ops.soft_target_forward(s, t, T)[0], soft_target_by_hand(s, t, T), rel_tol=1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("T", TEMPERATURES)
@pytest.mark.parametrize("C", [2, 10, 300])
def test_soft_targets_are_right_at_every_temperature_and_never_negative(C, T, dtype):
    """[KD-2] [KD-3]"""
    for s, t in pairs_of_logits(C, T):
        value, cache = ops.soft_target_forward(s.astype(dtype), t.astype(dtype), T)
        ds = ops.soft_target_backward(cache)
        assert value.dtype == ds.dtype == dtype
        assert_exact(value, ds, s, t, T, tolerance=1e-5)


@pytest.mark.parametrize("T", TEMPERATURES)
def test_top_k_targets_of_all_classes_but_one_are_soft_targets_at_every_temperature(T):
    """[KD-6] [KD-7]"""
    for s, t in pairs_of_logits(10, T):
        log_p, _ = ops.log_softmax_forward(t.astype(np.float64), T)
        indices = np.tile(np.arange(9), (len(s), 1))
        value, cache = ops.top_k_target_forward(s, indices, log_p[:, :9], T)
        ds = ops.top_k_target_backward(cache)
        assert value.dtype == ds.dtype == np.float32
        assert_exact(value, ds, s, t, T, tolerance=1e-5)


@pytest.mark.parametrize("T", [0.5, 1.0, 4.0, 20.0])
@pytest.mark.parametrize(("B", "C"), [(1, 2), (5, 3), (3, 11)])
def test_soft_target_backward_agrees_with_finite_differences(B, C, T):
    """[KD-3]"""
    s, t = awkward(B, C), awkward(B, C, seed=1)
    ds = ops.soft_target_backward(ops.soft_target_forward(s, t, T)[1])
    check_gradient(lambda s: ops.soft_target_forward(s, t, T)[0], s, ds)


@pytest.mark.parametrize(("T", "alpha", "smoothing"), [(4, 0.7, 0.0), (2, 1.0, 0.0), (1, 0.0, 0.1), (3, 0.2, 0.1)])
def test_distillation_loss_gradient_agrees_with_finite_differences(T, alpha, smoothing):
    """[KD-4] [KD-5]"""
    s, t, y = awkward(5, 3), awkward(5, 3, seed=1), np.array([0, 2, 1, 1, 0])
    arguments = t, y, T, alpha, smoothing
    check_gradient(lambda s: ops.distillation_loss(s, *arguments)[0], s, ops.distillation_loss(s, *arguments)[1])


def named_classes(B, C, k, T, seed=1):
    """The k likeliest classes of a teacher and their log-probabilities at T."""
    t = awkward(B, C, seed=seed)
    indices = np.argsort(-t, axis=1)[:, :k]
    return t, indices, np.take_along_axis(ops.log_softmax_forward(t, T)[0], indices, axis=1)


@pytest.mark.parametrize("T", [1.0, 4.0])
@pytest.mark.parametrize(("B", "C", "k"), [(1, 2, 1), (5, 6, 2), (3, 11, 10)])
def test_top_k_target_is_the_divergence_over_the_named_classes_and_the_rest(B, C, k, T):
    """[KD-6]"""
    s, (t, indices, log_p) = awkward(B, C), named_classes(B, C, k, T)
    by_hand = []
    for n in range(B):
        q, p, named = row_softmax(s[n], T), row_softmax(t[n], T), set(indices[n].tolist())
        rest = [tuple(sum(row[c] for c in range(C) if c not in named) for row in (p, q))]
        shares = [(p[c], q[c]) for c in named]
        shares.extend(rest)
        by_hand.append(T * T * math.fsum(a * math.log(a / b) for a, b in shares))
    assert math.isclose(ops.top_k_target_forward(s, indices, log_p, T)[0], math.fsum(by_hand) / B, rel_tol=1e-11)


@pytest.mark.parametrize("T", [0.5, 1.0, 4.0])
@pytest.mark.parametrize(("B", "C", "k"), [(1, 2, 1), (5, 6, 2), (3, 11, 10)])
def test_top_k_target_backward_agrees_with_finite_differences(B, C, k, T):
    """[KD-7]"""
    s, (_, indices, log_p) = awkward(B, C), named_classes(B, C, k, T)
    ds = ops.top_k_target_backward(ops.top_k_target_forward(s, indices, log_p, T)[1])
    check_gradient(lambda s: ops.top_k_target_forward(s, indices, log_p, T)[0], s, ds)


def test_top_k_target_agrees_with_all_classes_where_the_student_shares_out_the_rest_as_the_teacher_does():
    """[KD-6] [KD-7]"""
    t, indices, log_p = named_classes(4, 9, 3, 2.0)
    s = t + 0.7
    np.put_along_axis(s, indices, np.take_along_axis(s, indices, axis=1) + [0.5, -1.0, 2.0], axis=1)
    some, cache = ops.top_k_target_forward(s, indices, log_p, 2.0)
    every, full_cache = ops.soft_target_forward(s, t, 2.0)
    assert math.isclose(some, every, rel_tol=1e-12)
    np.testing.assert_allclose(ops.top_k_target_backward(cache), ops.soft_target_backward(full_cache), atol=1e-13)


def test_top_k_target_is_finite_and_pulls_for_logits_of_1e4_in_float32():
    s = np.array([[1e4, 0, -1e4, 5], [0, 1e4, 0, 0]], np.float32)
    indices, log_p = np.array([[2], [0]]), np.log(np.array([[0.5], [0.9]], np.float32))
    value, cache = ops.top_k_target_forward(s, indices, log_p, 1.0)
    ds = ops.top_k_target_backward(cache)
    assert np.isfinite(value)
    assert value.dtype == ds.dtype == np.float32
    np.testing.assert_allclose(ds, [[0.25, 0, -0.25, 0], [-0.45, 0.45, 0, 0]], atol=1e-6)


def test_loss_backwards_agree_along_a_direction_on_many_rows():
    """[CE-2] [KD-3]"""
    s, t, y = awkward(*LARGE), awkward(*LARGE, seed=1), np.arange(33) * 7 % 65
    ds = ops.cross_entropy_backward(ops.cross_entropy_forward(s, y)[1])
    check_direction(lambda s: ops.cross_entropy_forward(s, y)[0], s, ds)
    ds = ops.soft_target_backward(ops.soft_target_forward(s, t, 3.0)[1])
    check_direction(lambda s: ops.soft_target_forward(s, t, 3.0)[0], s, ds)


@given(s=wide_logits32, T=temperatures, seed=st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_float32_losses_are_accurate_for_logits_of_1e4(s, T, seed):
    """[CE-1] [KD-2]: each log-probability errs by 4 units in the last place, and the loss is their weighted mean."""
    random = np.random.default_rng(seed)
    t = random.uniform(-1e4, 1e4, s.shape).astype(np.float32)
    y = random.integers(0, s.shape[1], len(s))
    widest = 2e4 / T + math.log(s.shape[1])

    exact = cross_entropy_by_hand(s, np.eye(s.shape[1])[y])
    assert math.isclose(ops.cross_entropy_forward(s, y)[0], exact, rel_tol=8 * EPS32, abs_tol=8 * EPS32)
    exact = soft_target_by_hand(s, t, T)
    assert math.isclose(ops.soft_target_forward(s, t, T)[0], exact, abs_tol=8 * EPS32 * T**2 * widest)


@given(s=wide_logits32, T=temperatures, seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_float32_loss_gradients_are_accurate_for_logits_of_1e4(s, T, seed):
    """[CE-2] [KD-3]: differences of probabilities that err by 4 units in the last place each."""
    t = np.random.default_rng(seed).uniform(-1e4, 1e4, s.shape).astype(np.float32)
    q, p = (np.array([row_softmax(row, T) for row in logits.tolist()]) for logits in (s, t))
    ds = ops.soft_target_backward(ops.soft_target_forward(s, t, T)[1])
    np.testing.assert_allclose(ds, T * (q - p) / len(s), rtol=0, atol=8 * EPS32 * T)

    hot = np.eye(s.shape[1])[t.argmax(axis=1)]
    q = np.array([row_softmax(row) for row in s.tolist()])
    ds = ops.cross_entropy_backward(ops.cross_entropy_forward(s, t.argmax(axis=1))[1])
    np.testing.assert_allclose(ds, (q - hot) / len(s), rtol=0, atol=8 * EPS32)


# ---------------------------------------------------------------------------------------------- parameter updates


def sgd_by_hand(w, dws, rate, momentum, nesterov, weight_decay):
    """One parameter through several gradients. [OPT-1] [OPT-2]"""
    v = 0.0
    for dw in dws:
        g = dw + weight_decay * w
        v = momentum * v + g
        w = w - rate * (g + momentum * v) if nesterov else w - rate * v
    return w, v


def adam_by_hand(w, dws, rate, beta1, beta2, epsilon, weight_decay):
    """One parameter through several gradients. [OPT-3] [OPT-4] [OPT-5]"""
    m = v = 0.0
    for step, dw in enumerate(dws, start=1):
        m = beta1 * m + (1 - beta1) * dw
        v = beta2 * v + (1 - beta2) * dw**2
        w = w - rate * weight_decay * w - rate * (m / (1 - beta1**step)) / (math.sqrt(v / (1 - beta2**step)) + epsilon)
    return w, m, v


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.0, 0.0), (0.9, 0.0), (0.7, 0.3)])
def test_sgd_agrees_with_a_loop_over_scalars(momentum, nesterov, weight_decay):
    """[OPT-1] [OPT-2]"""
    start, dws = awkward(5), awkward(6, 5, seed=1)  # 6 steps, 5 parameters
    w, v = start.copy(), np.zeros(5)
    for dw in dws:
        ops.sgd_update(w, dw, v, 0.1, momentum, nesterov, weight_decay)
    by_hand = [sgd_by_hand(start[k], dws[:, k], 0.1, momentum, nesterov, weight_decay) for k in range(5)]
    np.testing.assert_allclose(np.array([w, v]).T, by_hand, rtol=1e-12)


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_adam_agrees_with_a_loop_over_scalars(weight_decay):
    """[OPT-3] [OPT-4] [OPT-5]"""
    start, dws = awkward(5), awkward(6, 5, seed=1)
    w, m, v = start.copy(), np.zeros(5), np.zeros(5)
    for step, dw in enumerate(dws, start=1):
        ops.adam_update(w, dw, m, v, 0.1, step, 0.8, 0.95, 1e-3, weight_decay)
    by_hand = [adam_by_hand(start[k], dws[:, k], 0.1, 0.8, 0.95, 1e-3, weight_decay) for k in range(5)]
    np.testing.assert_allclose(np.array([w, m, v]).T, by_hand, rtol=1e-12)


def test_the_first_step_of_adam_is_the_rate_whatever_the_size_of_the_gradient():
    """[OPT-5]: the zeros of the start are divided out."""
    w, dw = np.zeros(3), np.array([1e-3, -1.0, 1e3])
    ops.adam_update(w, dw, np.zeros(3), np.zeros(3), 0.1, step=1)
    np.testing.assert_allclose(w, [-0.1, 0.1, -0.1], rtol=1e-4)  # epsilon is 1e-5 of the smallest gradient


def test_updates_leave_the_gradient_as_it_was():
    w, dw = awkward(5), awkward(5, seed=1)
    ops.sgd_update(w, dw, np.zeros(5), 0.1, nesterov=True, weight_decay=0.1)
    ops.adam_update(w, dw, np.zeros(5), np.zeros(5), 0.1, 1, weight_decay=0.1)
    assert np.array_equal(dw, awkward(5, seed=1))


def test_clip_norm_shortens_a_long_gradient_to_the_limit_and_keeps_its_direction():
    """[OPT-6]"""
    dw = np.array([3.0, -4.0, 12.0])  # of length 13
    ops.clip_norm(dw, 6.5)
    np.testing.assert_allclose(dw, [1.5, -2.0, 6.0], rtol=1e-15)


@pytest.mark.parametrize("limit", [13.0, 14.0, 1e9])
def test_clip_norm_leaves_a_short_gradient_to_the_last_bit(limit):
    """[OPT-6]"""
    dw = np.array([3.0, -4.0, 12.0])
    ops.clip_norm(dw, limit)
    assert dw.tolist() == [3, -4, 12]


def test_clip_norm_leaves_a_gradient_of_zeros():
    dw = np.zeros(3)
    ops.clip_norm(dw, 1.0)
    assert dw.tolist() == [0, 0, 0]


def test_max_norm_shortens_the_long_columns_alone():
    """[OPT-7]: a column holds the incoming weights of a unit; a version over rows fails here."""
    W = np.array([[3.0, 0.1, 0.0], [4.0, -0.2, 0.0]])
    ops.max_norm(W, 2.5)
    np.testing.assert_allclose(W, [[1.5, 0.1, 0], [2.0, -0.2, 0]], rtol=1e-15)
    assert W[:, 1:].tolist() == [[0.1, 0], [-0.2, 0]], "a short column was touched"


def test_max_norm_agrees_with_a_loop_over_scalars():
    """[OPT-7]"""
    W = awkward(4, 6)
    lengths = [math.sqrt(math.fsum(w**2 for w in column)) for column in W.T]
    assert min(lengths) < 4 < max(lengths), "the test needs columns of either kind"
    by_hand = [[w * min(1, 4 / length) for w, length in zip(row, lengths, strict=True)] for row in W]
    ops.max_norm(W, 4.0)
    np.testing.assert_allclose(W, by_hand, rtol=1e-14)


# ---------------------------------------------------------------------------------------------- every operation


def in_place(update, *given):
    update(*given)
    return given


def everything(dtype):
    """Whatever comes out of each operation when all that goes in has this dtype."""
    a, d, y = awkward(3, 4, dtype=dtype), awkward(3, 4, seed=1, dtype=dtype), np.array([0, 3, 1])
    W, b = awkward(4, 4, dtype=dtype), awkward(4, dtype=dtype)
    w, dw, m, v = (awkward(5, seed=seed, dtype=dtype) for seed in (0, 1, 2, 2))
    dropped, mask = ops.dropout_forward(a, 0.3, 1, 2, 3)
    ce, ce_cache = ops.cross_entropy_forward(a, y)
    rows_ce, rows_cache = ops.cross_entropy_forward(a, probabilities(3, 4, seed=2, dtype=dtype))
    kd, kd_cache = ops.soft_target_forward(a, d, 4.0)
    return {
        "linear_forward": [ops.linear_forward(a, W, b)[0]],
        "linear_backward": ops.linear_backward(d, (a, W)),
        "relu": [ops.relu_forward(a)[0], ops.relu_backward(d, ops.relu_forward(a)[1])],
        "tanh": [ops.tanh_forward(a)[0], ops.tanh_backward(d, ops.tanh_forward(a)[1])],
        "gelu": [ops.gelu_forward(a)[0], ops.gelu_backward(d, ops.gelu_forward(a)[1])],
        "dropout_mask": [ops.dropout_mask((3, 4), 0.3, 1, 2, 3, dtype)],
        "dropout": [dropped, mask, ops.dropout_backward(d, mask)],
        "softmax": [ops.softmax_forward(a, 4.0)[0], ops.softmax_backward(d, ops.softmax_forward(a, 4.0)[1])],
        "log_softmax": [
            ops.log_softmax_forward(a, 4.0)[0],
            ops.log_softmax_backward(d, ops.log_softmax_forward(a, 4.0)[1]),
        ],
        "one_hot": [ops.one_hot(y, 4, dtype)],
        "cross_entropy, labels": [ce, ops.cross_entropy_backward(ce_cache)],
        "cross_entropy, rows": [rows_ce, ops.cross_entropy_backward(rows_cache)],
        "soft_target": [kd, ops.soft_target_backward(kd_cache)],
        "sgd_update": in_place(ops.sgd_update, w.copy(), dw.copy(), m.copy(), 0.1),
        "adam_update": in_place(ops.adam_update, w.copy(), dw.copy(), m.copy(), v.copy() ** 2, 0.1, 1)[:4],
        "clip_norm": in_place(ops.clip_norm, dw.copy(), 0.1)[:1],
        "max_norm": in_place(ops.max_norm, W.copy(), 0.1)[:1],
    }


EVERYTHING = {dtype: everything(dtype) for dtype in DTYPES}


def numbers_of(name, dtype):
    return [value for value in EVERYTHING[dtype][name] if hasattr(value, "dtype")]


@pytest.mark.parametrize("name", EVERYTHING["float64"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_dtype_of_what_comes_in_is_the_dtype_of_what_goes_out(name, dtype):
    assert [value.dtype for value in numbers_of(name, dtype)] == [dtype] * len(numbers_of(name, dtype))


@pytest.mark.parametrize("name", EVERYTHING["float64"])
def test_float32_gives_the_same_numbers_as_float64(name):
    """To about 1e-5 relative of the largest entry, the digits of float32 after a few roundings."""
    for single, double in zip(numbers_of(name, "float32"), numbers_of(name, "float64"), strict=True):
        np.testing.assert_allclose(single, double, rtol=0, atol=1e-5 * np.abs(double).max())


def test_a_backward_changes_neither_its_cache_nor_what_it_is_given():
    s, t, y, d = awkward(3, 4), awkward(3, 4, seed=1), np.array([0, 3, 1]), awkward(3, 4, seed=2)
    kept = d.copy()
    for (forward, backward), more in (
        ((ops.relu_forward, ops.relu_backward), ()),
        ((ops.tanh_forward, ops.tanh_backward), ()),
        ((ops.gelu_forward, ops.gelu_backward), ()),
        ((ops.dropout_forward, ops.dropout_backward), (0.5, 1, 2, 3)),
        ((ops.softmax_forward, ops.softmax_backward), (4.0,)),
        ((ops.log_softmax_forward, ops.log_softmax_backward), (4.0,)),
    ):
        _, cache = forward(s, *more)
        assert np.array_equal(backward(d, cache), backward(d, cache)), backward.__name__
        assert np.array_equal(d, kept), backward.__name__
    for cache, backward in (
        (ops.cross_entropy_forward(s, y)[1], ops.cross_entropy_backward),
        (ops.soft_target_forward(s, t, 4.0)[1], ops.soft_target_backward),
    ):
        assert np.array_equal(backward(cache), backward(cache)), backward.__name__
    assert np.array_equal(s, awkward(3, 4)), "a forward changed what it was given"


@pytest.mark.parametrize("size", [1e25, 1e-25])
def test_norms_of_float32_are_summed_in_float64(size):
    """[OPT-6] [OPT-7]: the square of neither is a number of float32 other than infinity and 0."""
    dw = np.array([3, 4], np.float32) * np.float32(size)
    W = dw[:, None].copy()
    ops.clip_norm(dw, size)
    ops.max_norm(W, size)
    np.testing.assert_allclose(dw / size, [0.6, 0.8], rtol=1e-6)
    np.testing.assert_allclose(W[:, 0] / size, [0.6, 0.8], rtol=1e-6)


def test_the_distillation_loss_needs_no_teacher_at_alpha_0_and_no_labels_at_alpha_1():
    s, t, y = np.array([[1.0, 2, 0]]), np.array([[0.0, 1, 3]]), np.array([2])
    value, ds = ops.distillation_loss(s, None, y, 4.0, 0.0)
    ce, cache = ops.cross_entropy_forward(s, y)
    assert value == ce
    np.testing.assert_array_equal(ds, ops.cross_entropy_backward(cache))
    value, ds = ops.distillation_loss(s, t, None, 4.0, 1.0)
    kl, cache = ops.soft_target_forward(s, t, 4.0)
    assert value == kl
    np.testing.assert_array_equal(ds, ops.soft_target_backward(cache))
