# SPDX-License-Identifier: MIT
"""Confidence bounds for a share, of counts, with a given error probability (docs/guides/serving.md).

`lower_bound` holds for one number of trials chosen beforehand; `confidence_sequence` holds at all of them at once.
`add_evidence` accumulates evidence that a share has fallen below a given one, at any time.
"""

import math
from collections.abc import Callable

import numpy as np

HALVINGS = 60  # of an interval of length 1, after which it is shorter than the rounding of its ends
ODDS = np.array([1.5, 2.0, 3.0, 5.0, 10.0])  # (K,) how much greater the odds of a disagreement may have become


def binomial_tail(k: int, n: int, p: float) -> float:
    """The probability of at least k successes in n trials, each of which succeeds with probability p.

    Each term is the one before times (n - i) / (i + 1) p / (1 - p): no factorial can overflow.            [SERVE-1]
    """
    if k <= 0 or p >= 1:
        return 1.0
    if p <= 0:
        return 0.0
    i = np.arange(k, n)                                                         # (n-k,)
    ratios = np.log((n - i) / (i + 1)) + math.log(p) - math.log1p(-p)           # (n-k,)
    terms = _log_binomial(k, n, p) + np.concatenate([[0.0], np.cumsum(ratios)])  # (n-k+1,) for k, k+1, ... n
    return min(1.0, float(np.exp(terms).sum()))


def _log_binomial(k: int, n: int, p: float) -> float:
    """The logarithm of the probability of exactly k successes in n trials, for p between 0 and 1."""
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return ways + k * math.log(p) + (n - k) * math.log1p(-p)


def lower_bound(k: int, n: int, delta: float) -> float:
    """The lower confidence bound for a share, of k successes in n trials, that is wrong with probability delta.

    The smallest p with P(at least k of n | p) > delta (Clopper and Pearson 1934).                          [SERVE-2]
    """
    return 0.0 if k == 0 else _crossing(lambda p: binomial_tail(k, n, p) > delta, 0.0, 1.0)


def confidence_sequence(k: int, n: int, delta: float) -> tuple[float, float]:
    """An interval for a constant share, of k successes in n trials: wrong at any n at all with probability delta.

    All p with (n + 1) P(exactly k of n | p) > delta (Robbins 1970).                                        [SERVE-3]
    """
    if n == 0:
        return 0.0, 1.0
    level = math.log(delta / (n + 1))

    def inside(p: float) -> bool:
        return _log_binomial(k, n, p) > level

    low = 0.0 if k == 0 else _crossing(inside, 0.0, k / n)
    high = 1.0 if k == n else _crossing(lambda p: not inside(p), k / n, 1.0)
    return low, high


def _crossing(beyond: Callable[[float], bool], low: float, high: float) -> float:
    """Where, between low and high, `beyond` turns true, by halving; it turns once."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if beyond(middle) else (middle, high)
    return low


def add_evidence(log_R: np.ndarray, agreed: np.ndarray, promised: float) -> np.ndarray:
    """Evidence (...,K), in logarithms, that agreement has fallen below the promised one, after one more input.

    R <- (R + 1) r^[disagreed] / (1 + (r - 1) (1 - promised)), for each of the odds r, from R = 0: the sum, over all
    inputs at which a fall may have begun, of the evidence since then (the Shiryaev-Roberts e-detector of Shin, Ramdas
    and Rinaldo 2023).                                                                                      [SERVE-4]

    agreed  (...) bools: whether student and teacher agreed on the input
    """
    disagreed = ~np.asarray(agreed)[..., None]                                  # (...,1)
    factor = np.where(disagreed, np.log(ODDS), 0.0) - np.log1p((ODDS - 1) * (1 - promised))  # (...,K)
    return np.asarray(np.logaddexp(log_R, 0.0) + factor)                        # (...,K)


def evidence(log_R: np.ndarray) -> np.ndarray:
    """The mean over the odds, (...), of evidence (...,K); both in logarithms."""
    return np.asarray(np.logaddexp.reduce(log_R, axis=-1) - math.log(len(ODDS)))


def alarm_level(inputs: float, false_alarms: float) -> float:
    """The logarithm of the evidence that raises an alarm, with probability `false_alarms` within so many `inputs`.

    While agreement is as promised, the expected evidence of n inputs is at most n, so it reaches inputs / false_alarms
    by then with a probability of at most false_alarms n / inputs.                                          [SERVE-5]
    """
    return math.log(inputs / false_alarms)
