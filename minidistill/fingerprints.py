# SPDX-License-Identifier: MIT
"""What wrong losses give away: the value of each known formula, and what a constant factor says.

A mistake in a formula is recognised by its values. The teacher's term is asked for its value on random logits, and
divided by what each formula below gives there. Where the ratio is the same on other logits of the same shape, that is
the formula, and how the ratio changes with the batch and the number of classes says what it was divided by.

The logits lie between 0.05 and 0.95 times the temperature, for formulas without softmax between 0.05 and 0.95: there
nothing underflows or is clipped, and even logits taken for probabilities have a logarithm. Those mistakes show
elsewhere.
"""

import itertools
import math
from collections.abc import Callable

import numpy as np

from . import ops
from .mistakes import (
    BATCH_TWICE,
    ELEMENT_MEAN,
    ENDS_VANISH,
    NO_TEMPERATURE,
    NOT_LOGARITHMS,
    RAW_LOGITS,
    SOFTMAX_TWICE,
    SQUARED_ERROR,
    SUMMED,
    SWAPPED,
    T_SQUARED_MISSING,
    WITHOUT_ENTROPY,
    Mistake,
)

SHAPES = ((4, 5), (6, 5), (4, 9))  # (B, C): the first with another batch, and with other classes
TOLERANCE = 1e-4
FACTORS = (ELEMENT_MEAN, BATCH_TWICE, SUMMED, T_SQUARED_MISSING)  # right but for a factor

Value = Callable[[np.ndarray, np.ndarray], float]  # the teacher's term: from s and t (B,C) to its value
Formula = Callable[[np.ndarray, np.ndarray], np.ndarray]  # from s and t (B,C) to the loss of each row (B,)


def recognise(value: Value, T: float) -> tuple[Mistake, ...] | None:
    """The mistakes in the formula of a teacher's term at temperature T: none where it is right, None where unknown."""
    for mistake, formula, fixed_scale in _formulas(T):
        scale = _scale(value, formula, 1.0 if mistake is RAW_LOGITS else max(T, 1.0))
        if scale is None:
            continue
        own = () if mistake is None else (mistake,)
        named = _named(*scale, T) if fixed_scale else ()
        if named or same(scale[0], 1) or not fixed_scale:
            return own + named
        return (ENDS_VANISH,) if _vanishes_at_its_ends(value, T) else own  # a weight, or a beta so near its end
    return (ENDS_VANISH,) if _vanishes_at_its_ends(value, T) else None


def examples(B: int, C: int, seed: int, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Student's and teacher's logits (B,C) between 0.05 and 0.95 times `width`."""
    s, t = width * np.random.default_rng(seed).uniform(0.05, 0.95, (2, B, C))
    return s, t


def soft_target(s: np.ndarray, t: np.ndarray, T: float) -> np.ndarray:
    """T^2 KL(p || q) of each row."""
    return T**2 * _kl(_log_softmax(t, T), _log_softmax(s, T))


def factor_mistakes(ratio: float, B: int, C: int, T: float) -> tuple[Mistake, ...]:
    """What a value or a gradient of one shape is off by, if it is one of these."""
    wanted = {1 / C: ELEMENT_MEAN, 1 / B: BATCH_TWICE, B: SUMMED, 1 / T: T_SQUARED_MISSING, T**-2: T_SQUARED_MISSING}
    return tuple(mistake for off, mistake in wanted.items() if same(ratio, off) and off != 1)


def _formulas(T: float) -> list[tuple[Mistake | None, Formula, bool]]:
    """Each with its mistake, and whether a factor before it is a mistake of its own."""
    twice = [
        lambda s, t, inner=inner, outer=outer, who=who: soft_target(
            _softmax(s, inner) if "s" in who else s, _softmax(t, inner) if "t" in who else t, outer
        )
        for inner, outer, who in itertools.product({1.0, T}, {1.0, T}, ("st", "s", "t"))
    ]
    return [
        (None, lambda s, t: soft_target(s, t, T), True),
        (SWAPPED, lambda s, t: soft_target(t, s, T), True),
        (NOT_LOGARITHMS, lambda s, t: T**2 * _kl(_log_softmax(t, T), _softmax(s, T)), True),
        (WITHOUT_ENTROPY, lambda s, t: -(T**2) * (_softmax(t, T) * _log_softmax(s, T)).sum(axis=1), True),
        (NO_TEMPERATURE, lambda s, t: soft_target(s, t, 1.0), False),
        (SQUARED_ERROR, lambda s, t: ((_softmax(s, T) - _softmax(t, T)) ** 2).sum(axis=1), False),
        (SQUARED_ERROR, lambda s, t: ((_softmax(s, 1.0) - _softmax(t, 1.0)) ** 2).sum(axis=1), False),
        (RAW_LOGITS, lambda s, t: (t * np.log(t / s)).sum(axis=1), False),
        (RAW_LOGITS, lambda s, t: (s * np.log(s / t)).sum(axis=1), False),
        *[(SOFTMAX_TWICE, formula, False) for formula in twice],
    ]


def _scale(value: Value, formula: Formula, width: float) -> tuple[float, int, int] | None:
    """k, a and b where value = k B^a C^b times the formula's mean over the rows, a and b whole; None elsewhere."""
    ratios = []
    for B, C in SHAPES:
        pairs = [examples(B, C, seed, width) for seed in (0, 1)]
        one, other = (value(s, t) / formula(s, t).mean() for s, t in pairs)
        if not same(one, other) or one == 0 or math.isinf(one):
            return None
        ratios.append(one)
    (B, C), (more_rows, _), (_, more_classes) = SHAPES
    a = _exponent(ratios[1] / ratios[0], more_rows / B)
    b = _exponent(ratios[2] / ratios[0], more_classes / C)
    return None if a is None or b is None else (ratios[0] / (B**a * C**b), a, b)


def _exponent(ratio: float, base: float) -> int | None:
    """The whole power of `base`, -2 to 2, that gives `ratio`; None where there is none."""
    return next((power for power in (0, -1, 1, -2, 2) if same(ratio, base**power)), None)


def _named(k: float, a: int, b: int, T: float) -> tuple[Mistake, ...]:
    """The mistakes that make a factor k B^a C^b."""
    found = {ELEMENT_MEAN: b < 0, BATCH_TWICE: a < 0, SUMMED: a > 0, T_SQUARED_MISSING: T != 1 and _is_power(k, T)}
    return tuple(mistake for mistake, is_so in found.items() if is_so)


def _is_power(k: float, T: float) -> bool:
    return same(k, T**-2) or same(k, 1 / T)


def _vanishes_at_its_ends(value: Value, T: float) -> bool:
    """Whether it is beta KL(p || m) + (1-beta) KL(q || m), m = beta p + (1-beta) q, for some beta; T^2 or not.

    Near the match that is beta (1-beta) times the KL, which gives two candidates for beta.
    """
    s, t = examples(*SHAPES[0], seed=0, width=max(T, 1.0))
    step = 0.003 * (t - s)
    near, wanted = (
        sum(f(s, s + sign * step) for sign in (-1, 1))  # the third order cancels
        for f in (value, lambda s, t: soft_target(s, t, T).mean())
    )
    for scale in (1.0, T**-2):
        share = near / wanted / scale
        if not 0 < share <= 0.25 + TOLERANCE:
            continue
        root = math.sqrt(max(1 - 4 * share, 0))
        for beta in ((1 - root) / 2, (1 + root) / 2):
            if same(value(s, t) / (scale * T**2 * _jensen_shannon(s, t, T, beta).mean()), 1):
                return True
    return False


def _jensen_shannon(s: np.ndarray, t: np.ndarray, T: float, beta: float) -> np.ndarray:
    log_p, log_q = _log_softmax(t, T), _log_softmax(s, T)                       # (B,C)
    log_m = np.log(beta * np.exp(log_p) + (1 - beta) * np.exp(log_q))           # (B,C)
    return beta * _kl(log_p, log_m) + (1 - beta) * _kl(log_q, log_m)            # (B,)


def same(given: float, wanted: float, tolerance: float = TOLERANCE) -> bool:
    """Equal but for a relative difference of `tolerance`; NaN is equal to nothing."""
    return math.isclose(given, wanted, rel_tol=tolerance)


def _log_softmax(s: np.ndarray, T: float) -> np.ndarray:
    return np.asarray(ops.log_softmax_forward(s, T)[0])


def _softmax(s: np.ndarray, T: float) -> np.ndarray:
    return np.asarray(ops.softmax_forward(s, T)[0])


def _kl(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    return np.asarray((np.exp(log_p) * (log_p - log_q)).sum(axis=1))
