# SPDX-License-Identifier: MIT
"""All the maths of minidistill: every operation forward and, right under it, backward.

NumPy only. Rows are samples. Each array line ends in its shape, in these letters:

    B batch    I, O inputs and outputs of a layer    C classes    P parameters
    T temperature    s, t student and teacher logits    q, p their (softened) probabilities    y labels

`dz` is the derivative of the loss with respect to `z` and has its shape. A forward returns its result and a *cache*:
what the backward needs and nothing more. A backward returns fresh gradients, or writes them (never adds) into the array
that it is given. The dtype of what comes in is the dtype of what goes out: float32 to train, float64 to check.

The tags in brackets are the formulas of docs/maths/ops.md, where each one is derived.
"""

import numpy as np

# ---------------------------------------------------------------------------------------------- linear layer


def linear_forward(x, W, b):          # x (B,I)  W (I,O)  b (O,)
    z = x @ W + b                     # (B,O)                                             [LIN-1]
    return z, (x, W)


def linear_backward(dz, cache, dW=None, db=None, skip_dx=False):  # dz (B,O)
    x, W = cache                      # b is not kept: no gradient needs it
    dx = None if skip_dx else dz @ W.T  # (B,I)                                           [LIN-2]
    dW = np.matmul(x.T, dz, out=dW)   # (I,O)                                             [LIN-3]
    db = np.sum(dz, axis=0, out=db)   # (O,)                                              [LIN-4]
    return dx, dW, db


# ---------------------------------------------------------------------------------------------- activations


def relu_forward(z):                  # z (B,O)
    a = np.maximum(z, 0)              # (B,O)                                             [ACT-1]
    return a, a                       # z is not kept: a > 0 exactly where z > 0


def relu_backward(da, a):             # da (B,O)
    return da * (a > 0)               # (B,O)                                             [ACT-2]


def tanh_forward(z):                  # z (B,O)
    a = np.tanh(z)                    # (B,O)                                             [ACT-3]
    return a, a                       # z is not kept: the slope is a function of a


def tanh_backward(da, a):             # da (B,O)
    return da * (1 - a * a)           # (B,O)                                             [ACT-4]


GELU_SCALE = (2 / np.pi) ** 0.5       # a Python float: it takes on the dtype of what it meets
GELU_CUBIC = 0.044715


def gelu_forward(z):                  # z (B,O)
    u = GELU_SCALE * (z + GELU_CUBIC * z * z * z)                 # (B,O)
    a = 0.5 * z * (1 + np.tanh(u))    # (B,O)                                             [ACT-5]
    return a, z                       # z itself is kept: the GELU dips, so a does not determine it


def gelu_backward(da, z):             # da (B,O)
    th = np.tanh(GELU_SCALE * (z + GELU_CUBIC * z * z * z))       # (B,O)
    du = GELU_SCALE * (1 + 3 * GELU_CUBIC * z * z)                # (B,O)  slope of u
    return da * (0.5 * (1 + th) + 0.5 * z * (1 - th * th) * du)   # (B,O)                 [ACT-6]


# ---------------------------------------------------------------------------------------------- dropout


def hash32(x):                        # x uint32, any shape
    """A bijection of 32-bit words in which each input bit flips each output bit about half of the time [DROP-1].

    The constants are those of the `lowbias32` mixer (C. Wellons, 2018).
    """
    x = (x ^ (x >> 16)) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * np.uint32(0x846CA68B)
    return x ^ (x >> 16)


def dropout_mask(shape, rate, seed, step, layer, dtype=np.float32):
    """Zeros with probability `rate`, else 1 / (1 - rate): a pure function of (seed, step, layer, row, unit).

    Nothing is drawn from a stream, so any backend, any number of threads and a resumed run make the same mask.
    """
    B, O = shape
    key = np.zeros(1, np.uint32)      # (1,)
    for word in (seed, step, layer):
        key = hash32(key + np.uint32(word & 0xFFFFFFFF))          # (1,)
    rows = hash32(key + np.arange(B, dtype=np.uint32))            # (B,)
    bits = hash32(rows[:, None] + np.arange(O, dtype=np.uint32))  # (B,O)
    keep = bits >= np.uint32(rate * 2**32)                        # (B,O)                 [DROP-2]
    return keep.astype(dtype) / np.dtype(dtype).type(1 - rate)    # (B,O)


def dropout_forward(a, rate, seed, step, layer):  # a (B,O)
    mask = dropout_mask(a.shape, rate, seed, step, layer, a.dtype)  # (B,O)
    return a * mask, mask             # (B,O)                                             [DROP-3]


def dropout_backward(da, mask):       # da (B,O)
    return da * mask                  # (B,O)                                             [DROP-4]


# ---------------------------------------------------------------------------------------------- softmax


def log_softmax_forward(s, T=1.0):    # s (B,C)
    z = (s - s.max(axis=1, keepdims=True)) / T                    # (B,C)  largest is 0: no overflow
    log_q = z - np.log(np.exp(z).sum(axis=1, keepdims=True))      # (B,C)                 [SM-1]
    return log_q, (log_q, T)


def log_softmax_backward(dlog_q, cache):  # dlog_q (B,C)
    log_q, T = cache
    return (dlog_q - np.exp(log_q) * dlog_q.sum(axis=1, keepdims=True)) / T  # (B,C)      [SM-2]


def softmax_forward(s, T=1.0):        # s (B,C)
    e = np.exp((s - s.max(axis=1, keepdims=True)) / T)            # (B,C)  largest is 1
    q = e / e.sum(axis=1, keepdims=True)                          # (B,C)                 [SM-3]
    return q, (q, T)


def softmax_backward(dq, cache):      # dq (B,C)
    q, T = cache
    return q * (dq - (dq * q).sum(axis=1, keepdims=True)) / T     # (B,C)                 [SM-4]


# ---------------------------------------------------------------------------------------------- losses on logits


def one_hot(y, C, dtype):             # y (B,) whole numbers
    rows = np.zeros((len(y), C), dtype)                           # (B,C)
    rows[np.arange(len(y)), y] = 1
    return rows


def cross_entropy_forward(s, y):      # s (B,C)  y (B,) labels, or (B,C) rows of probabilities
    log_q, _ = log_softmax_forward(s)                             # (B,C)
    if y.ndim == 1:
        y = one_hot(y, s.shape[1], s.dtype)                       # (B,C)
    loss = -(y * log_q).sum(axis=1).mean()                        # ()                    [CE-1]
    return loss, (log_q, y)


def cross_entropy_backward(cache):
    log_q, y = cache                  # each (B,C)
    return (np.exp(log_q) - y) / len(y)                           # (B,C)                 [CE-2]


def kl_terms(p, q, d):                # each (B,C)  d = log q - log p
    """p (e^d - 1 - d): they sum to KL(p || q), since p and q sum to 1, and none is below 0, so nothing cancels."""
    return np.where(d < 1, p * (np.expm1(np.minimum(d, 1)) - d), q - p * (1 + d))         # (B,C)


def soft_target_forward(s, t, T):     # s (B,C)  t (B,C)
    log_q, _ = log_softmax_forward(np.float64(s), T)              # (B,C)                 [KD-1]
    log_p, _ = log_softmax_forward(np.float64(t), T)              # (B,C)  float64, since T^2 multiplies rounding
    p, q = np.exp(log_p), np.exp(log_q)                           # (B,C)
    kl = kl_terms(p, q, log_q - log_p).sum(axis=1).mean()         # ()                    [KD-2]
    difference = (q - p).astype(s.dtype, copy=False)              # (B,C)
    return s.dtype.type(T**2 * kl), (difference, T)               # T^2 keeps the gradient's size as T grows


def soft_target_backward(cache):
    difference, T = cache             # no gradient for t: a teacher is not taught
    return T * difference / len(difference)                       # (B,C)                 [KD-3]


def distillation_loss(s, t=None, y=None, temperature=1.0, alpha=0.0, label_smoothing=0.0):
    """Value and ds of (1-alpha) CE(s, y) + alpha T^2 KL(p || q): one pass over the logits where a backend is compiled.

    s, t (B,C), y as for cross-entropy; t may be None where alpha is 0, and y where it is 1.
    """
    value, ds = s.dtype.type(0), np.zeros_like(s)                 # ()  (B,C)
    if alpha > 0:
        kl, cache = soft_target_forward(s, t, temperature)
        value, ds = alpha * kl, alpha * soft_target_backward(cache)
    if alpha < 1:
        if label_smoothing > 0:
            y = one_hot(y, s.shape[1], s.dtype) if y.ndim == 1 else y             # (B,C)
            y = (1 - label_smoothing) * y + label_smoothing / s.shape[1]          # (B,C)     [CE-3]
        ce, cache = cross_entropy_forward(s, y)
        value = value + (1 - alpha) * ce                          # ()                    [KD-4]
        ds = ds + (1 - alpha) * cross_entropy_backward(cache)     # (B,C)                 [KD-5]
    return value, ds


def top_k_target_forward(s, indices, log_p, T):  # s (B,C)  indices, log_p (B,k): classes named, log-probability at T
    log_q, _ = log_softmax_forward(np.float64(s), T)              # (B,C)
    q, p = np.exp(log_q), np.exp(np.float64(log_p))               # (B,C)  (B,k)
    p_rest = np.maximum(1 - p.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)      # (B,1)  never log 0
    rest = log_q.copy()               # (B,C)  all other classes are one
    np.put_along_axis(rest, indices, -np.inf, axis=1)
    top = rest.max(axis=1, keepdims=True)                         # (B,1)
    log_q_rest = top + np.log(np.exp(rest - top).sum(axis=1, keepdims=True))  # (B,1)  summed
    log_q_named = np.take_along_axis(log_q, indices, axis=1)      # (B,k)
    named = kl_terms(p, np.exp(log_q_named), log_q_named - log_p).sum(axis=1, keepdims=True)  # (B,1)
    kl = (named + kl_terms(p_rest, np.exp(log_q_rest), log_q_rest - np.log(p_rest))).mean()     # ()  [KD-6]
    p_everywhere = p_rest * np.exp(rest - log_q_rest)             # (B,C)  the rest, shared out as the student does
    np.put_along_axis(p_everywhere, indices, p, axis=1)
    difference = (q - p_everywhere).astype(np.result_type(s, np.float32))     # (B,C)
    return difference.dtype.type(T**2 * kl), (difference, T)


def top_k_target_backward(cache):
    return soft_target_backward(cache)                            # (B,C)                 [KD-7]


# ---------------------------------------------------------------------------------------------- parameter updates
# These four write into what they are given; the state of an optimizer (v, or m and v) starts at zero.


def sgd_update(w, dw, v, rate, momentum=0.9, nesterov=False, weight_decay=0.0):  # each (P,)
    g = dw + weight_decay * w         # (P,)
    v[:] = momentum * v + g           # (P,)                                              [OPT-1]
    w -= rate * (g + momentum * v if nesterov else v)             # (P,)                  [OPT-2]


def adam_update(w, dw, m, v, rate, step, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0):  # each (P,)
    m[:] = beta1 * m + (1 - beta1) * dw                           # (P,)                  [OPT-3]
    v[:] = beta2 * v + (1 - beta2) * dw * dw                      # (P,)                  [OPT-4]
    m_hat = m / (1 - beta1**step)     # (P,)  step counts from 1: the zeros of the start are divided out
    v_hat = v / (1 - beta2**step)     # (P,)
    w *= 1 - rate * weight_decay      # (P,)  decoupled from the gradient (AdamW)
    w -= rate * m_hat / (np.sqrt(v_hat) + epsilon)                # (P,)                  [OPT-5]


def clip_norm(dw, limit):             # dw (P,)
    norm = np.sqrt(np.square(dw, dtype=np.float64).sum())         # ()  exploding float32 would overflow when squared
    if norm > limit:
        dw *= float(limit / norm)     # (P,)                                              [OPT-6]


def max_norm(W, limit):               # W (I,O): a column holds the incoming weights of one unit
    norms = np.sqrt(np.square(W, dtype=np.float64).sum(axis=0))   # (O,)
    W *= (limit / np.maximum(norms, limit)).astype(W.dtype)       # (I,O)                 [OPT-7]
