# SPDX-License-Identifier: MIT
"""distill(): a teacher's softened outputs become the targets of a student.

A teacher is anything that gives probabilities or logits (teachers.py). It is evaluated once, in evaluation mode, and
its logits are kept with the rows that they belong to (soft_targets.py).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data import Dataset
from ..data.augmentation import Augment, as_list
from ..data.dataset import check_dataset
from ..losses import Loss, SoftTarget, wants_hidden
from ..network import MLP, Outputs
from ..support.checks import check_logits, check_options, options_of
from ..training.history import History
from ..training.loop import fit
from .soft_targets import SoftTargets, soft_targets
from .teacher_checks import check_order, diagnose
from .teachers import as_teacher


def distill(
    teacher: Any,
    student: MLP,
    data: Dataset,
    loss: Loss | None = None,
    *,
    augment: Augment | Sequence[Augment] | None = None,
    check_teacher: bool = True,
    **options: Any,
) -> History:
    """Trains `student` in place on `data`, with `teacher`'s outputs as targets, and returns the History of `fit`.

    teacher  an MLP; a list of teachers (their mean probability); an object with `logits`, such as a QuantizedMLP, or
             with `predict_proba`, such as a scikit-learn forest, whose probabilities get a floor (`teachers.FLOOR`); a
             function from x (N,I) to logits (N,C); `SoftTargets`; or an array of logits (N,C), whose row i must belong
             to row i of the data (refused where they suit the labels no better than in any order). For a loss of hidden
             activations an object with `outputs`, such as an MLP, or its `Outputs` for these rows
    data     its labels may be missing where the loss does without them
    loss     SoftTarget() unless given
    augment  as in `fit`; the teacher is then evaluated on each augmented batch
    options  all else that `fit` takes: epochs, batch_size, optimizer, seed, validation, patience, callbacks,
             progress, checkpoint

    Gives a UserWarning where the teacher is nearly one-hot, or less accurate on the labels than trivial classifiers.
    `check_teacher=False` turns both off, for controls such as a shuffled teacher. Raises ValueError for probabilities
    in place of logits.
    """
    check_options("distill", options, OPTIONS)
    if not isinstance(student, MLP):
        raise TypeError(f"student must be an MLP, got {type(student).__name__}")
    check_dataset("data", data)
    members = getattr(teacher, "members", teacher)  # an Ensemble has some too
    if any(member is student for member in (members if isinstance(members, list | tuple) else [teacher])):
        raise ValueError("teacher and student are the same network: a student learns nothing from itself")
    loss = SoftTarget() if loss is None else loss
    make = _hidden_targets if wants_hidden(loss) else _logit_targets
    targets = make(teacher, student, data, bool(as_list(augment)))
    if check_teacher:
        diagnose(targets, student, data, augment)
    return fit(student, data, loss, targets=targets, augment=augment, **options)


OPTIONS = (options_of(distill) | options_of(fit)) - {"targets"}


def _logit_targets(teacher: Any, student: MLP, data: Dataset, again: bool) -> Any:
    """The teacher's logits for every row of `data`, or where `again`, a function that computes them."""
    classes = student.sizes[-1]
    if not again:
        return soft_targets(teacher, data, classes).logits_for(data).astype(student.dtype, copy=False)
    if isinstance(teacher, SoftTargets | np.ndarray):
        raise ValueError("augment changes the rows: the teacher must be one that can be asked again, got kept logits")
    logits = as_teacher(teacher, classes)
    return lambda x: logits(x).astype(student.dtype)


def _hidden_targets(teacher: Any, student: MLP, data: Dataset, again: bool) -> Any:
    """The same with hidden activations, as `Outputs`."""
    if callable(getattr(teacher, "outputs", None)):
        return teacher.outputs if again else teacher.outputs(data.x)
    if not isinstance(teacher, Outputs):
        name = type(teacher).__name__
        raise TypeError(f"teacher must be Outputs or have outputs(x), as an MLP has, for this loss, got {name}")
    if again:
        raise ValueError("augment changes the rows: the teacher must be one that can be asked again, got kept Outputs")
    check_logits("teacher logits", teacher.logits)
    if len(teacher) == len(data):  # `fit` refuses other lengths
        check_order(teacher.logits, data)
    return teacher
