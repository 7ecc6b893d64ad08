# SPDX-License-Identifier: MIT
"""Recognition: the known mistakes that a loss's violated invariants look like."""

import numpy as np

from ..losses import ReverseKL
from . import mistakes as known
from .case import TEACHER, B, C, Case, S, Y, projection
from .gradcheck import numerical_gradient, tolerance_of
from .known_formulas import FACTORS, TOLERANCE, factor_mistakes, recognize, same
from .mistakes import Mistake


def recognize_mistakes(case: Case, seen: dict[str, str]) -> dict[str, tuple[Mistake, ...]]:
    """For each broken invariant the known mistakes that it looks like."""
    if "student" in seen:
        return dict.fromkeys(seen, (known.SAME_LOGITS,))
    formula = _formula(case) if seen else ()
    found = {}
    for name in seen:
        try:
            found[name] = _behind(name, case, seen, formula)
        except Exception:  # it was found to raise already
            found[name] = ()
    return found


def _behind(name: str, case: Case, seen: dict[str, str], formula: tuple[Mistake, ...] | None) -> tuple[Mistake, ...]:
    """The mistakes behind one broken invariant; `formula` has those in the loss's formula, None if it is not known."""
    in_formula = formula or ()
    if name == "repeatable":
        return (known.TEACHER_IN_TRAINING_MODE,) if "two calls" in seen[name] else ()
    if name == "gradient":
        return _in_the_gradient(case)
    if name == "labels":
        return _in_the_labels(case) or in_formula
    if name == "same path":
        return (known.TWO_PATHS,)
    if name in ("finite", "two classes") and not {known.RAW_LOGITS, known.ENDS_VANISH} & set(in_formula):
        measure_of_two = name == "two classes" and formula is None and case.is_another_measure
        return (known.TWO_CLASSES,) if measure_of_two else (known.UNDERFLOW,)
    if name == "sure and wrong" and set(in_formula) <= set(FACTORS):  # factors do not explain a gradient of 0
        return () if formula is None or {"gradient", "finite"} & set(seen) else (known.CLIPPED,)
    if name == "batch" and formula is None:
        mean, _ = case.mean_of_rows()
        return factor_mistakes(case(case.s, case.t, Y)[0] / mean, B, C, case.T) if mean else ()
    return in_formula


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
    if found and case.is_another_measure:
        return tuple(mistake for mistake in found if mistake is not known.SWAPPED)
    return found


def _in_the_gradient(case: Case) -> tuple[Mistake, ...]:
    """The mistake behind a gradient that is not that of the value."""
    s, t, y = case.T * S[:3], case.T * TEACHER[:3], Y[:3]
    if all(_is_cut_off(case, wide * S[:3], wide * TEACHER[:3], y) for wide in (1.0, case.T)):
        return (known.DETACHED,)
    ds = case(s, t, y)[1]
    right = numerical_gradient(lambda s: case(s, t, y)[0], s, case.eps)
    teachers = numerical_gradient(lambda t: case(s, t, y)[0], t, case.eps)
    reverse = ReverseKL(case.T, 1.0)(s, t, None)[1]
    tolerance = tolerance_of(case.eps)
    if _is_multiple(ds, teachers, tolerance):
        return (known.SWAPPED,)
    if _is_multiple(ds, right, tolerance):
        return factor_mistakes(projection(ds, right), len(s), C, case.T, max(TOLERANCE, tolerance))
    return (known.GRADIENT_INTO_TEACHER,) if _is_multiple(ds - right, reverse, tolerance) else ()


def _is_cut_off(case: Case, s: np.ndarray, t: np.ndarray, y: np.ndarray) -> bool:
    """Whether the gradient, or that of the teacher's term, is 0."""
    ds, term_ds = case(s, t, y)[1], case.term(s, t, y)[1]
    return not ds.any() or bool(np.abs(term_ds).max() <= max(1e-12, case.noise()) * np.abs(ds).max())


def _in_the_labels(case: Case) -> tuple[Mistake, ...]:
    """The mistake behind a weight of the labels in the gradient that is not 1 - alpha."""
    weight, rounding = case.weight_of_labels()
    if 0 < case.alpha < 1 and same(weight, case.alpha, max(TOLERANCE, rounding)):
        return (known.WEIGHTS_EXCHANGED,)
    other = (Y + 1) % C
    moved = case(case.s, case.t, Y)[0] - case(case.s, case.t, other)[0]
    return (known.DETACHED,) if abs(weight) < rounding and abs(moved) > 1e-9 else ()


def _is_multiple(given: np.ndarray, of: np.ndarray, tolerance: float) -> bool:
    size = np.linalg.norm(given)
    return bool(size > 0 and np.linalg.norm(given - projection(given, of) * of) <= tolerance * size)
