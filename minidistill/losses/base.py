# SPDX-License-Identifier: MIT
"""What every loss has in common: how it is called, how losses add up, and what they refuse."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from .. import ops as numpy_ops
from ..network import MLP, Outputs
from ..support.checks import check_finite, check_labels, check_number
from ..support.deprecation import renamed_attribute


class LossClass(type):
    """The class of loss classes, so that 0.5 * SoftTarget names the missing parentheses."""

    __array_ufunc__ = None

    def _refuse(cls, other: Any) -> Any:
        as_loss(cls, "a loss in a sum")

    __mul__ = __rmul__ = __add__ = __radd__ = _refuse


class Loss(metaclass=LossClass):
    """The base of every loss: a callable from (s, t, y) to (value, ds); `ops` is the backend that computes it.

    s, t and ds are arrays of logits (B,C), or Outputs where the loss has `needs_hidden`; y are labels (B,), rows of
    probabilities (B,C) or None. A plain function of (s, t, y, ops) is a loss as well: `as_loss` wraps it.

    Losses can be added and multiplied by a weight: 0.5 * SoftTarget(4.0, 1.0) + 0.1 * LogitMatching(1.0).
    """

    __array_ufunc__ = None  # or an array times a loss would be an array of losses
    has_unchecked: ClassVar[bool] = False  # not for a subclass with a call of its own, which `fit` must not miss
    unclaimed: ClassVar[tuple[str, ...]] = ()  # invariants of `check_loss` that the method does not have

    def __call__(self, s: Any, t: Any, y: np.ndarray | None, ops: Any = numpy_ops) -> tuple[float, Any]:
        raise NotImplementedError

    def unchecked(self, s: Any, t: Any, y: np.ndarray | None, ops: Any = numpy_ops) -> tuple[float, Any]:
        """The same for labels that are known to be right, where a loss has it: `fit` checks its data only once."""
        raise NotImplementedError

    @property
    def needs_hidden(self) -> bool:
        """Whether the loss compares hidden activations, so that s, t and ds are Outputs."""
        return False

    wants_hidden = renamed_attribute("wants_hidden", "needs_hidden")

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "wants_hidden" in vars(cls):
            raise TypeError(f"wants_hidden is renamed to needs_hidden: rename it in {cls.__name__}")
        own = {name: next(kind for kind in cls.__mro__ if name in vars(kind)) for name in ("unchecked", "__call__")}
        cls.has_unchecked = issubclass(own["unchecked"], own["__call__"])

    @property
    def learners(self) -> tuple[Any, ...]:
        """Networks of the loss that `fit` trains with the student; None for those that `start` has yet to make."""
        return ()

    def start(self, student: MLP, teacher_widths: Sequence[int], seed: int) -> "Loss":
        """The same loss, with `learners` for this student and a teacher with hidden layers of these widths."""
        return self

    def at_progress(self, progress: float) -> "Loss":
        """The loss after this fraction of the training, in [0, 1)."""
        return self

    def compiled(self) -> dict[str, float] | None:
        """The constants of a compiled epoch; None where there is no kernel for exactly this loss."""
        return None

    def __mul__(self, weight: float) -> "WeightedSum":
        return WeightedSum((self,), (weight,))

    __rmul__ = __mul__

    def __add__(self, other: Any) -> "WeightedSum":
        return WeightedSum((self, other), (1.0, 1.0)) if callable(other) else NotImplemented

    def __radd__(self, other: Any) -> "WeightedSum":  # a function has no +
        return WeightedSum((other, self), (1.0, 1.0)) if callable(other) else NotImplemented


OF_A_LOSS = ("needs_hidden", "wants_hidden", "learners", "start", "at_progress", "compiled")
LossLike = Loss | Callable[..., tuple[float, Any]]  # what functions that take a loss accept


@dataclass(frozen=True, repr=False)
class FunctionLoss(Loss):
    """A function of (s, t, y, ops), or another callable that is no `Loss`, as a loss."""

    function: Callable[..., tuple[float, Any]]

    def __call__(self, s: Any, t: Any, y: Any, *ops: Any) -> tuple[float, Any]:
        return self.function(s, t, y, *ops)

    def __repr__(self) -> str:
        return getattr(self.function, "__name__", None) or repr(self.function)


def as_loss(loss: Any, name: str = "loss") -> Loss:
    """`loss` as a `Loss`; TypeError for what is none. The class of a loss is callable too, and has its own message."""
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, type):
        raise TypeError(f"{name} must be a loss, got the class {loss.__name__}: write {loss.__name__}()")
    if not callable(loss):
        raise TypeError(f"{name} must be a loss, such as CrossEntropy(), got {loss!r}")
    ignored = [attribute for attribute in OF_A_LOSS if hasattr(loss, attribute)]
    if ignored:
        raise TypeError(
            f"{name} has {ignored[0]}, which only a minidistill.losses.Loss has: make {type(loss).__name__} a subclass "
            "of it"
        )
    return FunctionLoss(loss)


@dataclass(frozen=True, repr=False)
class WeightedSum(Loss):
    """The sum of weights[k] losses[k]: L = w_1 L_1 + w_2 L_2 + ..., and ds likewise [SUM-1].

    It is flat: a sum of sums has their losses side by side. A loss of weight 0 is not computed, and needs nothing.
    Where one of the others looks at hidden activations, s and t are Outputs, and those that do not get the logits.
    """

    losses: tuple[Loss, ...]  # or functions, which become losses
    weights: tuple[float, ...]  # each finite and at least 0

    def __post_init__(self) -> None:
        if not isinstance(self.losses, tuple | list) or not isinstance(self.weights, tuple | list):
            raise TypeError(f"losses and weights must be tuples, got {self.losses!r} and {self.weights!r}")
        if len(self.losses) == 0 or len(self.losses) != len(self.weights):
            raise ValueError(f"losses must have a weight each, got {len(self.losses)} and {len(self.weights)} weights")
        losses: list[Loss] = []
        weights: list[float] = []
        for loss, weight in zip(self.losses, self.weights, strict=True):
            loss = as_loss(loss, "each of losses")
            weight = check_number("the weight of a loss", weight, "[0, inf)")
            inside = loss if type(loss) is WeightedSum else None  # a subclass may compute something else
            losses += inside.losses if inside else [loss]
            weights += [weight * own for own in inside.weights] if inside else [weight]
        for weight in weights:
            check_number("the weight of a loss", weight, "[0, inf)")  # a product of large ones is infinite
        object.__setattr__(self, "losses", tuple(losses))
        object.__setattr__(self, "weights", tuple(weights))

    def __call__(self, s: Any, t: Any, y: np.ndarray | None, ops: Any = numpy_ops) -> tuple[float, Any]:
        """Value and gradient ds (B,C), or Outputs; what t and y must be is what the losses need."""
        return self._sum(s if isinstance(s, Outputs) else _numbers("s must be an array of logits", s), t, y, ops)

    def unchecked(self, s: Any, t: Any, y: np.ndarray | None, ops: Any = numpy_ops) -> tuple[float, Any]:
        return self._sum(s, t, y, ops, checked=True)

    def _sum(self, s: Any, t: Any, y: np.ndarray | None, ops: Any, checked: bool = False) -> tuple[float, Any]:
        value, ds = 0.0, np.zeros_like(_logits(s))
        dhidden: dict[int, Any] = {}  # of the layers that a loss looks at
        for weight, loss in self.terms:
            if not loss.needs_hidden:
                part, dlogits = value_and_ds(loss, _logits(s), _logits(t), y, ops, checked=checked)
            else:
                part, dpart = value_and_ds(loss, s, t, y, ops, checked=checked)
                dlogits = dpart.logits
                for k, dh in enumerate(dpart.hidden):
                    if dh is not None:
                        dhidden[k] = dhidden.get(k, 0) + weight * dh            # (B,H)
                for learner in loss.learners:
                    learner.gradients *= weight
            value, ds = value + weight * part, ds + weight * dlogits            # (), (B,C)  [SUM-1]
        return value, Outputs(ds, [dhidden.get(k) for k in range(len(s.hidden))]) if self.needs_hidden else ds

    @property
    def terms(self) -> list[tuple[float, Any]]:
        """Weight and loss of those whose weight is not 0."""
        return [(weight, loss) for weight, loss in zip(self.weights, self.losses, strict=True) if weight > 0]

    @property
    def needs_hidden(self) -> bool:
        """Whether one of its losses does."""
        return any(loss.needs_hidden for _, loss in self.terms)

    @property
    def learners(self) -> tuple[Any, ...]:
        """Those of its losses."""
        return tuple(learner for _, loss in self.terms for learner in loss.learners)

    def start(self, student: MLP, teacher_widths: Sequence[int], seed: int) -> "WeightedSum":
        """The same sum without losses of weight 0, each of the others started."""
        started = [(loss.start(student, teacher_widths, seed), weight) for weight, loss in self.terms]
        losses, weights = zip(*started, strict=True) if started else (self.losses, self.weights)
        return replace(self, losses=losses, weights=weights)

    def at_progress(self, progress: float) -> "WeightedSum":
        """The sum of its losses after this fraction of the training."""
        losses = tuple(loss.at_progress(progress) for loss in self.losses)
        return self if losses == self.losses else replace(self, losses=losses)

    def __repr__(self) -> str:
        terms = zip(self.weights, self.losses, strict=True)
        return " + ".join(f"{loss!r}" if weight == 1 else f"{weight!r} * {loss!r}" for weight, loss in terms)


class WrongReturn(TypeError):
    """A loss returned something other than its value and ds."""


def value_and_ds(loss: LossLike, s: Any, t: Any, y: Any, *ops: Any, checked: bool = False) -> tuple[float, Any]:
    """Value and ds that `loss` returns; WrongReturn where that is no number and no array (or Outputs) in the form of s.

    `ops` is the backend, left out where the loss is a function of s, t and y alone. `checked` says that the labels are
    known to be right.
    """
    call = loss.unchecked if checked and isinstance(loss, Loss) and loss.has_unchecked else loss
    returned = call(s, t, y, *ops)
    value, ds = returned if isinstance(returned, tuple | list) and len(returned) == 2 else (None, None)
    shape = np.shape(_logits(s))
    is_number = isinstance(value, float | np.floating) or (
        hasattr(value, "__float__") and np.ndim(value) == 0 and not np.iscomplexobj(value)
    )
    if is_number and isinstance(ds, Outputs) == isinstance(s, Outputs) and getattr(_logits(ds), "shape", None) == shape:
        return float(value), ds
    got = f"{_form(value)} and {_form(ds)}" if value is not None or ds is not None else _form(returned)
    wanted = f"an array of shape {shape}" if not isinstance(s, Outputs) else f"Outputs with logits of shape {shape}"
    name = getattr(loss, "__name__", None) or repr(loss)
    raise WrongReturn(f"loss must return its value, a number, and ds, {wanted}; {name} returned {got}")


def _form(returned: Any) -> str:
    """A short description of a value that a loss returned."""
    if getattr(returned, "shape", ()):
        return f"an array of shape {tuple(returned.shape)}"
    if isinstance(returned, tuple | list):
        return f"a {type(returned).__name__} of {len(returned)}"
    return repr(returned) if returned is None or isinstance(returned, int | float | str) else type(returned).__name__


def _logits(outputs: Any) -> Any:
    return outputs.logits if isinstance(outputs, Outputs) else outputs


def matched(s: Any, y: Any) -> tuple[Any, Any]:
    """s (B,C), and y (B,) labels or (B,C) probabilities or None, in the dtype of s.

    Refuses what does not belong together: broadcasting, and negative indices, would hide the mistake.
    """
    s = _numbers("s must be an array of logits", s)
    if s.ndim != 2 or len(s) == 0:
        raise ValueError(f"s must be logits of shape (B, C) with at least one row, got shape {s.shape}")
    if s.dtype.kind != "f":
        s = s.astype(np.float64)  # or t would be rounded to whole numbers too
    if y is not None:
        y = _numbers("y must be labels, or rows of probabilities", y)
        if y.ndim == 1:
            return s, check_labels("y", y, *s.shape)
        y = y.astype(s.dtype, copy=False)
        if y.shape != s.shape:
            raise ValueError(f"y must have shape {s.shape[:1]} (labels) or {s.shape} (probabilities), got {y.shape}")
        if not np.allclose(y.sum(axis=1), 1, atol=1e-3):
            raise ValueError("y must have rows of probabilities that sum to 1")
    return s, y


def _numbers(wanted: str, values: Any) -> np.ndarray:
    """`values` as an array of real numbers; TypeError or ValueError, which begin with `wanted`, otherwise."""
    try:
        array = np.asarray(values)
    except ValueError:
        raise ValueError(f"{wanted}, got rows of different lengths") from None
    if array.dtype.kind not in "fiub":
        dtype = f"dtype {array.dtype}" if isinstance(values, np.ndarray) else type(values).__name__
        raise TypeError(f"{wanted}, got {dtype}")
    return array


def like_student(t: Any, s: np.ndarray) -> np.ndarray:
    """The teacher's logits t in the dtype of s (B,C); refuses missing ones, and those of another shape."""
    if t is None:
        raise ValueError("t (teacher logits) is missing: train with distill(), or with fit(..., targets=...)")
    if not isinstance(t, np.ndarray | list | tuple):
        raise TypeError(f"t must be an array of logits, got {type(t).__name__}")
    t = _numbers("t must be an array of logits", t)
    if t.shape != s.shape:
        raise ValueError(f"t must have the shape of s, {s.shape}, got {t.shape}")
    return np.asarray(t, s.dtype)


def need_labels(y: Any, alpha: float) -> None:
    """Refuses missing labels where the teacher's weight leaves them a say."""
    if y is None and alpha < 1:
        raise ValueError(f"y (labels) is missing: only alpha=1 learns without labels, alpha is {alpha}")


def as_rows(y: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Labels y (B,) as rows of probabilities (B,C) like s; rows stay what they are."""
    return y if y.ndim == 2 else np.asarray(numpy_ops.one_hot(y, s.shape[1], s.dtype))


def check_logits(s: np.ndarray, t: np.ndarray | None, what: str = "logits") -> None:
    """Refuses NaN and infinity, and says in whose logits they are, and where."""
    check_finite(f"s (student {what})", s)
    if isinstance(t, np.ndarray):  # a TopK is checked when it is made
        check_finite(f"t (teacher {what})", t)


def checked(value: Any, s: np.ndarray, t: np.ndarray | None, what: str = "logits") -> float:
    """`value` as a float. NaN and infinity in s and t always reach it, so nothing is searched while it is finite."""
    if not math.isfinite(value):
        check_logits(s, t, what)
    return float(value)
