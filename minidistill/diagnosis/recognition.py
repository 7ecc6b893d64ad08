# SPDX-License-Identifier: MIT
"""Recognition: the known mistakes that a loss's violated invariants look like."""

from collections.abc import Callable

import numpy as np

from .case import TEACHER, B, C, Case, S, Y, mean_of_rows, projection, weight_of_labels
from .gradcheck import numerical_gradient, tolerance_of
from .known_formulas import FACTORS, TOLERANCE, factor_mistakes, recognize, same, soft_target
from .mistakes import (
    CLIPPED,
    DETACHED,
    ENDS_VANISH,
    GRADIENT_INTO_TEACHER,
    RAW_LOGITS,
    SAME_LOGITS,
    SWAPPED,
    TEACHER_IN_TRAINING_MODE,
    TWO_CLASSES,
    TWO_PATHS,
    UNDERFLOW,
    WEIGHTS_EXCHANGED,
    Mistake,
)


def recognize_mistakes(case: Case, seen: dict[str, str]) -> dict[str, tuple[Mistake, ...]]:
    """For each broken invariant the known mistakes that it looks like."""
    if "student" in seen:
        return dict.fromkeys(seen, (SAME_LOGITS,))
    formula = _formula(case) if seen else ()
    own: dict[str, Callable[[], tuple[Mistake, ...]]] = {
        "repeatable": lambda: (TEACHER_IN_TRAINING_MODE,) if "two calls" in seen["repeatable"] else (),
        "gradient": lambda: _in_the_gradient(case),
        "labels": lambda: _in_the_labels(case) or formula or (),
        "same path": lambda: (TWO_PATHS,),
    }
    if formula is None or not set(formula) & {RAW_LOGITS, ENDS_VANISH}:  # these are infinite by themselves
        own["finite"] = lambda: (UNDERFLOW,)
        own["two classes"] = lambda: (TWO_CLASSES,) if formula is None and case.is_another_measure else (UNDERFLOW,)
    if formula is None or set(formula) <= set(FACTORS):  # the formula does not explain a gradient of 0
        own["sure and wrong"] = lambda: () if formula is None or {"gradient", "finite"} & set(seen) else (CLIPPED,)
    if formula is None:
        own["batch"] = lambda: _in_the_batch(case)
    return {name: _unless_it_raises(own[name]) if name in own else formula or () for name in seen}


def _unless_it_raises(rule: Callable[[], tuple[Mistake, ...]]) -> tuple[Mistake, ...]:
    try:
        return rule()
    except Exception:  # it was found to raise already
        return ()


def _formula(case: Case) -> tuple[Mistake, ...] | None:
    """The mistakes in the formula of the loss; none where it is right, None where it is not known.

    Of a measure that does not claim to be KL(p || q) the reverse one is no mistake.
    """

    def value(s: np.ndarray, t: np.ndarray) -> float:
        return case(s, t, np.arange(len(s)) % s.shape[1])[0]

    try:
        found = recognize(value, case.T, case.alpha, case.eps)
    except Exception:  # it was found to raise already
        return None
    if found is None or not case.is_another_measure:
        return found
    return tuple(mistake for mistake in found if mistake is not SWAPPED)


def _in_the_gradient(case: Case) -> tuple[Mistake, ...]:
    """The mistake behind a gradient that is not that of the value."""
    s, t, y = case.T * S[:3], case.T * TEACHER[:3], Y[:3]
    if all(_is_cut_off(case, wide * S[:3], wide * TEACHER[:3], y) for wide in (1.0, case.T)):
        return (DETACHED,)
    ds = case(s, t, y)[1]
    right = numerical_gradient(lambda s: case(s, t, y)[0], s, case.eps)
    teachers = numerical_gradient(lambda t: case(s, t, y)[0], t, case.eps)
    reverse = numerical_gradient(lambda s: soft_target(t, s, case.T).mean(), s)
    tolerance = tolerance_of(case.eps)
    if _is_multiple(ds, teachers, tolerance):
        return (SWAPPED,)
    if _is_multiple(ds, right, tolerance):
        return factor_mistakes(projection(ds, right), len(s), C, case.T, max(TOLERANCE, tolerance))
    return (GRADIENT_INTO_TEACHER,) if _is_multiple(ds - right, reverse, tolerance) else ()


def _is_cut_off(case: Case, s: np.ndarray, t: np.ndarray, y: np.ndarray) -> bool:
    """Whether the gradient, or that of the teacher's term, is 0."""
    ds, term_ds = case(s, t, y)[1], case.term(s, t, y)[1]
    return not ds.any() or bool(np.abs(term_ds).max() <= max(1e-12, case.noise()) * np.abs(ds).max())


def _in_the_labels(case: Case) -> tuple[Mistake, ...]:
    """The mistake behind a weight of the labels in the gradient that is not 1 - alpha."""
    weight, rounding = weight_of_labels(case)
    if 0 < case.alpha < 1 and same(weight, case.alpha, max(TOLERANCE, rounding)):
        return (WEIGHTS_EXCHANGED,)
    other = (Y + 1) % C
    moved = case(case.s, case.t, Y)[0] - case(case.s, case.t, other)[0]
    return (DETACHED,) if abs(weight) < rounding and abs(moved) > 1e-9 else ()


def _in_the_batch(case: Case) -> tuple[Mistake, ...]:
    """What a batch is off by from the mean of its rows."""
    mean, _ = mean_of_rows(case)
    return factor_mistakes(case(case.s, case.t, Y)[0] / mean, B, C, case.T) if mean else ()


def _is_multiple(given: np.ndarray, of: np.ndarray, tolerance: float) -> bool:
    size = np.linalg.norm(given)
    return bool(size > 0 and np.linalg.norm(given - projection(given, of) * of) <= tolerance * size)
