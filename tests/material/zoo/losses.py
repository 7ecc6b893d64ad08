# SPDX-License-Identifier: MIT
"""Wrong losses, each in a few lines: the teacher's term alone, from s and t (B,C) and T to its value and ds (B,C).

The gradient of each is that of its value, as an autograd would give it, but where the mistake is in the gradient.
"""

import numpy as np

from minidistill import ops

DROPOUT = np.random.default_rng(0)


def right(s, t, T):
    log_p, log_q = ops.log_softmax_forward(t, T)[0], ops.log_softmax_forward(s, T)[0]
    kl = (np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean()
    return T**2 * kl, T * (np.exp(log_q) - np.exp(log_p)) / len(s)


def kl_on_raw_logits(s, t, T):
    a, b = s.clip(1e-7, 1), t.clip(1e-7, 1)
    inside = (s > 1e-7) & (s < 1)
    return (b * np.log(b / a)).sum(axis=1).mean(), -(inside * b / a) / len(s)


def mean_over_elements(s, t, T):
    value, ds = right(s, t, T)
    return value / s.shape[1], ds / s.shape[1]


def squared_error_between_softmaxes(s, t, T):
    q, cache = ops.softmax_forward(s, T)
    p, _ = ops.softmax_forward(t, T)
    return ((q - p) ** 2).mean(), ops.softmax_backward(2 * (q - p) / q.size, cache)


def probabilities_for_logarithms(s, t, T):
    q, cache = ops.softmax_forward(s, T)
    p, _ = ops.softmax_forward(t, T)
    log_p, _ = ops.log_softmax_forward(t, T)
    return T**2 * (p * (log_p - q)).sum(axis=1).mean(), ops.softmax_backward(-(T**2) * p / len(s), cache)


def without_t_squared(s, t, T):
    value, ds = right(s, t, T)
    return value / T**2, ds / T**2


def dropout_on_the_teacher(s, t, T):
    kept = DROPOUT.random(t.shape) > 0.2  # here on its logits; as a rule, on what they are made of
    return right(s, t * kept / 0.8, T)


def with_the_gradient_of_the_peers_loss(s, t, T):
    value, ds = right(s, t, T)
    log_p, log_q = ops.log_softmax_forward(t, T)[0], ops.log_softmax_forward(s, T)[0]
    share = np.exp(log_q) * (log_q - log_p)  # of the peer's loss, KL(q || p), whose p alone should move
    return value, ds + T * (share - np.exp(log_q) * share.sum(axis=1, keepdims=True)) / len(s)


def softmax_twice(s, t, T):
    q, cache = ops.softmax_forward(s)
    p, _ = ops.softmax_forward(t)
    value, dq = right(q, p, T)
    return value, ops.softmax_backward(dq, cache)


def log_of_softmax(s, t, T):
    q, cache = ops.softmax_forward(s, T)
    p, _ = ops.softmax_forward(t, T)
    value = T**2 * (p * (np.log(p) - np.log(q))).sum(axis=1).mean()
    return value, ops.softmax_backward(-(T**2) * p / q / len(s), cache)


def clipped_at_epsilon(s, t, T):
    q, cache = ops.softmax_forward(s, T)
    a, b = q.clip(1e-7, 1), ops.softmax_forward(t, T)[0].clip(1e-7, 1)
    value = T**2 * (b * np.log(b / a)).sum(axis=1).mean()
    return value, ops.softmax_backward(-(T**2) * (q > 1e-7) * b / a / len(s), cache)


def same_logits_on_both_sides(s, t, T):
    return right(t, t, T)


def teacher_and_student_swapped(s, t, T):
    log_p, log_q = ops.log_softmax_forward(t, T)[0], ops.log_softmax_forward(s, T)[0]
    share = np.exp(log_q) * (log_q - log_p)
    return T**2 * share.sum(axis=1).mean(), T * (share - np.exp(log_q) * share.sum(axis=1, keepdims=True)) / len(s)


def divided_by_the_batch_twice(s, t, T):
    value, ds = right(s, t, T)
    return value / len(s), ds / len(s)


def generalised_jensen_shannon(s, t, T, beta=0.01):
    log_p, log_q = ops.log_softmax_forward(t, T)[0], ops.log_softmax_forward(s, T)[0]
    log_m = np.log(beta * np.exp(log_p) + (1 - beta) * np.exp(log_q))
    p_part, q_part = np.exp(log_p) * (log_p - log_m), np.exp(log_q) * (log_q - log_m)
    value = T**2 * (beta * p_part + (1 - beta) * q_part).sum(axis=1).mean()
    share = T**2 * (1 - beta) * q_part / len(s)  # what is left of the derivative by log q
    return value, ops.log_softmax_backward(share, (log_q, T))


# ---------------------------------------------------------------------------------------------- with the labels


def beside_the_labels(value, ds, s, y, alpha):
    ce, cache = ops.cross_entropy_forward(s, y)
    return (1 - alpha) * ce + alpha * value, (1 - alpha) * ops.cross_entropy_backward(cache) + alpha * ds


def decoupled_by_division(s, t, y, T, alpha, beta=2.0):
    label, others = y[:, None], np.arange(s.shape[1]) != y[:, None]
    log_p, _ = ops.log_softmax_forward(t, T)
    tckd, cache = ops.top_k_target_forward(s, label, np.take_along_axis(log_p, label, axis=1), T)
    ds = ops.top_k_target_backward(cache)

    q, p = ops.softmax_forward(s, T)[0], ops.softmax_forward(t, T)[0]
    q_hat = (q / (1 - q[~others][:, None]))[others].reshape(len(s), -1)  # where q_y is 1 but for rounding: / 0
    p_hat = (p / (1 - p[~others][:, None]))[others].reshape(len(s), -1)
    nckd = T**2 * (p_hat * np.log(p_hat / q_hat)).sum(axis=1).mean()
    ds[others] += beta * T * (q_hat - p_hat).ravel() / len(s)
    return beside_the_labels(tckd + beta * nckd, ds, s, y, alpha)


def slow_path(s, t, y, T, alpha):
    return beside_the_labels(*right(s, t, T), s, y, alpha)


def fast_path(s, t, y, T, alpha):
    log_q, _ = ops.log_softmax_forward(s, T)  # one softmax for both terms, so that of the labels is softened too
    log_p, _ = ops.log_softmax_forward(t, T)
    label, p = ops.one_hot(y, s.shape[1], s.dtype), np.exp(log_p)
    rows = -(1 - alpha) * label * log_q + alpha * T**2 * p * (log_p - log_q)
    ds = (1 - alpha) / T * (np.exp(log_q) - label) + alpha * T * (np.exp(log_q) - p)
    return rows.sum(axis=1).mean(), ds / len(s)
