# SPDX-License-Identifier: MIT
"""distill(): every kind of teacher, that it is asked in evaluation mode, and that answers belong to the rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minidistill import MLP, SGD, Dataset, SoftTarget, SoftTargets, digits, distill, fit, spirals
from minidistill.deployment.prune import prune_weights
from minidistill.distillation.schemes import assist, born_again, self_train
from minidistill.distillation.soft_targets import soft_targets
from minidistill.distillation.teachers import FLOOR, as_teacher, floored_logits
from minidistill.ops import softmax_forward
from minidistill.support.files import write_npz


def new_student(**options):
    return MLP((2, 5, 3), **{"seed": 9, "dtype": np.float64, **options})


@pytest.fixture(scope="module")
def data():
    return spirals(60, seed=3)


@pytest.fixture(scope="module")
def teacher(data):
    """A teacher that knows its 60 points, and has dropout."""
    network = MLP((2, 32, 3), dropout=0.3, dtype=np.float64)
    fit(network, data, epochs=60, batch_size=20)
    return network


def taught_by(teacher, data, **options):
    """The parameters of a student of `teacher`."""
    student = new_student()
    distill(teacher, student, data, **{"loss": SoftTarget(3.0, 0.7), "epochs": 3, "batch_size": 7, **options})
    return student.parameters


def softmax(s, T=1.0):
    return softmax_forward(s, T)[0]


class Probabilities:
    """What a scikit-learn classifier looks like from outside."""

    def __init__(self, answer, classes=None):
        self.answer = answer
        if classes is not None:
            self.classes_ = np.array(classes)

    def predict_proba(self, x):
        return self.answer(x) if callable(self.answer) else np.tile(self.answer, (len(x), 1))


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


def jitter(x, y, generator):
    return x + generator.normal(0, 0.1, x.shape), y


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


# ---------------------------------------------------------------------------------------------- whose rows they are


@pytest.fixture
def cache(teacher, data):
    return soft_targets(teacher, data, 3)


def test_a_cache_of_the_same_rows_in_another_order_is_refused(cache, data):
    reordered = data.subset(np.random.default_rng(0).permutation(len(data)))
    with pytest.raises(ValueError, match=r"do not belong to this data: from row \d+ on they are the same rows"):
        taught_by(cache, reordered)


def test_a_cache_with_two_rows_swapped_is_refused_and_the_place_named(cache, data):
    order = np.arange(len(data))
    order[[4, 40]] = order[[40, 4]]
    with pytest.raises(ValueError, match="from row 4 on they are the same rows in another order"):
        taught_by(cache, data.subset(order))


def test_a_cache_of_other_rows_is_refused(cache):
    with pytest.raises(ValueError, match="from row 0 on they are answers to other rows"):
        taught_by(cache, spirals(60, seed=4))


def test_a_cache_of_fewer_rows_is_refused(cache, data):
    with pytest.raises(ValueError, match="soft targets hold 60 rows, the data 59"):
        taught_by(cache, data.subset(np.arange(59)))


def test_a_cache_is_refused_where_one_number_of_x_has_changed(cache, data):
    x = data.x.copy()
    x[30, 1] = np.nextafter(x[30, 1], np.float32(9))
    with pytest.raises(ValueError, match="from row 30 on they are answers to other rows"):
        taught_by(cache, Dataset(x, data.y))


@pytest.mark.parametrize(("kept", "used"), [("float32", "float64"), ("float64", "float32"), ("float64", "float64")])
def test_a_cache_holds_for_the_same_rows_in_another_dtype(kept, used):
    x = np.random.default_rng(0).normal(size=(60, 2))
    x = x.astype(np.float32).astype(np.float64) if used == "float64" else x
    targets = SoftTargets.of(np.zeros((60, 3)), Dataset(x.astype(kept)))
    assert targets.logits_for(Dataset(x.astype(used))) is targets.logits


def test_a_cache_of_version_0_1_holds_for_its_float64_rows():
    """Its hashes of rows were those of the float64 values."""
    data = Dataset(np.random.default_rng(0).normal(size=(60, 2)))
    assert (data.exact_row_hashes != data.row_hashes).all()
    old = SoftTargets(np.zeros((60, 3)), data.exact_row_hashes)
    assert old.logits_for(data) is old.logits
    with pytest.raises(ValueError, match="from row 0 on they are the same rows in another order"):
        old.logits_for(data.subset(np.arange(60)[::-1]))


def test_a_cache_holds_whatever_the_labels(cache, data):
    assert cache.logits_for(Dataset(data.x)) is cache.logits


def weak_teachers(n, rows):
    """Logits of `n` barely trained networks, right on about a quarter of unseen digits, with those digits."""
    train, test = digits()
    for seed in range(n):
        network = MLP((64, 8, 10), seed=seed)
        fit(network, train.take(300, seed=seed), epochs=2, optimizer=SGD(0.02), seed=seed)
        data = test.take(rows, seed=seed)
        yield network.logits(data.x), data


def is_refused(logits, data):
    try:
        soft_targets(logits, data, logits.shape[1])
    except ValueError as error:
        return "do not seem to belong to these rows" in str(error)
    return False


def test_bare_logits_of_weak_teachers_are_taken_and_shuffled_ones_refused():
    random, taken, caught = np.random.default_rng(0), [], []
    for logits, data in weak_teachers(20, rows=60):
        taken.append(not is_refused(logits, data))
        caught += [is_refused(logits[random.permutation(60)], data) for _ in range(20)]
    assert np.mean(taken) >= 0.9  # a teacher that is right on a tenth knows as little as chance
    assert np.mean(caught) >= 0.98  # three standard deviations let 1 shuffle of 700 pass


def test_bare_logits_one_row_out_of_step_are_refused(teacher, data):
    with pytest.raises(ValueError, match=r"do not seem to belong to these rows: .* mean probability of 0\.\d+.*"
                                         r"If the order is right, pass SoftTargets\.of\(logits, data\)"):
        taught_by(np.roll(teacher.logits(data.x), 1, axis=0), data)


def test_the_caller_can_vouch_for_logits_that_look_shuffled(teacher, data):
    logits = np.roll(teacher.logits(data.x), 1, axis=0)
    assert np.isfinite(taught_by(SoftTargets.of(logits, data), data)).all()


def test_bare_logits_are_taken_on_trust_without_labels_and_below_thirty_rows(teacher, data):
    logits = teacher.logits(data.x)[::-1]
    taught_by(logits, Dataset(data.x), loss=SoftTarget(2.0, 1.0))
    few = data.subset(np.arange(29))
    taught_by(logits[:29], few)


@pytest.mark.parametrize(
    "case", ["one class alone", "a teacher that says the same of every row", "a teacher that knows nothing"]
)
def test_bare_logits_are_taken_where_no_order_can_be_wrong(case):
    for seed in range(20):
        random, x = np.random.default_rng(seed), np.arange(60.0)[:, None]
        labels = np.full(60, 2) if case == "one class alone" else random.integers(0, 5, 60)
        rows = {"one class alone": 60, "a teacher that says the same of every row": 1}.get(case, 0)
        logits = np.zeros((60, 5)) if rows == 0 else np.zeros((60, 5)) + random.standard_normal((rows, 5))
        assert not is_refused(logits, Dataset(x, labels))


# ---------------------------------------------------------------------------------------------- soft targets in files


def test_soft_targets_come_back_bit_for_bit(tmp_path, cache, data):
    cache.save(tmp_path / "targets.npz")
    again = SoftTargets.load(tmp_path / "targets.npz")
    np.testing.assert_array_equal(again.logits, cache.logits)
    assert again.logits.dtype == cache.logits.dtype
    np.testing.assert_array_equal(taught_by(again, data), taught_by(cache, data))


def test_soft_targets_from_a_file_still_know_their_rows(tmp_path, cache, data):
    cache.save(tmp_path / "targets.npz")
    with pytest.raises(ValueError, match="the same rows in another order"):
        taught_by(SoftTargets.load(tmp_path / "targets.npz"), data.subset(np.arange(60)[::-1]))


def test_a_file_of_another_kind_is_refused(tmp_path, teacher, cache):
    teacher.save(tmp_path / "teacher.npz")
    with pytest.raises(ValueError, match=r"teacher\.npz is not a.* soft.targets of minidistill: it holds activation"):
        SoftTargets.load(tmp_path / "teacher.npz")
    cache.save(tmp_path / "targets.npz")
    with pytest.raises(ValueError, match=r"targets\.npz is not a network of minidistill: it holds fingerprints"):
        MLP.load(tmp_path / "targets.npz")


def test_a_truncated_file_is_refused(tmp_path, cache):
    path = tmp_path / "targets.npz"
    cache.save(path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"targets\.npz is not an \.npz file, or is damaged"):
        SoftTargets.load(path)


@pytest.mark.parametrize(
    "changed",
    [
        {"logits": np.zeros((59, 3))},
        {"logits": np.zeros((60, 2))},
        {"logits": np.full((60, 3), np.nan)},
        {"logits": np.zeros(60)},
        {"fingerprints": np.zeros(59, np.uint64)},
        {"fingerprints": np.zeros((60, 1), np.uint64)},
    ],
    ids=lambda changed: " ".join(f"{name} {value.shape}" for name, value in changed.items()),
)
def test_a_file_whose_parts_do_not_fit_teaches_nobody(tmp_path, cache, data, changed):
    parts = {"logits": cache.logits, "fingerprints": cache.row_hashes}
    write_npz(tmp_path / "targets.npz", "soft-targets", {**parts, **changed})
    with pytest.raises(ValueError, match=r"teacher logits|soft targets|targets must|is damaged"):
        taught_by(SoftTargets.load(tmp_path / "targets.npz"), data)


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
        ("assist", lambda **options: assist(MLP((2, 2)), [MLP((2, 2))], Dataset(np.eye(2)), **options)),
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
