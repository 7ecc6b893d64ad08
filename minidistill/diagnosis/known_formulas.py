# SPDX-License-Identifier: MIT
"""What wrong losses give away: the value of each known formula, and what a constant factor says.

A mistake in a formula is recognized by its values. The teacher's term is computed on random logits, and divided by
what each formula below gives there. Where the ratio is the same on other logits of the same shape, that is the formula,
and its change with the batch size and the number of classes gives the divisor. The labels' part is subtracted first,
either their cross-entropy or one of the known mistakes in it.

The logits lie between 0.05 and 0.95 times the temperature, ten times that for a second softmax, and for formulas
without softmax between 0.05 and 0.95: there nothing underflows or is clipped, and even logits taken for probabilities
have a logarithm. Those mistakes show elsewhere.
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..losses import JensenShannon, ReverseKL
from . import mistakes as known
from .gradcheck import EPS
from .mistakes import Mistake, in_order

SHAPES = ((4, 5), (6, 5), (4, 9))  # (B, C): the first with another batch, and with other classes
TOLERANCE = 1e-4  # relative, where rounding allows as much
TOLERANCE_IN_FLOAT32 = 1e-3  # the divergences below are down to 1e-4 of the logarithms in them
FACTORS = (known.ELEMENT_MEAN, known.BATCH_TWICE, known.SUMMED, known.T_SQUARED_MISSING)  # right but for a factor
FIXED_SCALE = {known.SWAPPED, known.NOT_LOGARITHMS, known.WITHOUT_ENTROPY}  # a factor before these is a mistake too

ValueAt = Callable[[int, int, int, float], float]  # a value on the examples of B, C, a seed and a width
Side = tuple[tuple[Mistake, ...], Callable[[np.ndarray], np.ndarray]]  # mistakes, and what they make of logits (B,C)


class Formula(NamedTuple):
    """A formula of the teacher's term, or of the labels' part, and the mistakes that are in it."""

    mistakes: tuple[Mistake, ...]
    value: Callable[..., Any]  # of s and t (B,C): one number, or that of each row (B,)

    def at(self, B: int, C: int, seed: int, width: float) -> float:
        """Its mean over the rows of the examples."""
        return float(np.mean(self.value(*examples(B, C, seed, width))))


def recognize(
    value: Callable[..., float], T: float, alpha: float = 1.0, eps: float = EPS
) -> tuple[Mistake, ...] | None:
    """The mistakes in the formula of a loss at temperature T: none where it is right, None where it is not known.

    value  of the loss, from s and t (B,C)
    alpha  weight of the teacher's term; the labels, of weight 1 - alpha, are 0, 1, .. C-1, 0, ..
    eps    relative size of the loss's rounding errors
    """
    tolerance = TOLERANCE if eps <= EPS else TOLERANCE_IN_FLOAT32
    formulas = _formulas(T)

    @functools.cache
    def loss_at(B: int, C: int, seed: int, width: float) -> float:
        return value(*examples(B, C, seed, width))

    found: tuple[Mistake, ...] | None
    for labels in _labels(T) if alpha < 1 else [Formula((), lambda s, t: 0.0)]:

        def term_at(*example: Any, labels: Formula = labels) -> float:
            return (loss_at(*example) - (1 - alpha) * labels.at(*example)) / alpha

        if alpha == 0:
            found = () if _scale(loss_at, labels.at, max(T, 1.0), tolerance) else None
        else:
            found = _term(term_at, formulas, T, tolerance)
        if found is not None:
            return in_order((*labels.mistakes, *found))
    return None


def _term(term_at: ValueAt, formulas: list[Formula], T: float, tolerance: float) -> tuple[Mistake, ...] | None:
    """The mistakes in a teacher's term."""
    for formula in formulas:
        mistakes, width = set(formula.mistakes), max(T, 1.0)
        if known.RAW_LOGITS in mistakes:
            width = 1.0
        elif known.SOFTMAX_TWICE in mistakes:
            width *= 10  # after a first softmax of narrow ones, all would be nearly equal
        scale = _scale(term_at, formula.at, width, tolerance)
        if scale is None:
            continue
        if not mistakes <= FIXED_SCALE:
            return formula.mistakes
        k, a, b = scale
        no_t_squared = T != 1 and (same(k, T**-2, tolerance) or same(k, 1 / T, tolerance))
        named = tuple(itertools.compress(FACTORS, (b < 0, a < 0, a > 0, no_t_squared)))
        if named or same(k, 1, tolerance):
            return formula.mistakes + named
        ends_vanish = _vanishes_at_its_ends(term_at, T, tolerance)  # a weight, or a beta so near its end
        return (known.ENDS_VANISH,) if ends_vanish else formula.mistakes
    return (known.ENDS_VANISH,) if _vanishes_at_its_ends(term_at, T, tolerance) else None


def examples(B: int, C: int, seed: int, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Student's and teacher's logits (B,C) between 0.05 and 0.95 times `width`."""
    s, t = width * np.random.default_rng(seed).uniform(0.05, 0.95, (2, B, C))
    return s, t


def factor_mistakes(ratio: float, B: int, C: int, T: float, tolerance: float = TOLERANCE) -> tuple[Mistake, ...]:
    """What a value or a gradient of one shape is off by, if it is one of these."""
    wanted = {1 / C: known.ELEMENT_MEAN, 1 / B: known.BATCH_TWICE, B: known.SUMMED}
    wanted |= dict.fromkeys((1 / T, T**-2), known.T_SQUARED_MISSING)
    return tuple(mistake for off, mistake in wanted.items() if same(ratio, off, tolerance) and off != 1)


def _formulas(T: float) -> list[Formula]:
    """The known formulas of a teacher's term, those with one mistake before those with several.

    Most are a KL, or a cross-entropy, of the two arguments of the divergence: log q and p, or values in their place.
    """
    twice = list(itertools.product(sorted({1.0, T}), repeat=2))  # temperatures of the two softmaxes
    log_q: list[Side] = [
        ((), lambda s: _log_softmax(s, T)),
        ((known.NO_TEMPERATURE,), lambda s: _log_softmax(s, 1.0)),
        ((known.NOT_LOGARITHMS,), lambda s: _softmax(s, T)),
        ((known.NOT_LOGARITHMS, known.NO_TEMPERATURE), lambda s: _softmax(s, 1.0)),
        ((known.RAW_LOGITS,), lambda s: s),
        ((known.RAW_LOGITS,), lambda s: s / T),
        *[((known.SOFTMAX_TWICE,), lambda s, of=of, by=by: _log_softmax(_softmax(s, of), by)) for of, by in twice],
    ]
    p: list[Side] = [
        ((), lambda t: _softmax(t, T)),
        ((known.NO_TEMPERATURE,), lambda t: _softmax(t, 1.0)),
        ((known.RAW_LOGITS,), lambda t: t),
        ((known.RAW_LOGITS,), lambda t: t / T),
        ((known.RAW_LOGITS,), np.exp),
        ((known.RAW_LOGITS,), lambda t: np.exp(t / T)),
        *[((known.SOFTMAX_TWICE,), lambda t, of=of, by=by: _softmax(_softmax(t, of), by)) for of, by in twice],
    ]
    formulas = [
        Formula((known.SWAPPED,), lambda s, t: ReverseKL(T, 1.0)(s, t, None)[0]),
        Formula((known.SQUARED_ERROR,), lambda s, t: ((_softmax(s, T) - _softmax(t, T)) ** 2).sum(axis=1)),
        Formula((known.SQUARED_ERROR,), lambda s, t: ((_softmax(s, 1.0) - _softmax(t, 1.0)) ** 2).sum(axis=1)),
        Formula((known.RAW_LOGITS,), lambda s, t: (t * np.log(t / s)).sum(axis=1)),
        Formula((known.RAW_LOGITS,), lambda s, t: (s * np.log(s / t)).sum(axis=1)),
    ]
    for (in_q, of_s), (in_p, of_t) in itertools.product(log_q, p):

        def kl(s: np.ndarray, t: np.ndarray, of_s: Any = of_s, of_t: Any = of_t, entropy: bool = True) -> np.ndarray:
            p, log_q = of_t(t), of_s(s)                                         # (B,C)
            terms = p * np.log(p) - p * log_q if entropy else -p * log_q        # (B,C)
            return np.asarray(T**2 * terms.sum(axis=1))

        mistakes = in_order((*in_q, *in_p))
        cross_entropy = functools.partial(kl, entropy=False)
        formulas += [Formula(mistakes, kl), Formula((*mistakes, known.WITHOUT_ENTROPY), cross_entropy)]
    return sorted(formulas, key=lambda formula: len(formula.mistakes))


def _labels(T: float) -> list[Formula]:
    """The known formulas of the labels' part, which have no t."""

    def of_the_label(rows: np.ndarray) -> np.ndarray:
        return np.asarray(-rows[np.arange(len(rows)), np.arange(len(rows)) % rows.shape[1]])

    twice, no_log, by_T = (known.SOFTMAX_TWICE,), (known.NOT_LOGARITHMS,), (1.0, T)
    return [
        Formula((), lambda s, t: of_the_label(_log_softmax(s, 1.0))),
        Formula((known.LABELS_SOFTENED,), lambda s, t: of_the_label(_log_softmax(s, T))),
        Formula((known.RAW_LOGITS,), lambda s, t: of_the_label(s)),
        *[Formula(twice, lambda s, t, by=by: of_the_label(_log_softmax(_softmax(s, by), 1.0))) for by in by_T],
        *[Formula(no_log, lambda s, t, by=by: of_the_label(_softmax(s, by))) for by in by_T],
    ]


def _scale(value_at: ValueAt, formula_at: ValueAt, width: float, tolerance: float) -> tuple[float, int, int] | None:
    """k, a and b where value = k B^a C^b times the formula, a and b whole; None elsewhere."""
    ratios = []
    for B, C in SHAPES:
        one, other = (value_at(B, C, seed, width) / formula_at(B, C, seed, width) for seed in (0, 1))
        if not same(one, other, tolerance) or one == 0 or math.isinf(one):
            return None
        ratios.append(one)
    (B, C), (more_rows, _), (_, more_classes) = SHAPES
    a = _exponent(ratios[1] / ratios[0], more_rows / B, tolerance)
    b = _exponent(ratios[2] / ratios[0], more_classes / C, tolerance)
    return None if a is None or b is None else (ratios[0] / (B**a * C**b), a, b)


def _exponent(ratio: float, base: float, tolerance: float) -> int | None:
    """The whole power of `base`, -2 to 2, that gives `ratio`; None where there is none."""
    return next((power for power in (0, -1, 1, -2, 2) if same(ratio, base**power, tolerance)), None)


def _vanishes_at_its_ends(term_at: ValueAt, T: float, tolerance: float) -> bool:
    """Whether it is beta KL(p || m) + (1-beta) KL(q || m), m = beta p + (1-beta) q, for some beta; T^2 or not.

    It rises from 0 at beta = 0 to one peak and falls to 0 at 1, which leaves two betas for one value.
    """
    (B, C), width = SHAPES[0], max(T, 1.0)

    def formula(beta: float, seed: int) -> float:
        s, t = examples(B, C, seed, width)
        return beta * (1 - beta) * JensenShannon(T, 1.0, beta)(s, t, None)[0]

    peak = max(np.linspace(0.01, 0.99, 99), key=lambda beta: formula(beta, 0))
    for scale in (1.0, T**-2):
        values = [term_at(B, C, seed, width) / scale for seed in (0, 1)]
        for end in (0.0, 1.0):
            low, high = end, float(peak)
            for _ in range(50):
                middle = (low + high) / 2
                low, high = (middle, high) if formula(middle, 0) < values[0] else (low, middle)
            if values[0] > 0 and all(same(values[seed], formula(low, seed), tolerance) for seed in (0, 1)):
                return True
    return False


def same(given: float, wanted: float, tolerance: float = TOLERANCE) -> bool:
    """Equal but for a relative difference of `tolerance`; NaN is equal to nothing."""
    return math.isclose(given, wanted, rel_tol=tolerance)


def _log_softmax(s: np.ndarray, T: float) -> np.ndarray:
    return np.asarray(ops.log_softmax_forward(s, T)[0])


def _softmax(s: np.ndarray, T: float) -> np.ndarray:
    return np.asarray(ops.softmax_forward(s, T)[0])
