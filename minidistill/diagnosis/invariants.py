# SPDX-License-Identifier: MIT
"""Invariants: properties that every distillation loss has, each a function that returns how a loss violates it.

Most need no second implementation to compare with, only the loss itself: at the match it is 0, a constant added to a
row changes nothing, a batch is the mean of its rows. The last ones compare with T^2 KL(p || q), for a loss that claims
to be that. Each returns what it measured where the loss violates it, and None where it holds.
"""

import inspect
import math
from collections.abc import Callable

import numpy as np

from ..losses import SoftTarget
from ..losses.base import WrongReturn
from .case import (
    LARGEST,
    ROUNDING,
    SPREAD,
    TEACHER,
    B,
    C,
    Case,
    S,
    ValueAndDs,
    Y,
    evaluate,
    evaluate_in_place,
    mean_of_rows,
    projection,
    random_logits,
    weight_of_labels,
)
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
    evaluate_in_place(case.loss, *after.values())
    changed = [name for name in before if not np.array_equal(after[name], before[name])]
    return f"it writes into {' and '.join(changed)}" if changed else None


def student(case: Case) -> str | None:
    """The teacher's term depends on the student's logits s."""
    value, ds = case.term(S, TEACHER, Y)
    other, _ = case.term(random_logits(2, B, C), TEACHER, Y)
    if _is_nothing(case, value - other, ds, S):
        return f"the term is {value:.4g} and its gradient 0 whatever s is"
    return None


def teacher(case: Case) -> str | None:
    """The teacher's term depends on the teacher's logits t."""
    value, ds = case.term(S, TEACHER, Y)
    other, other_ds = case.term(S, random_logits(2, B, C), Y)
    if _is_nothing(case, value - other, ds - other_ds, S):
        return f"the term is {value:.4g} and its gradient the same whatever t is"
    return None


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
    weight, rounding = weight_of_labels(case)
    if abs(weight - (1 - case.alpha)) < rounding:
        return None
    return f"the labels have the weight {weight:.4g}, where alpha = {case.alpha:g} leaves them {1 - case.alpha:.4g}"


def match(case: Case) -> str | None:
    """Where the student's logits are the teacher's, the teacher's term and its gradient are 0."""
    value, ds = case.term(case.s, case.s, Y)
    if _is_nothing(case, value, ds, case.s):
        return None
    return f"at s = t the term is {value:.4g}, and the largest entry of its gradient {np.abs(ds).max():.4g}"


def shift(case: Case) -> str | None:
    """A constant added to a row of s or of t changes nothing."""
    constants = np.array([[3.7], [-20.1], [0.3], [LARGEST], [-5.5]])
    value, ds = case(case.s, case.t, Y)
    for name, s, t in (("s", case.s + constants, case.t), ("t", case.s, case.t + constants)):
        shifted, shifted_ds = case(s, t, Y)
        if not _agree(case, (shifted, shifted_ds), (value, ds), LARGEST):
            change = float(np.abs(shifted_ds - ds).max() / np.abs(ds).max())
            return (
                f"constants added to the rows of {name} take the value from {value:.4g} to {shifted:.4g} and change "
                f"its gradient by {change:.2g} of the largest entry"
            )
    return None


def batch(case: Case) -> str | None:
    """A batch has the mean of its rows' losses."""
    value, ds = case(case.s, case.t, Y)
    mean, mean_ds = mean_of_rows(case)
    if _agree(case, (value, ds), (mean, mean_ds)):
        return None
    return (
        f"{B} rows have the value {value:.4g}, and alone {mean:.4g} on the mean ({_ratio(value, mean)}); "
        f"the gradient is {_along(ds, mean_ds)}"
    )


def finite(case: Case) -> str | None:
    """Value and gradient are finite in float32, however far apart the logits are."""
    for gap in _gaps(case.T):
        h = gap / 2
        s = np.array([[h, -h, 0], [0, h, -h], [-h, -h, -h]], np.float32)
        t = np.array([[-h, h, 3], [h, -h, 0], [h, -h, h]], np.float32)
        seen = _not_finite(*case(s, t, np.array([2, 0, 1])), f"for logits {gap:g} apart")
        if seen:
            return seen
    return None


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
        one, other = case(s, t, y), evaluate(case.other, s, t, y)
        if not _agree(case, one, other):
            return f"at B = {rows}, C = {classes} one gives {one[0]:.4g} and the other {other[0]:.4g}"
    return None


def soft_target_term(case: Case) -> str | None:
    """The teacher's term is T^2 KL(p || q), averaged over the batch."""
    value, ds = case.term(case.s, case.t, Y)
    right, right_ds = SoftTarget(case.T, 1.0)(case.s, case.t, None)
    if _agree(case, (value, ds), (right, right_ds)):
        return None
    return (
        f"at B = {B}, C = {C} the term is {value:.4g} where {right:.4g} is right ({_ratio(value, right)}); "
        f"the gradient is {_along(ds, right_ds)}"
    )


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


FIRST = (form, repeatable)  # no other is tried where one of these is broken
INVARIANTS = (
    form,
    repeatable,
    student,
    teacher,
    gradient,
    labels,
    match,
    shift,
    batch,
    finite,
    two_classes,
    same_path,
    soft_target_term,
    sure_and_wrong,
)


def name_of(invariant: Callable[[Case], str | None]) -> str:
    return invariant.__name__.removesuffix("_term").replace("_", " ")


STATEMENTS = {name_of(invariant): inspect.getdoc(invariant) or "" for invariant in INVARIANTS}


def violation(invariant: Callable[[Case], str | None], case: Case) -> str | None:
    try:
        return invariant(case)
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


def _is_nothing(case: Case, value: float, ds: np.ndarray, s: np.ndarray) -> bool:
    """Whether a term of s and its gradient are 0 but for rounding, which dividing by alpha has magnified."""
    exact = 1e-9 / (case.alpha or 1)
    size, size_ds = case(s, s[::-1], Y)
    largest, largest_size = float(np.abs(ds).max()), float(np.abs(size_ds).max())
    return abs(value) <= max(exact, case.noise() * abs(size)) and largest <= max(exact, case.noise() * largest_size)


def _agree(case: Case, given: ValueAndDs, wanted: ValueAndDs, largest: float = SPREAD) -> bool:
    """Whether two values, and two gradients, are the same but for rounding."""
    (value, ds), (other, other_ds) = given, wanted
    rounding = max(ROUNDING, case.noise(largest))
    scale = max(float(np.abs(ds).max()), float(np.abs(other_ds).max()))
    return same(value, other, rounding) and bool(np.abs(ds - other_ds).max() <= rounding * scale)


def _ratio(given: float, wanted: float) -> str:
    return f"{given / wanted:.4g} times" if wanted else "which is 0"


def _along(given: np.ndarray, wanted: np.ndarray) -> str:
    """Size and direction of a gradient beside what it should be."""
    if not given.any() or not wanted.any():
        return "0" if not given.any() else "not 0"
    cosine = float((given * wanted).sum() / np.linalg.norm(given) / np.linalg.norm(wanted))
    return f"{np.linalg.norm(given) / np.linalg.norm(wanted):.4g} times as large, at a cosine of {cosine:.4g} to it"
