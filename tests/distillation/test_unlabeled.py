# SPDX-License-Identifier: MIT
"""Pseudo-labels, self-training and data impressions."""

import numpy as np
import pytest
from arrangements import DATA, OPTIONS, ConstantProbabilities, network

from minidistill import (
    MLP,
    SGD,
    CosineSchedule,
    Dataset,
    RandomShift,
    SoftTarget,
    data_impressions,
    digits,
    distill,
    fit,
    pseudo_label,
    self_train,
    spirals,
)

# ---------------------------------------------------------------------------------------------- rows without labels


def test_a_row_gets_the_class_that_the_teacher_finds_likeliest(teacher):
    unlabelled = spirals(40, seed=8)
    found = pseudo_label(teacher, Dataset(unlabelled.x), 3)
    np.testing.assert_array_equal(found.x, unlabelled.x)
    np.testing.assert_array_equal(found.y, teacher.predict(unlabelled.x))


def test_the_labels_of_unlabelled_rows_are_not_looked_at(teacher):
    unlabelled = spirals(40, seed=8)
    wrong = Dataset(unlabelled.x, (teacher.predict(unlabelled.x) + 1) % 3)
    np.testing.assert_array_equal(pseudo_label(teacher, wrong, 3).y, teacher.predict(unlabelled.x))


def test_a_threshold_leaves_the_rows_of_which_the_teacher_is_sure(teacher):
    unlabelled = spirals(200, seed=8)
    sure = teacher.predict_proba(unlabelled.x).max(axis=1) >= 0.9
    assert 0 < sure.sum() < 200
    np.testing.assert_array_equal(pseudo_label(teacher, unlabelled, 3, 0.9).x, unlabelled.x[sure])


def test_self_training_is_distilling_on_both_kinds_of_rows(teacher):
    few, unlabelled = DATA.take(20), spirals(80, seed=8)
    student, by_hand = network(9), network(9)
    self_train(teacher, student, few, unlabelled, SoftTarget(2.0, 0.5), threshold=0.8, **OPTIONS)
    extra = pseudo_label(teacher, unlabelled, 3, 0.8)
    both = Dataset(np.concatenate([few.x, extra.x]), np.concatenate([few.y, extra.y]))
    distill(teacher, by_hand, both, SoftTarget(2.0, 0.5), **OPTIONS)
    np.testing.assert_array_equal(student.parameters, by_hand.parameters)


def test_unlabelled_digits_make_a_student_better_than_its_teacher():
    train, test = digits()
    few, rest = train.split(40)
    right = []
    for seed in range(5):
        teacher, student = MLP((64, 32, 10), seed=seed), MLP((64, 64, 10), dropout=0.3, seed=seed + 10)
        fit(teacher, few, epochs=60, batch_size=20)
        self_train(teacher, student, few, Dataset(rest.x), SoftTarget(1.0, 0.5), epochs=60, augment=RandomShift(1))
        right.append([(one.predict(test.x) == test.y).mean() for one in (teacher, student)])
    # 2.5 percentage points on average; standard deviation over seeds 1.2, so 0.5 of the mean of five
    before, after = np.mean(right, axis=0)
    assert after > before


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"student": "x"}, TypeError, "student must be an MLP, got str"),
        ({"teacher": "x"}, TypeError, "teacher must be .* got str"),
        ({"labelled": Dataset(DATA.x)}, ValueError, "labelled must be a Dataset with labels"),
        ({"unlabelled": DATA.x}, TypeError, "unlabelled must be a Dataset, got ndarray"),
        ({"unlabelled": Dataset(np.zeros((4, 5)))}, ValueError, "x must have 2 columns"),
        ({"threshold": 1.5}, ValueError, r"threshold must be in \[0, 1\], got 1.5"),
        ({"threshold": 1.0, "teacher": ConstantProbabilities(0.5, 0.3, 0.2)}, ValueError,
         "threshold must leave a row: .* 0.5"),
    ],
)
def test_what_cannot_be_self_trained_is_refused(teacher, changed, error, message):
    arguments = {"teacher": teacher, "student": network(1), "labelled": DATA, "unlabelled": DATA, **changed}
    with pytest.raises(error, match=message):
        self_train(**arguments)


# ---------------------------------------------------------------------------------------------- no rows at all


@pytest.fixture(scope="module")
def reader():
    """A teacher that reads digits."""
    found = MLP((64, 128, 10), dropout=0.3)
    fit(found, digits()[0], epochs=15)
    return found


def test_impressions_are_what_the_teacher_takes_for_their_class(reader):
    found = data_impressions(reader, 100)
    assert np.bincount(found.y).tolist() == [10] * 10
    assert (reader.predict(found.x) == found.y).mean() > 0.95
    start = data_impressions(reader, 100, steps=0)
    assert (reader.predict(start.x) == start.y).mean() < 0.3


def test_impressions_stay_within_their_bounds(reader):
    for low, high in ((0.0, 1.0), (-2.0, 3.0)):
        x = data_impressions(reader, 20, low=low, high=high, steps=50, rate=0.5).x
        assert (x.min(), x.max()) == (low, high)


def test_impressions_are_those_of_the_seed_and_leave_the_teacher_alone(reader):
    before = reader.parameters.copy(), reader.gradients.copy()
    one, same, other = (data_impressions(reader, 20, seed=seed).x for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    np.testing.assert_array_equal(reader.parameters, before[0])
    np.testing.assert_array_equal(reader.gradients, before[1])


@pytest.mark.compiles
def test_impressions_on_the_compiled_backend_are_the_same_without_the_teachers_dropout():
    found = []
    for backend in ("numpy", "cpu"):
        teacher = MLP((20, 16, 3), "tanh", dropout=(0.2, 0.5), dtype=np.float64, backend=backend)
        found.append(data_impressions(teacher, 10).x)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6, atol=1e-9)


def test_a_step_climbs_the_log_probability_of_the_class():
    teacher = MLP((20, 8, 3), "tanh", dtype=np.float64)
    log_p = []
    for steps in range(4):
        found = data_impressions(teacher, 6, steps=steps, rate=1e-3)
        log_p.append(np.log(teacher.predict_proba(found.x)[np.arange(6), found.y]))
    assert (np.diff(log_p, axis=0) > 0).all()


def enlarged(data):
    """Each pixel three by three: like larger images, these are not met by noise that fills its pixels one by one."""
    return Dataset(np.kron(data.x.reshape(-1, 8, 8), np.ones((1, 3, 3), np.float32)).reshape(len(data), -1), data.y)


def test_a_student_taught_by_impressions_beats_one_taught_by_the_noise_they_start_from():
    train, test = map(enlarged, digits())
    teacher = MLP((576, 64, 10))
    fit(teacher, train, epochs=15)
    dense_noise = Dataset(np.random.default_rng(0).random((1000, 576), np.float32))
    right = []
    for data in (dense_noise, data_impressions(teacher, 1000, steps=0), data_impressions(teacher, 1000)):
        student = MLP((576, 32, 10), seed=1)
        distill(teacher, student, data, SoftTarget(4.0, 1.0), epochs=30, optimizer=SGD(CosineSchedule(0.05)))
        right.append((student.predict(test.x) == test.y).mean())
    dense, sparse, impressions = right
    assert dense + 0.2 < sparse
    assert sparse + 0.03 < impressions


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"teacher": lambda x: x}, TypeError, "teacher must be an MLP, got function"),
        ({"count": 0}, ValueError, "count must be at least 1"),
        ({"low": 1.0}, ValueError, r"high must be in \(1.0, inf\), got 1.0"),
        ({"density": 0}, ValueError, r"density must be in \(0, 1\], got 0"),
        ({"steps": -1}, ValueError, "steps must be at least 0"),
        ({"rate": 0}, ValueError, r"rate must be in \(0, inf\), got 0"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
    ],
)
def test_bad_impressions_are_refused_by_name(options, error, message):
    with pytest.raises(error, match=message):
        data_impressions(**{"teacher": network(1), "count": 3, **options})
