# SPDX-License-Identifier: MIT
"""training/targets.py: targets belong to the network and the rows, are taken by batch, and are told apart by a hash."""

import numpy as np
import pytest

from minidistill import MLP, Dataset, Outputs, TopK
from minidistill.training.targets import checked_targets, fingerprint_of, targets_of_batch

N, I, C = 6, 2, 3
X = np.random.default_rng(0).standard_normal((N, I)).astype(np.float32)
LOGITS = np.random.default_rng(1).standard_normal((N, C)).astype(np.float32)
DATA = Dataset(X, np.arange(N) % C)
HIDDEN = Outputs(LOGITS, [np.ones((N, 4), np.float32)])


@pytest.fixture
def network():
    return MLP((I, 4, C))


@pytest.mark.parametrize(
    ("targets", "message"),
    [(LOGITS[1:], r"shape \(6, 3\), got \(5, 3\)"), (LOGITS[:, 1:], r"shape \(6, 3\), got \(6, 2\)"),
     (TopK.of(LOGITS[1:], 1, 4.0), "a TopK of 6 rows and 3 classes, got 5 rows"),
     (HIDDEN[1:], "Outputs of 6 rows, got 5")],
    ids=str,
)  # fmt: skip
def test_targets_of_other_rows_or_classes_are_refused(network, targets, message):
    with pytest.raises(ValueError, match=message):
        checked_targets(targets, network, DATA)


def test_labels_are_needed_where_there_are_no_targets(network):
    with pytest.raises(ValueError, match="data must have labels"):
        checked_targets(None, network, Dataset(X))
    with pytest.raises(ValueError, match="at least two classes to learn from, every label is 1"):
        checked_targets(None, network, Dataset(X, np.ones(N, int)))


def test_logits_get_the_dtype_of_the_network():
    assert checked_targets(LOGITS, MLP((I, C), dtype=np.float64), DATA).dtype == np.float64


def test_a_batch_has_its_own_rows_or_what_a_function_computes_for_its_inputs():
    rows = np.array([4, 1])
    np.testing.assert_array_equal(targets_of_batch(LOGITS, rows, X[rows]), LOGITS[rows])
    np.testing.assert_array_equal(targets_of_batch(HIDDEN, rows, X[rows]).hidden[0], HIDDEN.hidden[0][rows])
    np.testing.assert_array_equal(targets_of_batch(lambda x: 2 * x, rows, X[rows]), 2 * X[rows])
    assert targets_of_batch(None, rows, X[rows]) is None


def test_a_function_that_returns_nan_is_refused():
    broken = Outputs(LOGITS, [np.full((N, 4), np.nan, np.float32)])
    for targets in (lambda x: np.nan * LOGITS, lambda x: broken):
        with pytest.raises(ValueError, match="targets must be finite, got nan"):
            targets_of_batch(targets, np.arange(N), X)


def test_other_targets_have_another_fingerprint():
    found = [None, LOGITS, LOGITS + 1, HIDDEN, TopK.of(LOGITS, 1, 4.0), TopK.of(LOGITS, 1, 2.0), lambda x: 3 * x]
    assert len({fingerprint_of(targets, X) for targets in found}) == len(found)
    assert fingerprint_of(lambda x: LOGITS, X) == fingerprint_of(LOGITS, X)
