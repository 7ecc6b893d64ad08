# SPDX-License-Identifier: MIT
"""A loss under test: its value and gradient on fixed logits, the teacher's term in them, and their rounding errors.

A loss that computes in float32 is recognized by its rounding errors. The logits are then spread over T, because near
the limit of high temperature a divergence in float32 is all rounding, and the tolerances are those of such errors.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..losses import CrossEntropy, value_and_ds
from .gradcheck import EPS
from .known_formulas import same

ROUNDING = 1e-6                # relative: what differs by less is the same, where the dtype has as many digits
EPS_OF_FLOAT32 = float(np.finfo(np.float32).eps)
SPREAD, LARGEST = 10.0, 100.0  # of the logits that two calls are compared on; the largest constant added to them
B, C = 5, 7
ValueAndDs = tuple[float, np.ndarray]  # value and ds (B,C)


@dataclass(frozen=True)
class Case:
    """A loss and its settings: what it gives, and what of that is the teacher's term."""

    loss: Callable[..., Any]
    T: float
    alpha: float
    other: Callable[..., Any] | None  # another path to the same loss
    is_another_measure: bool          # and does not claim to be T^2 KL(p || q)
    eps: float                        # relative size of its rounding errors

    def __call__(self, s: np.ndarray, t: np.ndarray, y: np.ndarray) -> ValueAndDs:
        return evaluate(self.loss, s.copy(), t.copy(), y.copy())

    def logits(self, seed: int, rows: int = B, classes: int = C) -> np.ndarray:
        """Logits a few units apart; in float32 a few T, where a divergence is more than rounding."""
        return (max(self.T, 1) if self.eps > EPS else 1) * random_logits(seed, rows, classes)

    @property
    def s(self) -> np.ndarray:
        return self.logits(0)

    @property
    def t(self) -> np.ndarray:
        return self.logits(1)

    def noise(self, largest: float = SPREAD) -> float:
        """Relative difference, from rounding, of two values or gradients of the term.

        Each is off by eps times the largest logit, and taking the labels' part away divides by alpha.
        """
        return 2 * largest * self.eps / (self.alpha or 1)

    def term(self, s: np.ndarray, t: np.ndarray, y: np.ndarray) -> ValueAndDs:
        """What is left of the loss without (1-alpha) times the cross-entropy, over alpha; all of it at alpha = 0."""
        value, ds = self(s, t, y)
        if self.alpha == 0:
            return value, ds
        if self.alpha < 1:
            ce, dce = CrossEntropy()(s, None, y)
            value, ds = value - (1 - self.alpha) * ce, ds - (1 - self.alpha) * dce
        return value / self.alpha, ds / self.alpha

    def mean_of_rows(self) -> ValueAndDs:
        """The mean of the losses of single rows, which a batch should give."""
        alone = [self(self.s[n : n + 1], self.t[n : n + 1], Y[n : n + 1]) for n in range(B)]
        return float(np.mean([value for value, _ in alone])), np.concatenate([ds for _, ds in alone]) / B

    def weight_of_labels(self) -> tuple[float, float]:
        """The change of ds with the labels, in units of that of the cross-entropy's ds, and how exact that is."""
        other, rounding = (Y + 1) % C, max(ROUNDING, self.noise())
        ds = self(self.s, self.t, Y)[1]                                         # (B,C)
        change = ds - self(self.s, self.t, other)[1]                            # (B,C)
        wanted = CrossEntropy()(self.s, None, Y)[1] - CrossEntropy()(self.s, None, other)[1]    # (B,C)
        return projection(change, wanted), rounding * max(1.0, float(np.abs(ds).max() / np.abs(wanted).max()))

    def is_nothing(self, value: float, ds: np.ndarray, s: np.ndarray) -> bool:
        """Whether a term of s and its gradient are 0 but for rounding, which dividing by alpha has magnified."""
        exact, noise = 1e-9 / (self.alpha or 1), self.noise()
        size, size_ds = self(s, s[::-1], Y)
        flat = bool(np.abs(ds).max() <= max(exact, noise * np.abs(size_ds).max()))
        return flat and abs(value) <= max(exact, noise * abs(size))

    def agree(self, given: ValueAndDs, wanted: ValueAndDs, largest: float = SPREAD) -> bool:
        """Whether two values, and two gradients, are the same but for rounding."""
        (value, ds), (other, other_ds) = given, wanted
        rounding = max(ROUNDING, self.noise(largest))
        scale = max(np.abs(ds).max(), np.abs(other_ds).max())
        return same(value, other, rounding) and bool(np.abs(ds - other_ds).max() <= rounding * scale)


def evaluate(loss: Callable[..., Any], s: np.ndarray, t: np.ndarray, y: np.ndarray) -> ValueAndDs:
    """Value and ds, without the loss's warnings, which are not the user's. It may write into s, t and y."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value, ds = value_and_ds(loss, s, t, y)
    return value, np.asarray(ds, np.float64)


def rounding_error(loss: Callable[..., Any], T: float) -> float:
    """The relative size of a loss's rounding errors: eps of float64, or of float32 if not more.

    At some logits a loss is a straight line, which float32 may compute without an error: two scales are tried.
    """
    wide, narrow = _roughness(loss, max(T, 1.0)), _roughness(loss, 1.0)
    return max(wide, EPS_OF_FLOAT32) if max(wide, narrow) > EPS_OF_FLOAT32 / 8 else EPS


def _roughness(loss: Callable[..., Any], width: float) -> float:
    """By how much value and gradient leave a straight line, relative to their size, at logits of this width.

    The logits are moved by steps that float32 just resolves. On so short a way the curve is less than 1e-9.
    """

    def at(logits: np.ndarray) -> np.ndarray:
        value, ds = evaluate(loss, logits[0], logits[1], Y.copy())
        return np.array([value, *ds.ravel()])

    found = 0.0
    for seed in range(4):
        step = 8 * EPS_OF_FLOAT32 * np.random.default_rng(seed).standard_normal((2, B, C))
        try:
            before, here, after = (at(width * (LOGITS + k * step)) for k in (-1, 0, 1))
        except Exception:  # it will be found to raise
            return 0.0
        errors, sizes = np.abs(before - 2 * here + after) / 2, np.abs(here)  # of three roundings, one of them twice
        for error, size in ((errors[0], sizes[0]), (errors[1:].max(), sizes[1:].max())):
            found = max(found, float(error / size) if size > 0 else 0.0)
    return found


def random_logits(seed: int, rows: int, classes: int) -> np.ndarray:
    """Logits as a trained network gives them: a few units apart."""
    return 1.5 * np.random.default_rng(seed).standard_normal((rows, classes))


LOGITS = S, TEACHER = np.stack([random_logits(seed, B, C) for seed in (0, 1)])  # (2,B,C)
Y = np.array([6, 0, 3, 3, 1])                                                   # (B,)


def projection(given: np.ndarray, wanted: np.ndarray) -> float:
    """How many times `wanted` comes nearest to `given`."""
    return float((given * wanted).sum() / (wanted * wanted).sum())
