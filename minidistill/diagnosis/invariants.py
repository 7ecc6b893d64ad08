# SPDX-License-Identifier: MIT
"""check_loss(): what holds of a right distillation loss, tried on yours; and which known mistake a wrong one is.

Most invariants need no second implementation to compare with, only the loss itself: at the match it is 0, a constant
added to a row changes nothing, a batch is the mean of its rows. Each is a function below, and says what it saw where
the loss breaks it. The last ones compare with T^2 KL(p || q), for a loss that claims to be that.

A loss that computes in float32 is recognized by its rounding errors. The logits are then spread over T, because near
the limit of high temperature a divergence in float32 is all rounding, and the tolerances are those of such errors.
"""

import inspect
import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import losses, ops
from ..losses import CrossEntropy, SoftTarget, WeightedSum, as_loss, value_and_ds
from ..losses.base import WrongReturn
from ..support.checks import check_number
from .gradcheck import EPS, GradientError, check_gradient, numerical_gradient, tolerance_of
from .known_formulas import FACTORS, TOLERANCE, examples, factor_mistakes, recognise, same, soft_target
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
    Diagnosis,
    Finding,
    Mistake,
)

TEMPERATURE, ALPHA = 4.0, 1.0  # of a loss that does not say
ROUNDING = 1e-6                # relative: what differs by less is the same, where the dtype has as many digits
EPS_OF_FLOAT32 = float(np.finfo(np.float32).eps)
HALF_PRECISION = (8, 11)       # bits in the significand of bfloat16 and float16
SPREAD, LARGEST = 10.0, 100.0  # of the logits that two calls are compared on; the largest constant added to them
B, C = 5, 7
ValueAndDs = tuple[float, np.ndarray]  # value and ds (B,C)

# What some methods of losses/ do not claim. For a loss of one's own there is the argument `exempt`.
EXEMPT = {
    "CrossEntropy": ("teacher", "labels", "match", "soft target"),
    "LogitMatching": ("shift", "soft target"),
    "VirtualTeacher": ("teacher", "labels", "match", "soft target"),
    "DecoupledKD": ("labels", "soft target"),
    "StandardizedTarget": ("soft target",),
    "DIST": ("batch", "soft target"),
    "NKD": ("labels", "match", "soft target"),
    "Divergence": ("soft target",),
}


@np.errstate(all="ignore")  # a wrong loss may divide by zero: what comes of it is told of, not warned of
def check_loss(
    loss: Callable[..., Any],
    temperature: float | None = None,
    alpha: float | None = None,
    *,
    exempt: Iterable[str] = (),
    same_as: Callable[..., Any] | None = None,
) -> Diagnosis:
    """Whether a loss is what (1-alpha) CE(s, y) + alpha T^2 KL(p || q) has to be, and what is wrong where it is not.

    loss         a function of s (B,C), t (B,C) and y (B,), NumPy arrays, to its value and its gradient ds (B,C); a
                 fourth argument that it must have is the backend, as the losses of this library take it
    temperature  of the loss; its attribute of that name unless given, and 4 where it has none
    alpha        in [0, 1], weight of the teacher; its attribute of that name unless given, and 1 where it has none. For
                 CE + KD, with weights that do not sum to 1, check the teacher's term alone
    exempt       names of invariants that the loss is not meant to have: "soft target" for another measure than
                 KL(p || q), "batch" where it relates rows to each other, "labels" where the term looks at them itself.
                 For the methods of this library, and sums of them, these are known
    same_as      another path to the same loss, such as the slow one of a fast one, that must agree with it

    The loss may compute in float64 or float32, whatever it is handed: the tolerances are those of its rounding errors.

    A wrong loss raises nothing: the Diagnosis says which invariants it breaks, with numbers, and the known mistakes
    that this looks like. It is true where none is broken. Raises TypeError for what is no function, and ValueError for
    settings out of bounds and for exemptions from what there is not.
    """
    if isinstance(loss, WeightedSum) and same_as is None:
        return _check_sum(loss, temperature, alpha, exempt)
    as_loss(loss)
    if same_as is not None:
        as_loss(same_as, "same_as")
    T = _setting("temperature", temperature, loss, TEMPERATURE, "(0, 1e4]")
    weight = _setting("alpha", alpha, loss, ALPHA, "[0, 1]")
    left_out = _left_out(loss, exempt, weight, same_as)
    path, other = _of_three(loss), None if same_as is None else _of_three(same_as)
    eps = max(_rounding_error(each, T) for each in (path, other) if each is not None)
    case = Case(path, T, weight, other, "soft target" in left_out, eps)

    seen: dict[str, str] = {}
    held = []
    for invariant in INVARIANTS:
        name = _name(invariant)
        if name in left_out:
            continue
        found = _found(invariant, case)
        if found is None:
            held.append(name)
            continue
        seen[name] = found
        if invariant in FIRST:
            break  # the others would say the same in other words
    subject = f"{getattr(loss, '__name__', None) or repr(loss)}, taken to have temperature {T:g} and alpha {weight:g}"
    mistakes = _recognised(case, seen)
    findings = [Finding(name, STATEMENTS[name], text, mistakes[name]) for name, text in seen.items()]
    return Diagnosis(subject, tuple(findings), tuple(held))


# ---------------------------------------------------------------------------------------------- the loss at work


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
        return _quietly(self.loss, s, t, y)

    def logits(self, seed: int, rows: int = B, classes: int = C) -> np.ndarray:
        """Logits a few units apart; in float32 a few T, where a divergence is more than rounding."""
        return (max(self.T, 1) if self.eps > EPS else 1) * _logits(seed, rows, classes)

    @property
    def s(self) -> np.ndarray:
        return self.logits(0)

    @property
    def t(self) -> np.ndarray:
        return self.logits(1)

    def noise(self, largest: float = SPREAD) -> float:
        """The relative difference of two values, or gradients, of the term that is due to rounding.

        Each of the two is off by eps times the largest logit, and taking the labels' part away divides by alpha.
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


def _quietly(loss: Callable[..., Any], *arrays: np.ndarray) -> ValueAndDs:
    """Value and ds of s, t and y. Its warnings are not the user's, and what it may write into is a copy."""
    return _unguarded(loss, *(array.copy() for array in arrays))


def _unguarded(loss: Callable[..., Any], s: np.ndarray, t: np.ndarray, y: np.ndarray) -> ValueAndDs:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value, ds = value_and_ds(loss, s, t, y)
    return value, np.asarray(ds, np.float64)


def _rounding_error(loss: Callable[..., Any], T: float) -> float:
    """The relative size of a loss's rounding errors: eps of float64, or of float32 if not more.

    At some logits a loss is a straight line, which float32 may compute without an error: two scales are tried.
    """
    wide, narrow = _roughness(loss, max(T, 1.0)), _roughness(loss, 1.0)
    return max(wide, EPS_OF_FLOAT32) if max(wide, narrow) > EPS_OF_FLOAT32 / 8 else EPS


def _roughness(loss: Callable[..., Any], width: float) -> float:
    """By how much value and gradient leave a straight line, relative to their size, at logits of this width.

    The logits are moved by steps that float32 just resolves. On so short a way the curve is less than 1e-9.
    """
    found = 0.0
    for seed in range(4):
        step = 8 * EPS_OF_FLOAT32 * np.random.default_rng(seed).standard_normal((2, B, C))
        try:
            before, here, after = (
                np.array([value, *ds.ravel()])
                for value, ds in (_quietly(loss, *width * (np.stack([S, TEACHER]) + k * step), Y) for k in (-1, 0, 1))
            )
        except Exception:  # it will be found to raise
            return 0.0
        errors, sizes = np.abs(before - 2 * here + after) / 2, np.abs(here)  # of three roundings, one of them twice
        for error, size in ((errors[0], sizes[0]), (errors[1:].max(), sizes[1:].max())):
            found = max(found, float(error / size) if size > 0 else 0.0)
    return found


def _logits(seed: int, rows: int, classes: int) -> np.ndarray:
    """Logits as a trained network gives them: a few units apart."""
    return 1.5 * np.random.default_rng(seed).standard_normal((rows, classes))


S, TEACHER, Y = _logits(0, B, C), _logits(1, B, C), np.array([6, 0, 3, 3, 1])

# ---------------------------------------------------------------------------------------------- the invariants
# Each says what it saw where the loss breaks it, and None where it holds.


def form(case: Case) -> str | None:
    """It gives a finite value, and a finite gradient of the shape of s, in float32 or float64."""
    value, ds = case(S, TEACHER, Y)
    for bits in HALF_PRECISION:
        rounded = _rounded(S, bits), _rounded(TEACHER, bits)
        if _equal((value, ds), case(*rounded, Y)) and not _equal((value, ds), case(_logits(2, B, C), TEACHER, Y)):
            return f"it is the same for logits rounded to {bits} bits: half precision leaves too few digits for a check"
    return _not_finite(value, ds, "for logits a few units apart")


def repeatable(case: Case) -> str | None:
    """The same call gives the same answer, and what it is given stays as it is."""
    (first, _), (second, _) = case(S, TEACHER, Y), case(S, TEACHER, Y)
    if not same(first, second, ROUNDING):
        return f"two calls with the same s, t and y give {first:.6g} and {second:.6g}"
    before = {"s": S, "t": TEACHER, "y": Y}
    after = {name: array.copy() for name, array in before.items()}
    _unguarded(case.loss, *after.values())
    changed = [name for name in before if not np.array_equal(after[name], before[name])]
    return f"it writes into {' and '.join(changed)}" if changed else None


def student(case: Case) -> str | None:
    """The teacher's term depends on the student's logits s."""
    value, ds = case.term(S, TEACHER, Y)
    other, _ = case.term(_logits(2, B, C), TEACHER, Y)
    if _is_nothing(case, value - other, ds, S):
        return f"the term is {value:.4g} and its gradient 0 whatever s is"
    return None


def teacher(case: Case) -> str | None:
    """The teacher's term depends on the teacher's logits t."""
    value, ds = case.term(S, TEACHER, Y)
    other, other_ds = case.term(S, _logits(2, B, C), Y)
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
    weight, rounding = _weight_of_labels(case)
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
    mean, mean_ds = _mean_of_rows(case)
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
    seen = _not_finite(*case(_logits(3, 2, 2), _logits(4, 2, 2), y), "for two classes a few units apart")
    for gap in _gaps(case.T):
        s = np.array([[gap, 0], [0, gap]], np.float32)
        seen = seen or _not_finite(*case(s, s[::-1], y), f"for two classes {gap:g} apart")
    return seen


def same_path(case: Case) -> str | None:
    """Both paths give the same value and the same gradient."""
    assert case.other is not None
    for rows, classes in ((B, C), (1, C), (B, 2)):
        s, t, y = case.logits(5, rows, classes), case.logits(6, rows, classes), np.arange(rows) % classes
        one, other = case(s, t, y), _quietly(case.other, s, t, y)
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
    factor = _projection(case.term(near_s, near_t, y)[1], right(near_s, near_t, None)[1])  # a wrong factor is no news
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


def _name(invariant: Callable[[Case], str | None]) -> str:
    return invariant.__name__.removesuffix("_term").replace("_", " ")


STATEMENTS = {_name(invariant): inspect.getdoc(invariant) or "" for invariant in INVARIANTS}


def _found(invariant: Callable[[Case], str | None], case: Case) -> str | None:
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


def _mean_of_rows(case: Case) -> ValueAndDs:
    s, t = case.s, case.t
    alone = [case(s[n : n + 1], t[n : n + 1], Y[n : n + 1]) for n in range(B)]
    return float(np.mean([value for value, _ in alone])), np.concatenate([ds for _, ds in alone]) / B


def _weight_of_labels(case: Case) -> tuple[float, float]:
    """By how much of the cross-entropy's gradient the loss's moves when the labels change, and how exact that is."""
    other, rounding = (Y + 1) % C, max(ROUNDING, case.noise())
    s, t = case.s, case.t
    ds = case(s, t, Y)[1]                                                       # (B,C)
    change = ds - case(s, t, other)[1]                                          # (B,C)
    wanted = CrossEntropy()(s, None, Y)[1] - CrossEntropy()(s, None, other)[1]  # (B,C)
    return _projection(change, wanted), rounding * max(1.0, float(np.abs(ds).max() / np.abs(wanted).max()))


def _projection(given: np.ndarray, wanted: np.ndarray) -> float:
    """How many times `wanted` comes nearest to `given`."""
    return float((given * wanted).sum() / (wanted * wanted).sum())


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


# ---------------------------------------------------------------------------------------------- which mistake it is


def _recognised(case: Case, seen: dict[str, str]) -> dict[str, tuple[Mistake, ...]]:
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
        found = recognise(value, case.T, case.alpha, case.eps)
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
        return factor_mistakes(_projection(ds, right), len(s), C, case.T, max(TOLERANCE, tolerance))
    return (GRADIENT_INTO_TEACHER,) if _is_multiple(ds - right, reverse, tolerance) else ()


def _is_cut_off(case: Case, s: np.ndarray, t: np.ndarray, y: np.ndarray) -> bool:
    """Whether the gradient, or that of the teacher's term, is 0."""
    ds, term_ds = case(s, t, y)[1], case.term(s, t, y)[1]
    return not ds.any() or bool(np.abs(term_ds).max() <= max(1e-12, case.noise()) * np.abs(ds).max())


def _in_the_labels(case: Case) -> tuple[Mistake, ...]:
    """The mistake behind a weight of the labels in the gradient that is not 1 - alpha."""
    weight, rounding = _weight_of_labels(case)
    if 0 < case.alpha < 1 and same(weight, case.alpha, max(TOLERANCE, rounding)):
        return (WEIGHTS_EXCHANGED,)
    other = (Y + 1) % C
    moved = case(case.s, case.t, Y)[0] - case(case.s, case.t, other)[0]
    return (DETACHED,) if abs(weight) < rounding and abs(moved) > 1e-9 else ()


def _in_the_batch(case: Case) -> tuple[Mistake, ...]:
    """What a batch is off by from the mean of its rows."""
    mean, _ = _mean_of_rows(case)
    return factor_mistakes(case(case.s, case.t, Y)[0] / mean, B, C, case.T) if mean else ()


def _is_multiple(given: np.ndarray, of: np.ndarray, tolerance: float) -> bool:
    size = np.linalg.norm(given)
    return bool(size > 0 and np.linalg.norm(given - _projection(given, of) * of) <= tolerance * size)


# ---------------------------------------------------------------------------------------------- what was asked for


def _check_sum(loss: WeightedSum, temperature: Any, alpha: Any, exempt: Iterable[str]) -> Diagnosis:
    """A sum of right losses is right: each is checked."""
    parts = [check_loss(part, temperature, alpha, exempt=exempt) for part in loss.losses]
    findings = tuple(finding for part in parts for finding in part.findings)
    broken = {finding.invariant for finding in findings}
    held = tuple(name for name in STATEMENTS if name not in broken and any(name in part.held for part in parts))
    return Diagnosis(f"each of {loss!r}", findings, held)


def _setting(name: str, given: Any, loss: Any, default: float, interval: str) -> float:
    value = getattr(loss, name, default) if given is None else given
    return check_number(name, value, interval)


def _left_out(loss: Any, exempt: Iterable[str], alpha: float, same_as: Any) -> set[str]:
    """The names of the invariants that are not tried."""
    names = {exempt} if isinstance(exempt, str) else set(exempt)
    if not names <= set(STATEMENTS):
        raise ValueError(f"exempt must hold names of invariants, {', '.join(STATEMENTS)}; got {sorted(names)}")
    for method in type(loss).__mro__:
        if method.__module__.startswith(f"{losses.__name__}."):
            names |= set(EXEMPT.get(method.__name__, ()))
    if alpha == 0:
        names |= {"teacher", "match", "soft target"}  # nothing is left of the teacher's term
    if "soft target" in names:
        names.add("sure and wrong")
    return names if same_as is not None else names | {"same path"}


def _of_three(loss: Callable[..., Any]) -> Callable[..., Any]:
    """The loss as a function of s, t and y alone; where it must have a backend it gets that of ops.py."""
    try:
        parameters = inspect.signature(loss).parameters.values()
    except (TypeError, ValueError):  # of something compiled
        return loss
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [each for each in parameters if each.kind in positional and each.default is inspect.Parameter.empty]
    return (lambda s, t, y: loss(s, t, y, ops)) if len(needed) == 4 else loss
