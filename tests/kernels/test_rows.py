# SPDX-License-Identifier: MIT
"""kernels/rows.py: each formula on numbers is what ops.py does to arrays; exp and log are as exact as they say."""

import ast
import inspect
import math

import numpy as np
import pytest
from numba import njit

from minidistill import ops
from minidistill.kernels import rows
from minidistill.kernels.cpu.formulas import formula
from minidistill.kernels.cpu.simd import lanes, load_first, pointer, store_first

Z = np.linspace(-6, 6, 241)


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu"])
def test_activations(name):
    a, kept = getattr(ops, f"{name}_forward")(Z)
    mine = [getattr(rows, name)(z) for z in Z]
    np.testing.assert_allclose(mine, a, rtol=1e-13, atol=1e-15)
    da = np.cos(Z)
    slopes = [getattr(rows, f"{name}_backward")(d, k) for d, k in zip(da, kept, strict=True)]
    np.testing.assert_allclose(slopes, getattr(ops, f"{name}_backward")(da, kept), rtol=1e-12, atol=1e-14)


def test_hash32():
    words = np.random.default_rng(0).integers(0, 2**32, 1000, dtype=np.uint32)
    assert [rows.hash32(int(word)) for word in words] == ops.hash32(words).tolist()


def test_updates():
    random = np.random.default_rng(0)
    w, dw, m, v = random.standard_normal((4, 50))
    for nesterov in (False, True):
        new, speed = w.copy(), m.copy()
        ops.sgd_update(new, dw, speed, 0.1, 0.8, nesterov, 0.02)
        mine = [rows.sgd(*each, 0.1, 0.8, nesterov, 0.02) for each in zip(w, dw, m, strict=True)]
        np.testing.assert_allclose(np.transpose(mine), [new, speed], rtol=1e-13)
    v = abs(v)
    new, first, second = w.copy(), m.copy(), v.copy()
    ops.adam_update(new, dw, first, second, 0.1, 3, weight_decay=0.02)
    settings = 0.1, 1 - 0.9**3, 1 - 0.999**3, 0.9, 0.999, 1e-8, 0.02
    mine = [rows.adam(*each, *settings) for each in zip(w, dw, m, v, strict=True)]
    np.testing.assert_allclose(np.transpose(mine), [new, first, second], rtol=1e-12)


def test_rows_of_logits():
    s, t, T = np.random.default_rng(0).standard_normal((2, 1, 9)) * 3, np.linspace(-2, 2, 9)[None], 2.5
    s = s[0]
    (log_q, _), (log_p, _) = ops.log_softmax_forward(s, T), ops.log_softmax_forward(t, T)
    total = sum(rows.exp(rows.scaled(x, s.max(), 1 / T)) for x in s[0])
    terms = [rows.exp2(rows.in_bits(x, s.max(), 1 / T)) for x in s[0]]
    np.testing.assert_allclose([rows.softmax(e, sum(terms)) for e in terms], np.exp(log_q[0]), rtol=1e-12)
    mine = [rows.log_softmax(x, s.max(), math.log(total), 1 / T) for x in s[0]]
    np.testing.assert_allclose(mine, log_q[0], rtol=1e-12)
    p, q = np.exp(log_p[0]), np.exp(log_q[0])
    value, _ = ops.soft_target_forward(s, t, T)
    terms = [rows.soft_target(*each) for each in zip(p, q, log_q[0] - log_p[0], strict=True)]
    assert math.isclose(T * T * sum(terms), value, rel_tol=1e-12)
    bits, bits_t = ([rows.in_bits(x, row.max(), 1 / T) for x in row[0]] for row in (s, t))
    terms, terms_t = ([rows.exp2(x) for x in row] for row in (bits, bits_t))
    apart = sum(e * (bits_p - bits_q) for e, bits_p, bits_q in zip(terms_t, bits_t, bits, strict=True))
    shift = math.log(sum(terms) / sum(terms_t))
    assert math.isclose(T * T * rows.soft_target_of_row(apart, sum(terms_t), shift), value, rel_tol=1e-12)
    d = [rows.log_ratio(*each, s.max() - t.max(), 1 / T, shift) for each in zip(s[0], t[0], strict=True)]
    np.testing.assert_allclose(d, log_q[0] - log_p[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("size", [1e-12, 1e-6, 1e-3, 0.1, 0.33, 0.35, 3, 500])
def test_a_term_of_the_divergence_has_all_its_digits_and_is_never_negative(size):
    for d in (size, -size):
        p = 0.25 * math.exp(-max(d, 0))  # so that q is a probability
        mine = rows.soft_target(p, p * math.exp(d), d)
        exact = p * sum(d**k / math.factorial(k) for k in range(2, 25)) if size < 1 else p * (math.expm1(d) - d)
        assert mine >= 0 and math.isclose(mine, exact, rel_tol=1e-13)
        assert math.isclose(rows.change(p, p * math.exp(d), d), p * math.expm1(d), rel_tol=1e-13)


def test_the_divergence_near_a_match_bears_a_shift_that_is_rounded():
    s, t = np.random.default_rng(0).standard_normal((2, 9)) * 1e-5
    p, q = np.exp(t) / np.exp(t).sum(), np.exp(s) / np.exp(s).sum()
    value = (p * (np.expm1(np.log(q / p)) - np.log(q / p))).sum()
    for rounding in (0, 1e-6, -1e-5):
        d = np.log(q / p) - rounding
        curves, changes = (p * (np.expm1(d) - d)).sum(), (p * np.expm1(d)).sum()
        assert math.isclose(rows.soft_target_near_match(curves, changes), value, rel_tol=1e-4)


def test_slopes_of_rows_of_logits():
    s, t, T = np.random.default_rng(0).standard_normal((1, 9)) * 3, np.linspace(-2, 2, 9)[None], 2.5
    q, p = ops.softmax_forward(s, T)[0][0], ops.softmax_forward(t, T)[0][0]
    _, cache = ops.soft_target_forward(s, t, T)
    slopes = [rows.soft_target_backward(*each, T) for each in zip(q, p, strict=True)]
    np.testing.assert_allclose(slopes, ops.soft_target_backward(cache)[0], rtol=1e-10, atol=1e-15)


def compiled(formula):
    @njit
    def run(x, out):
        for i in range(0, x.size, lanes(pointer(x, 0))):
            store_first(pointer(out, i), x.size - i, formula(load_first(pointer(x, i), x.size - i)))

    return run


@pytest.mark.compiles
@pytest.mark.parametrize(("dtype", "reach", "promised"), [(np.float32, 87, 1.2e-7), (np.float64, 708, 2.5e-16)])
def test_exp_exp2_and_log_are_as_exact_as_they_say(dtype, reach, promised):
    x = np.concatenate([np.linspace(-reach, reach, 200_001), np.linspace(-1, 1, 20_001)]).astype(dtype)
    out = np.zeros_like(x)
    compiled(formula.exp)(x, out)
    exact = np.exp(x.astype(np.longdouble))
    assert np.max(abs(out - exact) / exact) < promised
    reach = {87: 126, 708: 1022}[reach]
    x = np.concatenate([np.linspace(-reach, reach, 200_001), np.linspace(-1, 1, 20_001), [-reach - 1, -1e30]])
    x = x.astype(dtype)
    out = np.ones_like(x)
    compiled(formula.exp2)(x, out)
    exact = np.exp2(x[:-2].astype(np.longdouble))
    assert np.max(abs(out[:-2] - exact) / exact) < promised
    assert (out[-2:] == 0).all(), "what a class that is never meant contributes"
    y = np.concatenate([np.geomspace(1e-30, 1e30, 100_001), np.linspace(0.5, 2, 100_001)]).astype(dtype)
    out = np.zeros_like(y)
    compiled(formula.log)(y, out)
    exact = np.log(y.astype(np.longdouble))
    assert np.max(abs(out - exact) / np.maximum(abs(exact), 0.1)) < 4 * promised


@pytest.mark.compiles
def test_nan_stays_nan():
    x = np.array([np.nan, 1, np.nan], np.float32)
    for name in ("exp", "exp2", "log", "relu", "tanh", "gelu"):
        out = np.zeros_like(x)
        compiled(getattr(formula, name))(x, out)
        assert np.isnan(out[[0, 2]]).all() and np.isfinite(out[1]), name


def test_no_formula_holds_a_literal():
    for name, function in vars(rows).items():
        if inspect.isfunction(function) and name not in ("compiled", "nearest", "power_of_two", "exponent"):
            (tree,) = ast.parse(inspect.getsource(function)).body
            body = tree.body[1:] if ast.get_docstring(tree) else tree.body
            numbers = [node.value for part in body for node in ast.walk(part) if isinstance(node, ast.Constant)]
            assert not numbers, f"{name} holds {numbers}: a float32 kernel would compute in double"
