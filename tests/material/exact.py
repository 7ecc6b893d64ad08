# SPDX-License-Identifier: MIT
"""Soft targets in NumPy's longest floats, as a sum of terms that do not cancel, and logits to compare them on."""

import numpy as np

TEMPERATURES = [1e-3, 0.1, 1.0, 2.0, 4.0, 20.0, 100.0, 1e4, 1e5, 9e5]


def exact_soft_target(s, t, T):
    """T^2 KL(p || q) and ds (B,C), both to more digits than float32 has at every temperature."""
    s, t = (z.astype(np.longdouble) / np.longdouble(T) for z in (s, t))
    log_q, log_p = (z - np.logaddexp.reduce(z, axis=1, keepdims=True) for z in (s, t))
    p, q, d = np.exp(log_p), np.exp(log_q), log_q - log_p
    small = np.clip(d, -1, 1)
    terms = np.where(abs(d) < 1, p * (np.expm1(small) - small), q - p - p * d)
    difference = np.where(abs(d) < 1, p * np.expm1(small), q - p)
    return float(T * T * terms.sum(axis=1).mean()), (T * difference / len(s)).astype(np.float64)


def pairs_of_logits(C, T):
    """(s, t), float32 (13,C): logits of several sizes, and a student far from its teacher, near it and very near."""
    random = np.random.default_rng(C)
    for size in (0.1, 1, 30):
        for apart in (None, 1e-2, 1e-4):
            s, other = size * random.standard_normal((2, 13, C))
            yield s.astype(np.float32), (other if apart is None else s + apart * other).astype(np.float32)


def assert_exact(value, ds, s, t, T, tolerance):
    """Value and gradient within this share of what they are, probabilities near 1 within the rounding of float32."""
    expected, slope = exact_soft_target(s, t, T)
    assert value >= 0
    assert abs(value - expected) <= tolerance * expected + 1e-12 * T * T
    rounding = T / len(s) * (2e-7 if T < 20 else 1e-14)  # of float32 where p may be nearly 1, of float64 elsewhere
    assert np.abs(ds - slope).max() <= 3 * tolerance * np.abs(slope).max() + rounding
