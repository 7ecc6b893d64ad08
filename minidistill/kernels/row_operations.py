# SPDX-License-Identifier: MIT
"""Activations and rows of logits under their names in ops.py, made of the few kernels that a compiled backend has.

A fused loss computes value and gradient together: the gradient is the cache, and the backward function returns it.
"""


def loss_backward(cache):
    return cache


cross_entropy_backward = soft_target_backward = top_k_target_backward = loss_backward


def row_operations(activation, activation_backward, softmax_rows, distillation_loss):
    """The functions that the backends bind to their names, in the order of ops.py. The arguments are the backend's:

    activation(name, z), activation_backward(name, da, a=a or z=z): "relu", "tanh" or "gelu" of an array
    softmax_rows(logarithm, direction, T, **arrays): softmax or its logarithm, "forward" or "backward"
    distillation_loss(s, t, y, temperature, alpha): value and gradient
    """

    def relu_forward(z):
        a = activation("relu", z)
        return a, a

    def relu_backward(da, a):
        return activation_backward("relu", da, a=a)

    def tanh_forward(z):
        a = activation("tanh", z)
        return a, a

    def tanh_backward(da, a):
        return activation_backward("tanh", da, a=a)

    def gelu_forward(z):
        return activation("gelu", z), z

    def gelu_backward(da, z):
        return activation_backward("gelu", da, z=z)

    def log_softmax_forward(s, T=1.0):
        log_q = softmax_rows(True, "forward", T, s=s)
        return log_q, (log_q, T)

    def log_softmax_backward(dlog_q, cache):
        log_q, T = cache
        return softmax_rows(True, "backward", T, dlog_q=dlog_q, log_q=log_q)

    def softmax_forward(s, T=1.0):
        q = softmax_rows(False, "forward", T, s=s)
        return q, (q, T)

    def softmax_backward(dq, cache):
        q, T = cache
        return softmax_rows(False, "backward", T, dq=dq, q=q)

    def cross_entropy_forward(s, y):
        return distillation_loss(s, None, y)

    def soft_target_forward(s, t, T):
        return distillation_loss(s, t, None, T, 1.0)

    return (
        relu_forward, relu_backward, tanh_forward, tanh_backward, gelu_forward, gelu_backward,
        log_softmax_forward, log_softmax_backward, softmax_forward, softmax_backward,
        cross_entropy_forward, soft_target_forward,
    )  # fmt: skip
