# SPDX-License-Identifier: MIT
"""Training on standardized rows: the teacher is evaluated on raw rows, and the trained network takes raw rows."""

import numpy as np
import pytest

from minidistill import MLP, Dataset, SoftTarget, distill, fit
from minidistill.distillation.standardized import Standardization, fit_standardized

RANDOM = np.random.default_rng(0)
Y = np.arange(60) % 3
X = (np.eye(3)[Y] + 0.2 * RANDOM.standard_normal((60, 3))) * [1, 50, 2000] + [0, 7, 300]
DATA, VALIDATION = Dataset(X[:40], Y[:40]), Dataset(X[40:], Y[40:])
STANDARDIZATION = Standardization.of(DATA)
TEACHER = MLP((3, 8, 3), seed=1, dtype="float64")
fit(TEACHER, STANDARDIZATION.apply(DATA), epochs=20, batch_size=8)
STANDARDIZATION.fold_into(TEACHER)  # takes raw rows
OPTIONS = {"epochs": 5, "seed": 2, "batch_size": 8}


def student():
    return MLP((3, 4, 3), seed=3, dtype="float64")


def shifted(x, y, generator):
    """An augmentation in raw units."""
    return x + generator.standard_normal(len(x))[:, None], y


@pytest.mark.parametrize("teacher", [None, TEACHER, [TEACHER, TEACHER]], ids=["labels", "teacher", "ensemble"])
def test_the_network_is_the_one_trained_on_standardized_rows_and_takes_raw_ones(teacher):
    network, expected = student(), student()
    training, validation = DATA.standardize(), VALIDATION.standardize(*DATA.mean_std())
    if teacher is None:
        history = fit(expected, training, validation=validation, **OPTIONS)
    else:
        logits = np.asarray(TEACHER.logits(DATA.x))
        history = distill(logits, expected, training, SoftTarget(2.0), validation=validation, **OPTIONS)
    loss = None if teacher is None else SoftTarget(2.0)
    found = fit_standardized(network, DATA, teacher, loss, validation=VALIDATION, **OPTIONS)
    assert found.epochs[-1].loss == pytest.approx(history.epochs[-1].loss, rel=1e-9)
    assert found.epochs[-1].validation_accuracy == history.epochs[-1].validation_accuracy
    np.testing.assert_allclose(network.logits(VALIDATION.x), expected.logits(validation.x), rtol=1e-6, atol=1e-9)


def test_augmentation_and_teacher_work_on_raw_rows():
    seen = []

    def teacher(x):
        seen.append(x)
        return TEACHER.logits(x)

    augmented = []

    def record(x, y, generator):
        augmented.append(x)
        return x, y

    fit_standardized(student(), DATA, teacher, SoftTarget(), augment=[shifted, record], **OPTIONS)
    rows = np.concatenate(augmented)
    assert abs(rows.mean() - DATA.x.mean()) < 0.1 * DATA.x.std()
    np.testing.assert_allclose(np.sort(np.concatenate(seen)[-40:, 2]), np.sort(rows[-40:, 2]), rtol=1e-9)


def test_columns_may_share_their_statistics():
    shared = Standardization.of(DATA, per_column=False)
    z = shared.apply(DATA).x
    assert (shared.mean == shared.mean[0]).all() and (shared.scale == shared.scale[0]).all()
    assert z.mean() == pytest.approx(0, abs=1e-9)
    assert z.std() == pytest.approx(1)


def test_the_inverse_is_folded_into_a_network_of_raw_rows():
    network = TEACHER.copy()
    STANDARDIZATION.fold_inverse_into(network)
    np.testing.assert_allclose(network.logits(STANDARDIZATION.apply(DATA).x), TEACHER.logits(DATA.x), rtol=1e-9)


def test_an_interrupted_network_takes_raw_rows():
    def interrupt(network, history):
        if len(history.epochs) == 3:
            raise KeyboardInterrupt

    network, expected = student(), student()
    for train, data, trained in ((fit_standardized, DATA, network), (fit, DATA.standardize(), expected)):
        with pytest.raises(KeyboardInterrupt):
            train(trained, data, callbacks=(interrupt,), **OPTIONS)
    z = VALIDATION.standardize(*DATA.mean_std()).x
    np.testing.assert_allclose(network.logits(VALIDATION.x), expected.logits(z), rtol=1e-6, atol=1e-9)
