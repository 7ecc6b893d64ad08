# SPDX-License-Identifier: MIT
"""distill(): every kind of teacher, that it is evaluated in evaluation mode, and what is refused."""

import numpy as np
import pytest
from distilled_students import Probabilities, jitter, new_student, softmax, taught_by
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from minidistill import MLP, SGD, Dataset, SoftTarget, SoftTargets, digits, distill, fit
from minidistill.deployment.prune import prune_weights
from minidistill.distillation.chains import born_again, teacher_assistant
from minidistill.distillation.soft_targets import soft_targets
from minidistill.distillation.teachers import FLOOR, as_teacher, floored_logits
from minidistill.distillation.unlabeled import self_train

# ---------------------------------------------------------------------------------------------- kinds of teachers


def test_a_network_its_function_its_logits_and_its_soft_targets_teach_the_same_to_the_bit(teacher, data):
    student = taught_by(teacher, data)
    logits = teacher.logits(data.x)
    for other in (teacher.logits, logits, SoftTargets.of(logits, data)):
        np.testing.assert_array_equal(taught_by(other, data), student)


def test_lists_of_networks_teach_the_same_as_the_logits_of_their_members(teacher, data):
    student = taught_by(teacher, data)
    for other in ([teacher], [teacher, teacher], [teacher.logits]):
        # the logarithm of a softmax is the logits but for a constant a row, and for rounding
        np.testing.assert_allclose(taught_by(other, data), student, rtol=1e-9, atol=1e-12)


def test_probabilities_teach_by_their_logits_with_a_floor(teacher, data):
    by_logits = taught_by(floored_logits(teacher.predict_proba(data.x)), data)
    np.testing.assert_array_equal(taught_by(Probabilities(teacher.predict_proba), data), by_logits)


def test_the_arguments_of_fit_reach_it(teacher, data):
    by_fit = new_student()
    options = {"epochs": 2, "batch_size": 7, "optimizer": SGD(0.3), "seed": 5}
    fit(by_fit, data, SoftTarget(2.0, 0.5), targets=teacher.logits(data.x), **options)
    np.testing.assert_array_equal(taught_by(teacher, data, loss=SoftTarget(2.0, 0.5), **options), by_fit.parameters)


def test_the_loss_is_soft_target_unless_given(teacher, data):
    np.testing.assert_array_equal(taught_by(teacher, data, loss=None), taught_by(teacher, data, loss=SoftTarget()))


def test_a_list_of_teachers_gives_their_mean_probability(data):
    first, second = MLP((2, 4, 3), seed=1), MLP((2, 6, 3), seed=2)
    mean = (first.predict_proba(data.x) + second.predict_proba(data.x)) / 2
    targets = soft_targets([first, second], data, 3)
    np.testing.assert_allclose(softmax(targets.logits), mean, rtol=1e-5)  # float32


def test_a_list_may_mix_all_that_can_be_asked(data):
    network = MLP((2, 4, 3))
    members = [network, network.logits, Probabilities(network.predict_proba), [network]]
    targets = soft_targets(members, data, 3)
    p = network.predict_proba(data.x)
    mean = (3 * p + softmax(floored_logits(p))) / 4
    np.testing.assert_allclose(softmax(targets.logits), mean, rtol=1e-5)  # float32


def test_classes_that_a_teacher_never_saw_have_the_floor(data):
    logits = soft_targets(Probabilities([0.25, 0.75], classes=[0, 2]), data, 3).logits
    floored = (np.array([0.25, 0, 0.75]) + FLOOR / 3) / (1 + FLOOR)
    np.testing.assert_allclose(softmax(logits), np.tile(floored, (len(data), 1)), rtol=1e-12)


def test_classes_may_stand_in_any_order(data):
    sorted_one = taught_by(Probabilities([0.2, 0.3, 0.5]), data)
    np.testing.assert_array_equal(taught_by(Probabilities([0.5, 0.2, 0.3], classes=[2, 0, 1]), data), sorted_one)


@settings(deadline=None, max_examples=50)
@given(arrays(np.float64, (4, 3), elements=st.integers(0, 5).map(float)), st.sampled_from([1.0, 4.0, 20.0]))
def test_probabilities_with_exact_zeros_are_softened_at_any_temperature(weights, T):
    weights[:, 0] += 1
    p = weights / weights.sum(axis=1, keepdims=True)
    logits = as_teacher(Probabilities(lambda x: p), 3)(np.zeros((4, 2)))
    softened = ((p + FLOOR / 3) / (1 + FLOOR)) ** (1 / T)
    np.testing.assert_allclose(softmax(logits, T), softened / softened.sum(axis=1, keepdims=True), rtol=1e-12)


def test_a_student_learns_from_probabilities_of_exactly_0_and_1(data):
    sure = Probabilities(lambda x: np.eye(3)[data.y])
    with pytest.warns(UserWarning, match="the teacher is nearly one-hot: in 100% of the rows"):
        assert np.isfinite(taught_by(sure, data)).all()


def test_a_forest_of_scikit_learn_teaches(data):
    ensemble = pytest.importorskip("sklearn.ensemble")
    forest = ensemble.RandomForestClassifier(n_estimators=20, random_state=0).fit(data.x, data.y)
    student = MLP((2, 32, 3))
    distill(forest, student, data, epochs=150, batch_size=20)
    assert (student.predict(data.x) == data.y).mean() > 0.85


# ---------------------------------------------------------------------------------------------- what distilling does


def test_distilling_on_few_digits_beats_learning_alone_and_a_shuffled_teacher():
    train, test = digits()
    teacher = MLP((64, 128, 10), dropout=0.3)
    fit(teacher, train, epochs=30, batch_size=64)
    few = train.take(150)
    shuffled = SoftTargets.of(teacher.logits(few.x)[np.random.default_rng(0).permutation(150)], few)
    budget = {"epochs": 150, "batch_size": 30}
    alone, distilled, misled = (MLP((64, 32, 10), seed=1) for _ in range(3))
    fit(alone, few, **budget)
    distill(teacher, distilled, few, SoftTarget(4.0, 0.9), **budget)
    distill(shuffled, misled, few, SoftTarget(4.0, 0.9), check_teacher=False, **budget)
    right = [(network.predict(test.x) == test.y).mean() for network in (misled, alone, distilled)]
    assert right[0] < right[1] < right[2]


def test_alpha_1_without_labels_learns_what_the_teacher_says(teacher, data):
    unlabelled, student = Dataset(data.x), MLP((2, 32, 3))
    distill(teacher, student, unlabelled, SoftTarget(2.0, 1.0), epochs=150, batch_size=20)
    assert (student.predict(data.x) == teacher.predict(data.x)).mean() > 0.9


def test_alpha_1_does_not_look_at_the_labels(teacher, data):
    options = {"loss": SoftTarget(2.0, 1.0), "check_teacher": False}
    wrong = Dataset(data.x, (data.y + 1) % 3)
    np.testing.assert_array_equal(taught_by(teacher, wrong, **options), taught_by(teacher, data, **options))


def test_alpha_0_is_learning_alone(teacher, data):
    alone = new_student()
    fit(alone, data, epochs=3, batch_size=7)
    np.testing.assert_array_equal(taught_by(teacher, data, loss=SoftTarget(4.0, 0.0)), alone.parameters)


def test_below_alpha_1_labels_are_asked_for(teacher, data):
    with pytest.raises(ValueError, match=r"y \(labels\) is missing: only alpha=1 learns without labels, alpha is 0.7"):
        taught_by(teacher, Dataset(data.x))


def test_the_teacher_is_not_changed(teacher, data):
    before, gradients = teacher.parameters.copy(), teacher.gradients.copy()
    taught_by(teacher, data)
    taught_by(teacher, data, augment=jitter)
    np.testing.assert_array_equal(teacher.parameters, before)
    np.testing.assert_array_equal(teacher.gradients, gradients)


# ---------------------------------------------------------------------------------------------- evaluation mode


def in_training_mode(network):
    """The mistake: a teacher that is asked with its dropout on, a new mask each time."""
    steps = iter(range(1000))
    return lambda x: network.forward(x.astype(network.dtype), training=True, step=next(steps))[0]


def test_a_teacher_with_dropout_is_asked_in_evaluation_mode(teacher, data):
    targets = soft_targets(teacher, data, 3).logits
    np.testing.assert_array_equal(targets, teacher.forward(data.x.astype(np.float64))[0])
    np.testing.assert_array_equal(targets, soft_targets(teacher, data, 3).logits)


def test_a_teacher_in_training_mode_would_be_noticed(teacher, data):
    noisy = in_training_mode(teacher)
    first, second = soft_targets(noisy, data, 3).logits, soft_targets(noisy, data, 3).logits
    assert np.abs(first - second).max() > 0.1
    assert (taught_by(in_training_mode(teacher), data) != taught_by(teacher, data)).any()


def test_the_student_has_its_dropout_on(teacher, data):
    with_dropout, without = new_student(dropout=0.5), new_student()
    for student in (with_dropout, without):
        distill(teacher, student, data, epochs=1, batch_size=7)
    assert (with_dropout.parameters != without.parameters).any()


def test_without_augmentation_the_teacher_is_asked_once_about_all_rows(teacher, data):
    asked = []
    taught_by(lambda x: asked.append(x) or teacher.logits(x), data)
    assert len(asked) == 1
    np.testing.assert_array_equal(asked[0], data.x)


# ---------------------------------------------------------------------------------------------- augmentation


def test_with_augmentation_the_targets_are_those_of_what_the_student_sees(teacher, data):
    seen, asked, given = [], [], []

    def augment(x, y, generator):
        seen.append(jitter(x, y, generator)[0])
        return seen[-1], y

    def ask(x):
        asked.append(x.copy())
        return teacher.logits(x)

    def loss(s, t, y, ops):
        given.append(t)
        return SoftTarget()(s, t, y, ops)

    taught_by(ask, data, loss=loss, augment=augment, epochs=2)
    assert len(given) == 2 * 9  # batches of 7 of 60 rows
    assert len(asked) == 1 + 2 * 9  # before the first the teacher is checked, on 60 augmented rows
    np.testing.assert_array_equal(np.concatenate(asked), np.concatenate(seen))
    for x, t in zip(asked[1:], given, strict=True):
        np.testing.assert_array_equal(t, teacher.logits(x))


def test_an_augmentation_that_changes_nothing_gives_the_same_student(teacher, data):
    # BLAS may sum products of 7 rows in another order than those of 60
    same = taught_by(teacher, data, augment=lambda x, y, generator: (x, y))
    np.testing.assert_allclose(same, taught_by(teacher, data), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kept", ["array", "soft targets"])
def test_kept_logits_and_augmentation_exclude_each_other(teacher, data, kept):
    logits = teacher.logits(data.x)
    with pytest.raises(ValueError, match="augment changes the rows: the teacher must be one that can be asked again"):
        taught_by(logits if kept == "array" else SoftTargets.of(logits, data), data, augment=jitter)


# ---------------------------------------------------------------------------------------------- what it refuses


def test_a_student_cannot_be_its_own_teacher(data):
    student = new_student()
    with pytest.raises(ValueError, match="teacher and student are the same network"):
        distill(student, student, data)


def test_a_student_cannot_be_among_its_own_teachers(teacher, data):
    student = new_student()
    with pytest.raises(ValueError, match="teacher and student are the same network"):
        distill([teacher, student], student, data)


def test_what_is_no_student_or_no_dataset_is_refused(teacher, data):
    with pytest.raises(TypeError, match="student must be an MLP, got str"):
        distill(teacher, "student", data)
    with pytest.raises(TypeError, match="data must be a Dataset, got ndarray"):
        distill(teacher, new_student(), data.x)


@pytest.mark.parametrize("augment", [None, jitter], ids=["asked once", "asked anew"])
@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ("a name", TypeError, "teacher must be an MLP, a list of teachers.* got str"),
        (None, TypeError, "teacher must be .* got NoneType"),
        ([], ValueError, "teacher is an empty list"),
        (["a name"], TypeError, "teacher must be .* got str"),
        (MLP((5, 3)), ValueError, "x must have 5 columns"),
        (MLP((2, 4)), ValueError, r"teacher logits must have 3 columns|t must have the shape of s"),
        (lambda x: np.zeros(len(x)), ValueError, "teacher logits must have 2 dimensions"),
        (lambda x: np.full((len(x), 3), np.nan), ValueError, "teacher logits must be finite, got nan"),
        (lambda x: np.zeros((2, 3)), ValueError, r"teacher logits must have a row for each|t must have the shape of s"),
        (Probabilities([2.0, -1.0, 0.5]), ValueError, "predict_proba of Probabilities must be probabilities"),
        (Probabilities([0.5, 0.6, 0.2]), ValueError, "predict_proba of Probabilities must be probabilities"),
        (Probabilities([1.2, -0.1, -0.1]), ValueError, "predict_proba of Probabilities must be probabilities"),
        (Probabilities([np.nan, 0.5, 0.5]), ValueError, "predict_proba of Probabilities must be finite"),
        (Probabilities(lambda x: np.ones(len(x))), ValueError, "predict_proba of Probabilities must have 2 dimensions"),
        (Probabilities([0.5, 0.5], ["cat", "dog"]), ValueError, "classes_ of Probabilities must be 2 whole.*cat"),
        (Probabilities([0.5, 0.5], [1, 3]), ValueError, r"Probabilities must have 3 classes, .* of \[1, 3\]"),
        (Probabilities([0.5, 0.5]), ValueError, r"Probabilities must have 3 classes, .* of \[0, 1\]"),
        (Probabilities([0.25] * 4), ValueError, r"Probabilities must have 3 classes, .* of \[0, 1, 2, 3\]"),
    ],
    ids=str,
)
def test_bad_teachers_are_refused_and_teach_nothing(data, bad, error, message, augment):
    student = new_student()
    with pytest.raises(error, match=message):
        distill(bad, student, data, augment=augment, epochs=1)
    np.testing.assert_array_equal(student.parameters, new_student().parameters)


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (np.zeros((59, 3)), "teacher logits must have a row for each of the data's 60, got 59"),
        (np.zeros(60), "teacher logits must have 2 dimensions"),
        (np.full((60, 3), np.inf), "teacher logits must be finite, got inf at row 0"),
        (np.zeros((60, 7)), "teacher logits must have 3 columns"),
    ],
    ids=["a row short", "one dimension", "infinity", "too many classes"],
)  # fmt: skip
def test_bad_arrays_of_logits_are_refused_by_what_is_wrong(data, logits, message):
    with pytest.raises(ValueError, match=message):
        taught_by(logits, data)


@pytest.mark.parametrize("classes", [[0], [1, 1]])
def test_classes_that_do_not_fit_the_columns_are_refused_by_name(data, classes):
    with pytest.raises(ValueError, match="classes"):
        taught_by(Probabilities([0.5, 0.5], classes), data)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("distill", lambda **options: distill(MLP((2, 2)), MLP((2, 2)), Dataset(np.eye(2)), **options)),
        ("teacher_assistant",
         lambda **options: teacher_assistant(MLP((2, 2)), [MLP((2, 2))], Dataset(np.eye(2)), **options)),
        ("born_again", lambda **options: born_again(MLP((2, 2)), Dataset(np.eye(2)), 1, **options)),
        ("self_train", lambda **options: self_train(MLP((2, 2)), MLP((2, 2)), *[Dataset(np.eye(2))] * 2, **options)),
        ("prune_weights",
         lambda **options: prune_weights(MLP((2, 2)), Dataset(np.eye(2)), teacher=MLP((2, 2)), **options)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("option", ["temprature", "targets"])
def test_a_misspelled_option_is_one_of_the_function_that_was_called(name, call, option):
    with pytest.raises(TypeError, match=rf"^{name}\(\) has no option '{option}': its options are .*batch_size, .*seed"):
        call(**{option: 4.0})


def test_a_misspelled_option_of_distill_is_told_all_its_options():
    with pytest.raises(TypeError, match=r"no option 'check_teachers': its options are augment, .*check_teacher, "):
        distill(MLP((2, 2)), MLP((2, 2)), Dataset(np.eye(2)), check_teachers=False)


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ([[1.0, 2.0], [2.0, 1.0]], r"teacher is a list of numbers: pass logits as an array, np\.array\(logits\)"),
        ([1.0, 2.0], "teacher is a list of numbers"),
        (MLP, r"teacher must be a model, got the class MLP"),
    ],
)
def test_lists_of_numbers_and_classes_are_no_teachers(teacher, message):
    with pytest.raises(TypeError, match=message):
        distill(teacher, MLP((2, 2)), Dataset(np.eye(2)), SoftTarget(alpha=1.0))
