# SPDX-License-Identifier: MIT
"""Baselines that train nothing, the largest class and nearest centroids, and a warning for a teacher below them."""

import numpy as np

from ..support.checks import warn

FEWEST_ROWS = 30    # with fewer, chance alone can make a good teacher look like a wrong one
MOST_ROWS = 500     # drawn at random: they give the accuracy of a teacher to within 7 percentage points
FAR_BELOW = 0.75    # of the accuracy of nearest centroids: weak teachers stay above it, mismatched rows do not
BELOW = 0.9         # the same of a teacher of one constant class
DEVIATIONS = 3      # standard deviations by which an accuracy must be below another one


def warn_if_inaccurate(predicted: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Warns where a teacher's classes (N,) of x (N,I) are wrong more often than those of trivial classifiers.

    They are compared with the best constant class and with the nearest centroid of the standardized columns, each row
    by the centroids of the other half of the rows. That classifier has no hyperparameters and takes two products.
    Accuracy and the mean recall of the classes must both be below, by more than chance: a teacher of imbalanced classes
    may have been fitted for either. A teacher of one constant class must reach 90% of theirs, others 75%.
    """
    if len(y) < FEWEST_ROWS:
        return
    rows = sample_of_rows(len(y))                                                      # (n,)
    predicted, x, y = predicted[rows], x[rows], y[rows]
    present = np.unique(y)
    shares = class_counts(y, int(y.max()) + 1) / len(y)                         # (C,)
    constant = np.array([shares.max(), 1 / len(present)])                       # accuracy, mean recall
    teacher, centroids = _scores(predicted, y), _scores(_by_nearest_centroid(x, y), y)
    is_constant = bool((predicted == predicted[0]).all())
    bound = (BELOW if is_constant else FAR_BELOW) * centroids
    if not (_below(teacher, constant, len(y)) or _below(teacher, bound, len(y))):
        return
    warn(
        f"the teacher's accuracy on the labeled rows is {teacher[0]:.1%}. The largest class has {constant[0]:.1%} of "
        f"the rows, and nearest centroids reach {centroids[0]:.1%}. Likely causes: the teacher was fitted on rows with "
        "other scaling, on columns in another order, or with the classes in another order. Evaluate it on rows like "
        "those that it was fitted on, and distill from SoftTargets.of(logits, data). Pass check_teacher=False where "
        "such a teacher is intended, as in a control"
    )


def sample_of_rows(rows: int) -> np.ndarray:
    """The indices of all rows, or of some of many, in random order."""
    return np.random.default_rng(0).permutation(rows)[:MOST_ROWS]


def class_counts(y: np.ndarray, classes: int) -> np.ndarray:
    """The number of rows of each class, (classes,), of the labels y (N,)."""
    return np.bincount(y.astype(np.intp, copy=False), minlength=classes)  # a 32-bit Python takes no int64 here


def _scores(predicted: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Accuracy and the mean recall over the classes that y (N,) has: (2,)."""
    right = predicted == y                                                      # (N,)
    counts = class_counts(y, 0)                                                 # (C,)
    recalls = class_counts(y[right], len(counts))[counts > 0] / counts[counts > 0]
    return np.array([right.mean(), recalls.mean()])


def _below(scores: np.ndarray, bounds: np.ndarray, rows: int) -> bool:
    """Whether both scores are below their bounds by more than chance explains."""
    return bool((scores < bounds - DEVIATIONS * np.sqrt(bounds * (1 - bounds) / rows)).all())


@np.errstate(over="ignore", invalid="ignore")
def _by_nearest_centroid(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The class (N,) of the nearest centroid for each row of x (N,I), of centroids of the other half of the rows."""
    x = x.astype(np.float64)                                                    # (N,I)
    deviations = x.std(axis=0)                                                  # (I,)
    x = (x - x.mean(axis=0)) / np.where(deviations > 0, deviations, 1)          # (N,I)
    order = np.random.default_rng(0).permutation(len(y))                        # (N,)
    halves = order[::2], order[1::2]
    predicted = np.empty(len(y), np.int64)                                      # (N,)
    for these, others in (halves, halves[::-1]):
        classes, index = np.unique(y[others], return_inverse=True)
        members = index == np.arange(len(classes))[:, None]                     # (C,N/2)
        centroids = members @ x[others] / members.sum(axis=1, keepdims=True)    # (C,I)
        squared_distances = (centroids**2).sum(axis=1) - 2 * x[these] @ centroids.T     # (N/2,C) up to a constant
        predicted[these] = classes[squared_distances.argmin(axis=1)]
    return predicted
