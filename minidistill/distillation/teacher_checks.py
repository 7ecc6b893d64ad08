# SPDX-License-Identifier: MIT
"""Checks of a teacher's outputs before a student trains: do they belong to these rows, and are they informative?

Logits without row hashes are refused if their rows may be in the wrong order. Warnings name a teacher that is less
accurate than a simple classifier of the same rows, and one that is nearly one-hot.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..data import Dataset
from ..data.augmentation import Augment, as_list, augmented
from ..network import MLP, Outputs
from ..support.checks import check_rows, warn
from ..training.baselines import DEVIATIONS, FEWEST_ROWS, class_counts, sample_of_rows, warn_if_inaccurate

MOST_LOGITS = 1 << 22  # that are checked: fewer rows where there are many classes
ROUNDING = 1e-9     # a standard deviation below this is 0: no order of these rows is better than another
CONFIDENT = 0.8     # the least largest probability of an output that may be called one-hot
NEARLY_ALL = 0.9    # of the rows
DEEPEST_FLOOR = 12  # below the logits of the likeliest classes
OFTEN = 0.2         # share of the entries that are at the floor
CONSTANT = 0.01     # largest logarithm of the sum of a row of probabilities with a floor


def check_order(logits: np.ndarray, data: Dataset) -> None:
    """Refuses bare logits (N,C) whose rows suit the labels no better than the same rows in any order.

    The mean log-probability of the labels is compared with its mean and standard deviation over all orders of the rows.
    It must be three standard deviations above the mean.
    """
    if data.y is None or len(data) < FEWEST_ROWS:
        return
    classes = logits.shape[1]
    if data.y.max() >= classes:
        return  # `fit` refuses these labels
    probabilities, _ = ops.softmax_forward(logits.astype(np.float64))           # (N,C)
    shares = class_counts(data.y, classes) / len(data)                          # (C,)
    in_place = probabilities[np.arange(len(data)), data.y].mean()
    anywhere = (probabilities @ shares).mean()
    deviation = _deviation_over_orders(probabilities, shares)
    if deviation > ROUNDING and in_place < anywhere + DEVIATIONS * deviation:
        raise ValueError(
            f"teacher logits do not seem to belong to these rows: they give the labels a mean probability of "
            f"{in_place:.3f}, and would give {anywhere:.3f} in a random order. If the order is right, pass "
            "SoftTargets.of(logits, data)"
        )


def _deviation_over_orders(probabilities: np.ndarray, shares: np.ndarray) -> float:
    """Standard deviation, over all orders of the N rows, of the mean probability given to the labels.

    It is that of a permutation statistic: the sum of d^2 over all pairs of a row and a label, over N^2 (N - 1), where d
    is a probability minus the means of its row and its label plus the overall mean (Hoeffding 1951, theorem 2).
    """
    N = len(probabilities)
    row_means = probabilities @ shares                                          # (N,)
    label_means = probabilities.mean(axis=0)                                    # (C,)
    d = probabilities - row_means[:, None] - label_means + row_means.mean()     # (N,C)
    return float(np.sqrt((d**2 @ shares).sum() / (N * (N - 1))))


def diagnose(targets: Any, student: MLP, data: Dataset, augment: Augment | Sequence[Augment] | None = None) -> None:
    """Warns where the outputs of a teacher for `data` are likely to mislead the student.

    targets  the teacher's logits (N,C) or its Outputs, or a function from x (N,I) to either, which is called with rows
             that `augment` has changed, as the student sees them
    """
    if len(data) < FEWEST_ROWS:
        return
    rows = sample_of_rows(len(data))[: max(MOST_LOGITS // student.sizes[-1], FEWEST_ROWS)]         # (n,)
    x, y = data.x[rows], None if data.y is None else data.y[rows]
    if callable(targets):
        x, y = augmented(as_list(augment), x.astype(student.dtype), y, np.random.default_rng(0))
        logits = _logits(targets(x))
    elif len(targets) == len(data):
        logits = _logits(targets)[rows]
    else:
        return  # `fit` refuses these targets
    logits = check_rows("teacher logits", logits)                               # (n,C)
    if not warn_if_one_hot(logits):
        warn_if_floor_is_low(logits)
    if y is None or len(y) != len(logits):
        return
    labels = y if y.ndim == 1 else y.argmax(axis=1)                             # mixed labels are rows of shares
    if labels.max() < student.sizes[-1] == logits.shape[1]:
        warn_if_inaccurate(logits.argmax(axis=1), x, labels)


def _logits(outputs: Any) -> np.ndarray:
    return np.asarray(outputs.logits if isinstance(outputs, Outputs) else outputs)


def warn_if_one_hot(logits: np.ndarray) -> bool:
    """Whether nearly all rows of a teacher's logits (N,C) have the same gap between one class and all others; warns.

    The gap, log(p / (1 - p)) of the largest probability p, is computed from logits: even a network whose p rounds to 1
    has another gap in each row.
    """
    ordered = np.sort(logits.astype(np.float64), axis=1)                        # (N,C)
    gap = ordered[:, -1] - np.logaddexp.reduce(ordered[:, :-1], axis=1)         # (N,)
    same = np.isclose(gap, gap.max(), rtol=1e-3) & (gap > np.log(CONFIDENT / (1 - CONFIDENT)))     # (N,)
    if same.mean() >= NEARLY_ALL:
        warn(
            f"the teacher is nearly one-hot: in {same.mean():.0%} of the rows it gives one class all of the "
            "probability, so that the student learns hardly more than a label. Decision trees and nearest neighbors "
            "do so on the rows that they were fitted on. Use out-of-fold probabilities "
            "(sklearn.model_selection.cross_val_predict), a forest with min_samples_leaf=5 or another ensemble, or "
            "calibrated probabilities; a temperature does not change it"
        )
        return True
    return False


def warn_if_floor_is_low(logits: np.ndarray) -> None:
    """Warns where a teacher's logits (N,C) are log-probabilities, many the same very low number, as of p + 1e-9.

    Measured on the digits with the rows of a forest: a floor of 1e-5, a gap of 11.5, costs up to 2 percentage points
    of accuracy, one of 1e-9, a gap of 20.7, up to 12.
    """
    lowest = float(logits.min())
    gap = float(np.median(logits.max(axis=1))) - lowest
    share = float((logits - lowest < 1e-3 * gap).mean())
    log_sums = np.logaddexp.reduce(logits.astype(np.float64), axis=1)           # (N,) 0 for log-probabilities
    if gap > DEEPEST_FLOOR and share >= OFTEN and (np.abs(log_sums) < CONSTANT).mean() >= NEARLY_ALL:
        warn(
            f"in {share:.0%} of its entries the teacher's logits are {lowest:.3g}, {gap:.3g} below those of its "
            "likeliest classes, as logarithms of probabilities of 0 with a tiny floor are. They outweigh all others, "
            "and no temperature softens them. Pass np.log(probabilities + 0.01), or an object with predict_proba"
        )
