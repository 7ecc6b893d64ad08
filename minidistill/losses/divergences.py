# SPDX-License-Identifier: MIT
"""Other divergences between the teacher's probabilities p and the student's q than the KL(p || q) of soft targets.

KL(p || q) punishes a student that gives too little to what the teacher finds likely: a student that cannot have all
of it spreads over everything. The others choose otherwise. For each row, with m a mixture of p and q,

    ReverseKL       KL(q || p)                                                                       [DIV-1]
    SkewKL          KL(p || m), m = skew p + (1-skew) q             (Ko et al. 2024)                 [DIV-2]
    SkewReverseKL   KL(q || m), m = (1-skew) p + skew q             (Ko et al. 2024)                 [DIV-3]
    JensenShannon   KL(p || m) / (1-beta) + KL(q || m) / beta, m = beta p + (1-beta) q               [DIV-4]
    TotalVariation  sum_c |p_c - q_c| / 2                           (Wen et al. 2023)                [DIV-5]

JensenShannon is the generalized one of Agarwal et al. 2024 (GKD), beta KL(p || m) + (1-beta) KL(q || m), over
beta (1-beta). As it stands there it tends to 0 at both ends; so divided it is KL(p || q) at beta = 0, KL(q || p) at
beta = 1, four times the usual Jensen-Shannon divergence at 1/2, and near a match half the same chi-squared for every
beta: alpha weighs alike throughout. For GKD's own scale, multiply: beta * (1 - beta) * JensenShannon(...).

All are averaged over the batch and multiplied by T^2 as soft targets are, and for the same reason; but for
TotalVariation. It is of the first order in q - p, where the others are of the second, so T is what keeps its size.

Each method below returns its share of each class and, in terms of log q as a free variable, the derivative, in which
multiples of q may be left out: they move all logits of a row alike, and log_softmax_backward takes them away. A KL is
summed from the terms of `ops.kl_terms`, none of which is negative: near a match those of the definition cancel.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ops import kl_terms
from ..support.checks import check_field
from .labels_and_teacher import LabelsAndTeacher


@dataclass(frozen=True)
class Divergence(LabelsAndTeacher):
    """Weighted sum of the cross-entropy with the labels and T^2 D(p, q); a subclass says what D is."""

    unclaimed = ("soft target",)

    temperature: float = 4.0  # above 0
    alpha: float = 0.5        # in [0, 1]: weight of the teacher; 0 is cross-entropy, 1 needs no labels

    def of(self, log_p: np.ndarray, log_q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shares (B,C), whose sum over a row is D, and dlog_q (B,C)."""
        raise NotImplementedError

    def scale(self) -> float:
        return self.temperature**2

    def term(self, s: np.ndarray, t: np.ndarray, y: np.ndarray | None, ops: Any) -> tuple[Any, np.ndarray]:
        log_q, cache = ops.log_softmax_forward(s, self.temperature)             # (B,C)
        log_p, _ = ops.log_softmax_forward(t, self.temperature)                 # (B,C)
        shares, dlog_q = self.of(log_p, log_q)                                  # (B,C)
        value = self.scale() * shares.sum(axis=1).mean()                        # ()
        return value, ops.log_softmax_backward(self.scale() / len(s) * dlog_q, cache)       # (B,C)


@dataclass(frozen=True)
class ReverseKL(Divergence):
    """KL(q || p): a student that cannot match all of the teacher keeps to what the teacher finds likeliest."""

    def of(self, log_p: np.ndarray, log_q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p, q, d = np.exp(log_p), np.exp(log_q), log_p - log_q                   # (B,C)
        return kl_terms(q, p, d), -q * d                                        # (B,C)  [DIV-1]


@dataclass(frozen=True)
class SkewKL(Divergence):
    """KL(p || skew p + (1-skew) q): no ratio exceeds 1/skew. Near a match (1-skew)^2 times KL(p || q)."""

    skew: float = 0.1  # in [0, 1): share of the teacher in the mixture; 0 is KL(p || q)

    def __post_init__(self) -> None:
        check_field(self, "skew", "[0, 1)")
        super().__post_init__()

    def of(self, log_p: np.ndarray, log_q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p, q = np.exp(log_p), np.exp(log_q)                                     # (B,C)
        m = self.skew * p + (1 - self.skew) * q                                 # (B,C)
        q_over_m = np.exp(-log_mixture(log_p - log_q, self.skew))               # (B,C)  at most 1 / (1-skew)
        shares = kl_terms(p, m, log_mixture(log_q - log_p, 1 - self.skew))      # (B,C)  [DIV-2]
        return shares, -(1 - self.skew) * p * q_over_m


@dataclass(frozen=True)
class SkewReverseKL(Divergence):
    """KL(q || (1-skew) p + skew q): no ratio exceeds 1/skew. Near a match (1-skew)^2 times KL(q || p)."""

    skew: float = 0.1  # in [0, 1): share of the student in the mixture; 0 is KL(q || p)

    def __post_init__(self) -> None:
        check_field(self, "skew", "[0, 1)")
        super().__post_init__()

    def of(self, log_p: np.ndarray, log_q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p, q, d = np.exp(log_p), np.exp(log_q), log_mixture(log_p - log_q, 1 - self.skew)       # (B,C)
        m = (1 - self.skew) * p + self.skew * q                                 # (B,C)
        p_over_m = np.exp(-log_mixture(log_q - log_p, self.skew))               # (B,C)  at most 1 / (1-skew)
        return kl_terms(q, m, d), q * ((1 - self.skew) * p_over_m - d)          # (B,C)  [DIV-3]


@dataclass(frozen=True)
class JensenShannon(Divergence):
    """KL(p || m) / (1-beta) + KL(q || m) / beta with m = beta p + (1-beta) q, from KL(p || q) to KL(q || p)."""

    beta: float = 0.5  # in [0, 1]: share of the teacher in the mixture; 0 is KL(p || q), 1 is KL(q || p)

    def __post_init__(self) -> None:
        check_field(self, "beta", "[0, 1]")
        super().__post_init__()

    def of(self, log_p: np.ndarray, log_q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.beta == 0:
            return SkewKL(skew=0.0).of(log_p, log_q)
        if self.beta == 1:
            return ReverseKL().of(log_p, log_q)
        p, q = np.exp(log_p), np.exp(log_q)                                     # (B,C)
        m = self.beta * p + (1 - self.beta) * q                                 # (B,C)
        d_q = log_mixture(log_p - log_q, self.beta)                             # (B,C)  log m - log q
        d_p = log_mixture(log_q - log_p, 1 - self.beta)                         # (B,C)  log m - log p
        shares = kl_terms(p, m, d_p) / (1 - self.beta) + kl_terms(q, m, d_q) / self.beta        # (B,C)  [DIV-4]
        return shares, -q * d_q / self.beta                                     # (B,C)


@dataclass(frozen=True)
class TotalVariation(Divergence):
    """Half the sum of |p - q|, times T: bounded, and its gradient does not fade near the match.

    It has a kink where p_c = q_c; the subgradient 0 is taken there, as at the kink of a ReLU.
    """

    def scale(self) -> float:
        return self.temperature

    def of(self, log_p: np.ndarray, log_q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        q = np.exp(log_q)                                                       # (B,C)
        difference = q - np.exp(log_p)                                          # (B,C)
        return np.abs(difference) / 2, q * np.sign(difference) / 2              # (B,C)  [DIV-5]


def log_mixture(r: np.ndarray, share: float) -> np.ndarray:
    """log((1-share) + share e^r), share in [0, 1]: with r = log p - log q, the logarithm of a mixture over q.

    It is right for every r, and to all its digits where it is near 0: a divergence near the match, or a share near 0,
    is a sum of such small numbers.
    """
    if share in (0, 1):
        return np.asarray(share * r)
    change = share * np.expm1(np.minimum(r, 80))  # e^80 is within float32
    near_0 = np.log1p(np.clip(change, -0.5, 0.5))
    elsewhere = np.logaddexp(math.log1p(-share), math.log(share) + r)
    return np.asarray(np.where(np.abs(change) < 0.5, near_0, elsewhere))        # (B,C)
