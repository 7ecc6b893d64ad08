# SPDX-License-Identifier: MIT
"""Invariants: properties that every distillation loss has, each a function that returns how a loss violates it.

Most need no second implementation to compare with, only the loss itself: at the match it is 0, a constant added to a
row changes nothing, a batch is the mean of its rows. The last ones compare with T^2 KL(p || q), for a loss that claims
to be that. Each returns what it measured where the loss violates it, and None where it holds.
"""

import inspect
import math
from dataclasses import replace

import numpy as np

from ..losses import SoftTarget
from ..losses.base import WrongReturn
from .case import LARGEST, ROUNDING, TEACHER, B, C, Case, S, ValueAndDs, Y, evaluate, projection, random_logits
from .gradcheck import GradientError, check_gradient
from .known_formulas import examples, same

HALF_PRECISION = (8, 11)       # bits in the significand of bfloat16 and float16


def form(case: Case) -> str | None:
    """It gives a finite value, and a finite gradient of the shape of s, in float32 or float64."""
    value, ds = case(S, TEACHER, Y)
    for bits in HALF_PRECISION:
        rounded = _rounded(S, bits), _rounded(TEACHER, bits)
        if _equal((value, ds), case(*rounded, Y)) and not _equal((value, ds), case(random_logits(2, B, C), TEACHER, Y)):
            return f"it is the same for logits rounded to {bits} bits: half precision leaves too few digits for a check"
    return _not_finite(value, ds, "for logits a few units apart")


def repeatable(case: Case) -> str | None:
    """The same call gives the same answer, and what it is given stays as it is."""
    (first, _), (second, _) = case(S, TEACHER, Y), case(S, TEACHER, Y)
    if not same(first, second, ROUNDING):
        return f"two calls with the same s, t and y give {first:.6g} and {second:.6g}"
    before = {"s": S, "t": TEACHER, "y": Y}
    after = {name: array.copy() for name, array in before.items()}
    evaluate(case.loss, *after.values())
    changed = [name for name in before if not np.array_equal(after[name], before[name])]
    return f"it writes into {' and '.join(changed)}" if changed else None


def student(case: Case) -> str | None:
    """The teacher's term depends on the student's logits s."""
    value, ds = case.term(S, TEACHER, Y)
    other, _ = case.term(random_logits(2, B, C), TEACHER, Y)
    nothing = case.is_nothing(value - other, ds, S)
    return f"the term is {value:.4g} and its gradient 0 whatever s is" if nothing else None


def teacher(case: Case) -> str | None:
    """The teacher's term depends on the teacher's logits t."""
    value, ds = case.term(S, TEACHER, Y)
    other, other_ds = case.term(S, random_logits(2, B, C), Y)
    nothing = case.is_nothing(value - other, ds - other_ds, S)
    return f"the term is {value:.4g} and its gradient the same whatever t is" if nothing else None


def gradient(case: Case) -> str | None:
    """The gradient is the derivative of the value by s: finite differences agree."""
    wide = max(case.T, 1)  # or all is so soft that finite differences see no curve
    s, t, y = wide * S[:3], wide * TEACHER[:3], Y[:3]
    try:
        check_gradient(lambda s: case(s, t, y)[0], s, case(s, t, y)[1], eps=case.eps)
    except GradientError as error:
        return str(error)
    return None


def labels(case: Case) -> str | None:
    """The labels have the weight 1 - alpha, by their cross-entropy; none where alpha is 1."""
    weight, rounding = case.weight_of_labels()
    if abs(weight - (1 - case.alpha)) < rounding:
        return None
    return f"the labels have the weight {weight:.4g}, where alpha = {case.alpha:g} leaves them {1 - case.alpha:.4g}"


def match(case: Case) -> str | None:
    """Where the student's logits are the teacher's, the teacher's term and its gradient are 0."""
    value, ds = case.term(case.s, case.s, Y)
    if case.is_nothing(value, ds, case.s):
        return None
    return f"at s = t the term is {value:.4g}, and the largest entry of its gradient {np.abs(ds).max():.4g}"


def shift(case: Case) -> str | None:
    """A constant added to a row of s or of t changes nothing."""
    constants = np.array([[3.7], [-20.1], [0.3], [LARGEST], [-5.5]])
    value, ds = case(case.s, case.t, Y)
    for name, s, t in (("s", case.s + constants, case.t), ("t", case.s, case.t + constants)):
        shifted, shifted_ds = case(s, t, Y)
        if not case.agree((shifted, shifted_ds), (value, ds), LARGEST):
            change = float(np.abs(shifted_ds - ds).max() / np.abs(ds).max())
            return (
                f"constants added to the rows of {name} take the value from {value:.4g} to {shifted:.4g} and change "
                f"its gradient by {change:.2g} of the largest entry"
            )
    return None


def batch(case: Case) -> str | None:
    """A batch has the mean of its rows' losses."""
    given, mean = case(case.s, case.t, Y), case.mean_of_rows()
    if case.agree(given, mean):
        return None
    return f"{B} rows have the value {given[0]:.4g}, and alone {mean[0]:.4g} on the mean {_compared(given, mean)}"


def finite(case: Case) -> str | None:
    """Value and gradient are finite in float32, however far apart the logits are."""
    seen = None
    for gap in _gaps(case.T):
        h = gap / 2
        s = np.array([[h, -h, 0], [0, h, -h], [-h, -h, -h]], np.float32)
        t = np.array([[-h, h, 3], [h, -h, 0], [h, -h, h]], np.float32)
        seen = seen or _not_finite(*case(s, t, np.array([2, 0, 1])), f"for logits {gap:g} apart")
    return seen


def two_classes(case: Case) -> str | None:
    """Value and gradient are finite for two classes."""
    y = np.array([1, 0])
    seen = _not_finite(*case(random_logits(3, 2, 2), random_logits(4, 2, 2), y), "for two classes a few units apart")
    for gap in _gaps(case.T):
        s = np.array([[gap, 0], [0, gap]], np.float32)
        seen = seen or _not_finite(*case(s, s[::-1], y), f"for two classes {gap:g} apart")
    return seen


def same_path(case: Case) -> str | None:
    """Both paths give the same value and the same gradient."""
    assert case.other is not None
    for rows, classes in ((B, C), (1, C), (B, 2)):
        s, t, y = case.logits(5, rows, classes), case.logits(6, rows, classes), np.arange(rows) % classes
        one, other = case(s, t, y), replace(case, loss=case.other)(s, t, y)
        if not case.agree(one, other):
            return f"at B = {rows}, C = {classes} one gives {one[0]:.4g} and the other {other[0]:.4g}"
    return None


def soft_target_term(case: Case) -> str | None:
    """The teacher's term is T^2 KL(p || q), averaged over the batch."""
    term, right = case.term(case.s, case.t, Y), SoftTarget(case.T, 1.0)(case.s, case.t, None)
    if case.agree(term, right):
        return None
    return f"at B = {B}, C = {C} the term is {term[0]:.4g} where {right[0]:.4g} is right {_compared(term, right)}"


def sure_and_wrong(case: Case) -> str | None:
    """A student that is sure of a wrong class is pulled back with the full gradient, T in its entry of the row."""
    h, y = 40 * case.T, np.array([2])
    s, t = np.array([[h, -h, 0]]), np.array([[-h, h, 0]])
    pull = case.term(s, t, y)[1]                                                # (1,3)
    near_s, near_t = examples(1, 3, 0, max(case.T, 1.0))
    right = SoftTarget(case.T, 1.0)
    factor = projection(case.term(near_s, near_t, y)[1], right(near_s, near_t, None)[1])  # a wrong factor is no news
    full = factor * right(s, t, None)[1]                                        # (1,3)
    if np.linalg.norm(pull - full) <= 0.01 * np.linalg.norm(full):
        return None
    return f"the gradient in this class is {pull[0, 0]:.3g}, where by its size near the match {full[0, 0]:.3g} is due"


INVARIANTS = {
    "form": form, "repeatable": repeatable, "student": student, "teacher": teacher, "gradient": gradient,
    "labels": labels, "match": match, "shift": shift, "batch": batch, "finite": finite, "two classes": two_classes,
    "same path": same_path, "soft target": soft_target_term, "sure and wrong": sure_and_wrong,
}  # fmt: skip
FIRST = ("form", "repeatable")  # no other is tried where one of these is broken
STATEMENTS = {name: inspect.getdoc(invariant) or "" for name, invariant in INVARIANTS.items()}


def violation(name: str, case: Case) -> str | None:
    """How the loss violates the invariant of this name, None where it holds."""
    try:
        return INVARIANTS[name](case)
    except WrongReturn as error:
        return str(error)
    except Exception as error:  # whatever a loss of someone else's raises
        return f"it raises {type(error).__name__}: {error}"


def _gaps(T: float) -> tuple[float, float]:
    """Distances of logits whose softmax has a 0 in float32, the second in float64 too."""
    return 120 * max(T, 1), 20_000 * max(T / 20, 1)


def _not_finite(value: float, ds: np.ndarray, where: str) -> str | None:
    if math.isfinite(value) and np.isfinite(ds).all():
        return None
    return f"{where} the value is {value:.4g}, and {np.isfinite(ds).mean():.0%} of the gradient is finite"


def _equal(given: ValueAndDs, wanted: ValueAndDs) -> bool:
    """Whether value and gradient are the same bit for bit."""
    return given[0] == wanted[0] and np.array_equal(given[1], wanted[1])


def _rounded(x: np.ndarray, bits: int) -> np.ndarray:
    """x with so many bits in its significand."""
    significand, exponent = np.frexp(x)
    return np.asarray(np.ldexp(np.round(significand * 2**bits) / 2**bits, exponent))


def _compared(given: ValueAndDs, wanted: ValueAndDs) -> str:
    """Size of a value, size and direction of a gradient, compared with what they should be."""
    (value, ds), (right, right_ds) = given, wanted
    ratio = f"{value / right:.4g} times" if right else "which is 0"
    if not ds.any() or not right_ds.any():
        return f"({ratio}); the gradient is {'not ' if ds.any() else ''}0"
    size, right_size = np.linalg.norm(ds), np.linalg.norm(right_ds)
    times, cosine = size / right_size, float((ds * right_ds).sum() / size / right_size)
    return f"({ratio}); the gradient is {times:.4g} times as large, at a cosine of {cosine:.4g} to it"
