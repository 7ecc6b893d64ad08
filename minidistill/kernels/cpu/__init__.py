# SPDX-License-Identifier: MIT
"""The numba backend: the names of ops.py, compiled; and whole passes and whole epochs in one call.

The names are collected here. The formulas are in ../rows.py; ../README.md says in which order to read the files.
"""

from ...ops import kl_terms, one_hot  # noqa: F401  (a backend exports all names of ops)
from ..row_operations import cross_entropy_backward, row_operations, soft_target_backward, top_k_target_backward  # noqa: F401
from .activations import activation, activation_backward
from .dropout import dropout_backward, dropout_forward, dropout_mask, hash32  # noqa: F401
from .epochs import train_steps  # noqa: F401
from .layout import PackedPlan, plan  # noqa: F401
from .linear import linear_backward, linear_forward  # noqa: F401
from .losses import distillation_loss
from .network import backward, forward  # noqa: F401
from .norms import clip_norm, max_norm  # noqa: F401
from .softmax import softmax_rows
from .top_k import top_k_target_forward  # noqa: F401
from .updates import ADAM, SGD, UpdateRule, adam_update, sgd_update  # noqa: F401

(
    relu_forward, relu_backward, tanh_forward, tanh_backward, gelu_forward, gelu_backward,
    log_softmax_forward, log_softmax_backward, softmax_forward, softmax_backward,
    cross_entropy_forward, soft_target_forward,
) = row_operations(activation, activation_backward, softmax_rows, distillation_loss)  # fmt: skip
