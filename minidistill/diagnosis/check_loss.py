# SPDX-License-Identifier: MIT
"""check_loss(): tests the invariants of a distillation loss on a function, and names known mistakes in a wrong one."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import ops
from ..losses import WeightedSum, as_loss
from ..support.checks import check_number
from .case import Case, rounding_error
from .invariants import FIRST, INVARIANTS, STATEMENTS, violation
from .mistakes import Diagnosis, Finding
from .recognition import recognize_mistakes


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
    path = _of_three("loss", loss)
    other = None if same_as is None else _of_three("same_as", same_as)
    T = getattr(loss, "temperature", 4.0) if temperature is None else temperature
    T = check_number("temperature", T, "(0, 1e4]")
    weight = check_number("alpha", getattr(loss, "alpha", 1.0) if alpha is None else alpha, "[0, 1]")
    left_out = _left_out(loss, exempt, weight, same_as)
    eps = max(rounding_error(each, T) for each in (path, other) if each is not None)
    case = Case(path, T, weight, other, "soft target" in left_out, eps)

    found: dict[str, str | None] = {}
    for name in [name for name in INVARIANTS if name not in left_out]:
        found[name] = violation(name, case)
        if name in FIRST and found[name] is not None:
            break  # the others would say the same in other words
    seen = {name: text for name, text in found.items() if text is not None}
    mistakes = recognize_mistakes(case, seen)
    findings = [Finding(name, STATEMENTS[name], text, mistakes[name]) for name, text in seen.items()]
    subject = f"{getattr(loss, '__name__', None) or repr(loss)}, taken to have temperature {T:g} and alpha {weight:g}"
    return Diagnosis(subject, tuple(findings), tuple(name for name in found if name not in seen))


def _check_sum(loss: WeightedSum, temperature: Any, alpha: Any, exempt: Iterable[str]) -> Diagnosis:
    """A sum of right losses is right: each is checked."""
    parts = [check_loss(part, temperature, alpha, exempt=exempt) for part in loss.losses]
    findings = tuple(finding for part in parts for finding in part.findings)
    broken = {finding.invariant for finding in findings}
    held = tuple(name for name in STATEMENTS if name not in broken and any(name in part.held for part in parts))
    return Diagnosis(f"each of {loss!r}", findings, held)


def _left_out(loss: Any, exempt: Iterable[str], alpha: float, same_as: Any) -> set[str]:
    """The names of the invariants that are not tried."""
    names = {exempt} if isinstance(exempt, str) else set(exempt)
    if not names <= set(STATEMENTS):
        raise ValueError(f"exempt must hold names of invariants, {', '.join(STATEMENTS)}; got {sorted(names)}")
    names |= set(getattr(loss, "unclaimed", ()))
    if alpha == 0:
        names |= {"teacher", "match", "soft target"}  # nothing is left of the teacher's term
    if "soft target" in names:
        names.add("sure and wrong")
    return names if same_as is not None else names | {"same path"}


def _of_three(name: str, loss: Callable[..., Any]) -> Callable[..., Any]:
    """The loss as a function of s, t and y alone; where it must have a backend it gets that of ops.py."""
    as_loss(loss, name)  # raises for what is none
    try:
        parameters = inspect.signature(loss).parameters.values()
    except (TypeError, ValueError):  # of something compiled
        return loss
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [each for each in parameters if each.kind in positional and each.default is inspect.Parameter.empty]
    return (lambda s, t, y: loss(s, t, y, ops)) if len(needed) == 4 else loss
