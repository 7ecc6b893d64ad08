# SPDX-License-Identifier: MIT
"""Examples for the tests of the losses: logits, labels, and each method with settings that are not its defaults."""

import numpy as np

from minidistill import (
    DIST,
    NKD,
    DecoupledKD,
    JensenShannon,
    LogitMatching,
    ReverseKL,
    SkewKL,
    SkewReverseKL,
    SoftTarget,
    StandardizedTarget,
    TotalVariation,
    VirtualTeacher,
)

B, C = 5, 7


def logits(seed, rows=B, classes=C):
    """Logits as a trained network gives them: a few units apart."""
    return 1.5 * np.random.default_rng(seed).standard_normal((rows, classes))


def one_hot(y, classes=C):
    return np.eye(classes)[y]


def softmax(s, T=1.0):
    return np.exp(log_softmax(s, T))


def log_softmax(s, T=1.0):
    s = s / T - (s / T).max(axis=1, keepdims=True)
    return s - np.log(np.exp(s).sum(axis=1, keepdims=True))


S, T_LOGITS, Y = logits(0), logits(1), np.array([6, 0, 3, 3, 1])

METHODS = {  # each takes alpha; all else is away from the defaults
    "SoftTarget": lambda alpha=0.5: SoftTarget(3.0, alpha),
    "LogitMatching": lambda alpha=0.5: LogitMatching(alpha),
    "VirtualTeacher": lambda alpha=0.5: VirtualTeacher(0.9, 3.0, alpha),
    "DecoupledKD": lambda alpha=0.5: DecoupledKD(1.3, 2.0, 3.0, alpha),
    "StandardizedTarget": lambda alpha=0.5: StandardizedTarget(1.5, alpha),
    "DIST": lambda alpha=0.5: DIST(1.2, 0.7, 2.0, alpha),
    "NKD": lambda alpha=0.5: NKD(1.2, 2.0, alpha),
    "ReverseKL": lambda alpha=0.5: ReverseKL(3.0, alpha),
    "SkewKL": lambda alpha=0.5: SkewKL(3.0, alpha, skew=0.3),
    "SkewReverseKL": lambda alpha=0.5: SkewReverseKL(3.0, alpha, skew=0.3),
    "JensenShannon": lambda alpha=0.5: JensenShannon(3.0, alpha, beta=0.3),
    "JensenShannon at 0": lambda alpha=0.5: JensenShannon(3.0, alpha, beta=0.0),
    "JensenShannon at 1": lambda alpha=0.5: JensenShannon(3.0, alpha, beta=1.0),
    "TotalVariation": lambda alpha=0.5: TotalVariation(3.0, alpha),
}
