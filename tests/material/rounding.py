# SPDX-License-Identifier: MIT
"""Bounds on the rounding errors of products and logits, for every order of summation and so on every processor."""

import numpy as np

from minidistill import ops

STEEPEST = {"relu": 1.0, "tanh": 1.0, "gelu": 1.13}  # slope of each activation
ROUNDINGS = {"relu": 0, "tanh": 4, "gelu": 16}  # of its formula, where a tanh counts as four and a constant as one


def gamma(roundings, dtype):
    """The largest relative change by so many roundings in a row (Higham 2002, lemma 3.1)."""
    u = roundings * np.finfo(dtype).eps / 2
    return u / (1 - u)


def in_any_order(inputs):
    """The most roundings of one term in a sum of `inputs` products and a bias: its product and every addition."""
    return inputs + 1


def assert_product(C, A, B):
    """That C is A (M,K) @ B (K,N) but for rounding."""
    K, A, B = A.shape[1], A.astype(np.float64), B.astype(np.float64)
    error, bound = abs(C - A @ B), (gamma(K, C.dtype) + gamma(K, np.float64)) * (abs(A) @ abs(B))
    assert (error <= bound).all(), f"an error is {np.max(error / bound):.3g} of its bound"


def logits_and_bound(network, x, roundings=in_any_order):
    """Logits (N,C) of x (N,I), computed in float64, and (N,C) how far those in the network's dtype may be from them.

    Each layer adds gamma times the sum of absolute products to the error that comes from the layer below it.
    `roundings` (inputs of a layer) is for code that promises an order of summation in which errors grow less.
    """
    activate, own = getattr(ops, f"{network.activation}_forward"), ROUNDINGS[network.activation]
    a, error = np.asarray(x, np.float64), np.zeros(np.shape(x))
    for k, (W, b) in enumerate(zip(network.weights, network.biases, strict=True)):
        if k > 0:
            error = STEEPEST[network.activation] * error
            error += (gamma(own, network.dtype) + gamma(own, np.float64)) * (abs(a) + error)
            a, _ = activate(a)
        inputs, W, b = len(W), W.astype(np.float64), b.astype(np.float64)
        share = gamma(roundings(inputs), network.dtype) + gamma(in_any_order(inputs), np.float64)
        error = error @ abs(W) + share * ((abs(a) + error) @ abs(W) + abs(b))
        a = a @ W + b
    return a, error


def assert_logits(found, network, x, roundings=in_any_order):
    """That `found` are the network's logits of x, but for rounding."""
    logits, bound = logits_and_bound(network, x, roundings)
    assert found.shape == logits.shape
    assert (abs(found - logits) <= bound).all(), f"an error is {np.max(abs(found - logits) / bound):.3g} of its bound"


def assert_probabilities(found, network, x):
    """That `found` are softmax(logits) but for rounding: a softmax changes by less than its logits do."""
    logits, bound = logits_and_bound(network, x)
    own = gamma(8 + logits.shape[1], network.dtype)  # exp counts as four, the sum has a term per class
    assert (abs(found - ops.softmax_forward(logits)[0]) <= bound.max(axis=1, keepdims=True) + own).all()
