# SPDX-License-Identifier: MIT
"""Rows that only the teacher labels: unlabeled rows, and rows synthesized from the teacher where there are no data."""

from copy import deepcopy
from typing import Any

import numpy as np

from ..data import Dataset
from ..data.dataset import check_dataset
from ..losses import CrossEntropy, LossLike
from ..network import MLP
from ..support.checks import check_number, check_options, check_seed, check_whole
from ..training.history import History
from .student import OPTIONS, distill
from .teachers import as_probabilities


def pseudo_label(teacher: Any, unlabelled: Dataset, classes: int, threshold: float = 0.0) -> Dataset:
    """The rows of which the teacher is sure, labelled with the class that it finds likeliest (Lee 2013).

    teacher     what `distill` takes as a teacher and can ask
    unlabelled  its labels are not looked at
    threshold   the least probability, in [0, 1], of that class: the others are left out

    Raises ValueError where no row is left.
    """
    check_dataset("unlabelled", unlabelled)
    check_whole("classes", classes, minimum=2)
    check_number("threshold", threshold, "[0, 1]")
    p = as_probabilities(teacher, classes)(unlabelled.x)                        # (N,C)
    sure = p.max(axis=1) >= threshold                                           # (N,)
    if not sure.any():
        raise ValueError(f"threshold must leave a row: the teacher's largest probability is {p.max():.3f}")
    return Dataset(unlabelled.x[sure], p.argmax(axis=1)[sure])


def self_train(
    teacher: Any,
    student: MLP,
    labelled: Dataset,
    unlabelled: Dataset,
    loss: LossLike | None = None,
    *,
    threshold: float = 0.0,
    **options: Any,
) -> History:
    """Trains `student` in place on labelled rows and on those that only the teacher labels (Scudder 1965).

    The teacher is, as a rule, one that learned from the labelled rows alone, as large as the student or smaller. With
    dropout in the student and `augment` this is the noisy student of Xie et al. 2020, which is the next teacher there.

    loss       SoftTarget() unless given: to it the class that the teacher finds likeliest is the row's label, and the
               teacher's logits are the soft target. SoftTarget(alpha=0) is hard pseudo-labels, alpha=1 soft ones
    threshold  as in `pseudo_label`
    options    those of `distill`
    """
    check_options("self_train", options, OPTIONS)
    if not isinstance(student, MLP):
        raise TypeError(f"student must be an MLP, got {type(student).__name__}")
    if not isinstance(labelled, Dataset) or labelled.y is None:
        raise ValueError(f"labelled must be a Dataset with labels, got {labelled!r}")
    pseudo = pseudo_label(teacher, unlabelled, student.sizes[-1], threshold)
    if labelled.x.shape[1] != pseudo.x.shape[1]:
        raise ValueError(f"unlabelled.x must have {labelled.x.shape[1]} columns, got shape {unlabelled.x.shape}")
    both = Dataset(np.concatenate([labelled.x, pseudo.x]), np.concatenate([labelled.y, np.asarray(pseudo.y)]))
    return distill(teacher, student, both, loss, **options)


def data_impressions(
    teacher: MLP,
    count: int,
    *,
    low: float = 0.0,
    high: float = 1.0,
    density: float = 0.3,
    steps: int = 10,
    rate: float = 0.05,
    seed: int = 0,
) -> Dataset:
    """`count` rows made up of what the teacher knows: for `distill` where the data are gone. Labelled with their class.

    teacher    an MLP: its gradient for the input is asked for
    low, high  bounds of every number, low being an empty place, such as paper
    density    up to this share of a row's places is filled at the start, a share and values of its own for each
    steps      of Adam at `rate`, which change a row until the teacher takes it for its class; each class has as many

    Each row starts as sparse noise and climbs the teacher's log-probability of its class. These are the plainer ones,
    class impressions, of Nayak et al. 2019; targets of many classes, drawn from a Dirichlet distribution, are left out.
    Few steps, and starts that vary, leave the rows different from one another.
    """
    if not isinstance(teacher, MLP):
        raise TypeError(f"teacher must be an MLP, got {type(teacher).__name__}")
    check_whole("count", count)
    check_number("low", low, "(-inf, inf)")
    check_number("high", high, f"({low}, inf)")
    check_number("density", density, "(0, 1]")
    check_whole("steps", steps, minimum=0)
    check_number("rate", rate, "(0, inf)")
    random = np.random.default_rng(check_seed(seed))
    network = deepcopy(teacher)                                                 # its gradients are overwritten
    I, C = network.sizes[0], network.sizes[-1]
    y = np.arange(count) % C                                                    # (N,)
    shares = density * random.random((count, 1))                                # (N,1)
    filled = (random.random((count, I)) < shares) * random.random((count, I))   # (N,I)
    x = (low + (high - low) * filled).astype(network.dtype)                     # (N,I)
    m, v = np.zeros((2, x.size), x.dtype)                                       # each (N I,)
    for step in range(steps):
        s, cache = network.forward(x)                                           # (N,C)
        _, ds = CrossEntropy()(s, None, y, network.ops)                         # (N,C)
        dx = np.asarray(network.backward(ds * count, cache, input_gradient=True))           # (N,I) each of its own row
        network.ops.adam_update(x.reshape(-1), dx.reshape(-1), m, v, rate, step + 1)
        np.clip(x, low, high, out=x)
    return Dataset(x, y)
