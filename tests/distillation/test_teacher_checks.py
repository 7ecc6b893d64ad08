# SPDX-License-Identifier: MIT
"""A teacher that would mislead its student is named before training, and a weak or noisy one is not."""

import time
import warnings

import numpy as np
import pytest

from minidistill import MLP, SGD, Dataset, Hint, SoftTarget, SoftTargets, compare, digits, distill, fit, spirals
from minidistill.data.augmentation import Mixup, with_label_noise
from minidistill.distillation import teacher_checks
from minidistill.distillation.teacher_checks import class_counts, diagnose, warn_if_one_hot
from minidistill.distillation.teachers import floored_logits
from minidistill.training import baselines
from minidistill.training.baselines import warn_if_inaccurate
from minidistill.training.evaluation import Report

INACCURATE = (
    r"the teacher's accuracy on the labeled rows is [\d.]+%.* nearest centroids reach [\d.]+%.*"
    r"other scaling.* columns in another order.* classes in another order"
)


@pytest.fixture(scope="module")
def images():
    return digits()


@pytest.fixture(scope="module")
def teacher(images):
    network = MLP((64, 64, 10))
    fit(network, images[0], epochs=10)
    return network


@pytest.fixture(scope="module")
def forest():
    """Of rows in raw units, and those rows with their labels."""
    ensemble = pytest.importorskip("sklearn.ensemble")
    raw = table(400)
    return ensemble.RandomForestClassifier(random_state=0).fit(raw.x, raw.y), raw


def table(rows, classes=3, seed=0):
    """Columns of very different scale, the classes well apart in each."""
    random = np.random.default_rng(seed)
    y = random.integers(0, classes, rows)
    return Dataset(((y[:, None] + 0.4 * random.standard_normal((rows, 4))) * [1, 30, 500, 0.1]).astype(np.float32), y)


def is_silent(call):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call()
    return True


# ---------------------------------------------------------------------------------------------- mismatched teachers


def test_a_forest_of_raw_rows_is_named_where_the_student_has_standardized_ones(forest):
    model, raw = forest
    standardized = raw.standardize()
    with pytest.warns(UserWarning, match=INACCURATE):
        distill(model, MLP((4, 8, 3)), standardized, epochs=1)
    with pytest.warns(UserWarning, match=INACCURATE):
        compare(model, {"student": MLP((4, 8, 3))}, standardized)
    targets = SoftTargets.of(floored_logits(model.predict_proba(raw.x)), standardized)
    assert is_silent(lambda: distill(targets, MLP((4, 8, 3)), standardized, epochs=1))


@pytest.mark.parametrize("kind", ["network", "function", "list", "soft targets", "augmented", "hidden", "hidden kept"])
def test_another_order_of_the_classes_is_named_for_each_kind_of_teacher(images, teacher, kind):
    rows = images[0].take(300)
    order = np.random.default_rng(0).permutation(10)
    swapped = teacher.copy()
    swapped.weights[-1][:], swapped.biases[-1][:] = teacher.weights[-1][:, order], teacher.biases[-1][order]
    hidden = {"loss": SoftTarget() + 0.01 * Hint()}
    given, options = {
        "network": (swapped, {}),
        "function": (swapped.logits, {}),
        "list": ([swapped, swapped], {}),
        "soft targets": (SoftTargets.of(swapped.logits(rows.x), rows), {}),
        "augmented": (swapped, {"augment": Mixup(10)}),
        "hidden": (swapped, hidden),
        "hidden kept": (swapped.outputs(rows.x), hidden),
    }[kind]
    student = MLP((64, 16, 10))
    with pytest.warns(UserWarning, match=INACCURATE):
        distill(given, student, rows, epochs=1, **options)
    assert is_silent(lambda: distill(given, student, rows, epochs=1, check_teacher=False, **options))


def test_columns_in_another_order_are_named(images, teacher):
    rows = images[0].take(300)
    mirrored = Dataset(rows.x[:, ::-1].copy(), rows.y)
    with pytest.warns(UserWarning, match=INACCURATE):
        distill(teacher, MLP((64, 16, 10)), mirrored, epochs=1)


def test_a_teacher_is_checked_on_rows_as_the_student_sees_them(forest):
    """The last augmentation standardizes, and the teacher takes that back: raw rows would give the wrong verdict."""
    model, raw = forest
    mean, scale = raw.mean_std()
    to_raw = lambda x: floored_logits(model.predict_proba(x * scale + mean))  # noqa: E731
    standardized = lambda x, y, generator: (((x - mean) / scale).astype(x.dtype), y)  # noqa: E731
    student = MLP((4, 8, 3))
    assert is_silent(lambda: distill(to_raw, student, raw, epochs=1, augment=standardized))


def test_the_warning_points_at_the_line_that_called(images, teacher):
    rows = images[0].take(100)
    with pytest.warns(UserWarning, match=INACCURATE) as found:
        distill(lambda x: -teacher.logits(x), MLP((64, 10)), rows, epochs=1)
    assert [one.filename for one in found] == [__file__]


def test_worse_than_the_largest_class_is_named_where_no_column_separates_the_classes():
    random = np.random.default_rng(0)
    x, y = random.standard_normal((500, 3)), (random.random(500) < 0.2).astype(int)
    with pytest.warns(UserWarning, match=r"is 0\.0%\. The largest class has \d+\.\d% of the rows"):
        warn_if_inaccurate(1 - y, x, y)


# ---------------------------------------------------------------------------------------------- weak teachers


def test_weak_teachers_are_not_named(images):
    """Of 40 networks trained for a moment, each better than chance, at most the worst is far below the centroids."""
    train, test = images
    named = []
    for seed in range(40):
        network = MLP((64, 16, 10), seed=seed)
        fit(network, train.take(300, seed=seed), epochs=10, optimizer=SGD(0.02), seed=seed)
        rows = test.take(100, seed=seed)
        assert (network.predict(rows.x) == rows.y).mean() > 0.5
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            diagnose(network.logits(rows.x), network, rows)
        named.append(bool(found))
    assert np.mean(named) <= 0.05


def test_a_teacher_of_noisy_labels_is_not_named(images, teacher):
    noisy = with_label_noise(images[0], 0.4, seed=0, classes=10)
    assert is_silent(lambda: diagnose(teacher.logits(noisy.x), teacher, noisy))


def test_a_teacher_where_centroids_fail_is_not_named():
    data = spirals(300, seed=0)
    network = MLP((2, 32, 3))
    fit(network, data, epochs=100)
    assert is_silent(lambda: diagnose(network.logits(data.x), network, data))


def test_teachers_of_imbalanced_classes_fitted_for_accuracy_or_for_recall_are_not_named():
    """One class in 20: the first never predicts it, the second predicts it four times too often."""
    random = np.random.default_rng(0)
    y = (random.random(2000) < 0.05).astype(int)
    x = y[:, None] + random.standard_normal((2000, 3))
    for predicted in (np.zeros(2000, int), (x.mean(axis=1) > 0.5).astype(int)):
        assert is_silent(lambda predicted=predicted: warn_if_inaccurate(predicted, x, y))


def test_few_rows_and_rows_without_labels_are_not_judged(images, teacher):
    train, _ = images
    for rows in (train.take(29), Dataset(train.x)):
        assert is_silent(lambda rows=rows: diagnose(-teacher.logits(rows.x), teacher, rows))


@pytest.mark.parametrize("x", [np.zeros((50, 3)), np.full((50, 3), 1e300), np.eye(50)[:, :3] * 1e-300])
def test_rows_of_any_scale_are_judged_without_an_error(x):
    assert is_silent(lambda: warn_if_inaccurate(np.arange(50) % 2, x, np.arange(50) % 2))


def test_the_check_takes_less_time_than_one_prediction_of_all_rows():
    x = np.random.default_rng(0).random((60_000, 784), dtype=np.float32)
    data, network = Dataset(x, np.arange(60_000) % 10), MLP((784, 10), backend="numpy")
    logits = 10 * np.eye(10, dtype=np.float32)[data.y] + x[:, :10]

    def quickest(call):
        times = []
        for _ in range(5):
            start = time.process_time()
            call()
            times.append(time.process_time() - start)
        return min(times)

    assert quickest(lambda: diagnose(logits, network, data)) < quickest(lambda: network.logits(x))  # about an eighth


# ---------------------------------------------------------------------------------------------- one-hot teachers

ONE_HOT = "the teacher is nearly one-hot.*out-of-fold.*min_samples_leaf"


@pytest.mark.parametrize("C", [2, 3, 10, 1000])
def test_one_hot_outputs_are_named_whatever_their_logits(C):
    labels = np.arange(60) % C
    for logits in (floored_logits(np.eye(C))[labels], 1000 * np.eye(C)[labels], np.eye(C)[labels] * 9 - 3):
        with pytest.warns(UserWarning, match=ONE_HOT):
            warn_if_one_hot(logits)


def test_trees_and_nearest_neighbors_are_named_and_forests_and_networks_are_not(images, teacher):
    pytest.importorskip("sklearn")
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.tree import DecisionTreeClassifier

    train, _ = images
    for model in (DecisionTreeClassifier(random_state=0), KNeighborsClassifier(1), KNeighborsClassifier(3)):
        with pytest.warns(UserWarning, match=ONE_HOT):
            distill(model.fit(train.x, train.y), MLP((64, 10)), train, epochs=1)
    for model in (RandomForestClassifier(random_state=0), RandomForestClassifier(random_state=0, min_samples_leaf=5)):
        assert is_silent(lambda model=model: distill(model.fit(train.x, train.y), MLP((64, 10)), train, epochs=1))
    long = MLP((64, 64, 10))
    fit(long, train, epochs=100)  # its largest probabilities are above 0.999
    for sharper in (1, 100):  # probabilities of exactly 1 in float64, from logits that differ
        assert is_silent(lambda sharper=sharper: warn_if_one_hot(sharper * long.logits(train.x)))


def test_outputs_that_are_the_same_for_all_rows_and_soft_are_not_one_hot():
    for logits in (np.zeros((60, 3)), np.tile(np.log([0.2, 0.3, 0.5]), (60, 1))):
        assert is_silent(lambda logits=logits: warn_if_one_hot(logits))


def test_a_constant_class_is_named_where_another_classifier_does_better(images):
    random = np.random.default_rng(0)
    y = (np.arange(500) < 320).astype(int)
    x = (y[:, None] * 1.5 + random.standard_normal((500, 4))).astype(np.float32)
    constant = np.ones(500, int)
    with pytest.warns(UserWarning, match="nearest centroids reach 9"):
        warn_if_inaccurate(constant, x, y)
    noise = random.standard_normal((500, 4))
    assert is_silent(lambda: warn_if_inaccurate(constant, noise, y))
    rare = (random.random(500) < 0.05).astype(int)  # a teacher that predicts no rare class may still rank the rows
    assert is_silent(lambda: warn_if_inaccurate(np.zeros(500, int), rare[:, None] + noise, rare))


# ---------------------------------------------------------------------------------------------- logarithms of nearly 0


def test_logarithms_of_probabilities_with_a_tiny_floor_are_named(images):
    """On a forest's rows a floor of 1e-9 costs up to 12 percentage points, one of 1e-4 none."""
    ensemble = pytest.importorskip("sklearn.ensemble")
    train, _ = images
    p = ensemble.RandomForestClassifier(random_state=0).fit(train.x, train.y).predict_proba(train.x)
    lowest = r"in 5\d% of its entries the teacher's logits are -[\d.]+,.* np\.log\(probabilities \+ 0\.01\)"
    normalized = (p + 1e-7) / (p + 1e-7).sum(axis=1, keepdims=True)
    for logits in (np.log(p + 1e-9), np.log(np.maximum(p, 1e-300)), np.log(normalized)):
        with pytest.warns(UserWarning, match=lowest):
            distill(logits, MLP((64, 10)), train, epochs=1)
    for logits in (np.log(p + 1e-4), np.log(p + 0.01)):
        assert is_silent(lambda logits=logits: distill(logits, MLP((64, 10)), train, epochs=1))


def test_logits_of_a_network_have_no_floor(images, teacher):
    train, _ = images
    logits = teacher.logits(train.x)
    few = logits[np.arange(len(train)) % 5]  # as of a table of categories, whose rows repeat
    assert is_silent(lambda: diagnose(20 * few, MLP((64, 10)), Dataset(train.x)))
    for sharper in (1, 100):
        assert is_silent(lambda sharper=sharper: diagnose(sharper * logits, MLP((64, 10)), train))


# ---------------------------------------------------------------------------------------------- reports


def test_a_retention_above_105_percent_is_marked_as_suspicious(images, teacher):
    rows = images[1]
    weak = MLP((64, 10))
    fit(weak, images[0].take(200), epochs=3)
    report = compare(weak, {"student": teacher, "same": weak}, rows)
    assert isinstance(report, Report)
    assert report["student"].retention > 1.05
    assert report["student"].suspicious
    assert not report["same"].suspicious
    assert f"{report['student'].retention:.1%} (suspicious)" in str(report)
    assert str(report).count("suspicious") == 1
    assert report.to_dict()["student"]["suspicious"] is True


# ---------------------------------------------------------------------------------------------- 32 bits


def test_labels_are_counted_where_indices_have_32_bits(monkeypatch):
    """There np.bincount takes no int64, for the cast to an index would not be safe."""
    bincount = np.bincount

    def strict(values, *arguments, **options):
        if not np.can_cast(values.dtype, np.intp, "safe"):
            raise TypeError(f"Cannot cast array data from {values.dtype} according to the rule 'safe'")
        return bincount(values, *arguments, **options)

    monkeypatch.setattr(np, "intp", np.int32)
    monkeypatch.setattr(np, "bincount", strict)
    np.testing.assert_array_equal(class_counts(np.array([0, 2, 2]), 4), [1, 0, 2, 0])


def test_fewer_rows_are_checked_where_there_are_many_classes(monkeypatch):
    monkeypatch.setattr(teacher_checks, "MOST_LOGITS", 400)
    asked, x = [], np.random.default_rng(0).standard_normal((300, 2)).astype(np.float32)

    def targets(x):
        asked.append(len(x))
        return np.random.default_rng(1).standard_normal((len(x), 4)).astype(np.float32)

    teacher_checks.diagnose(targets, MLP((2, 5, 4)), Dataset(x))
    assert asked == [100]


def test_nearest_centroids_look_at_columns_of_any_scale():
    random = np.random.default_rng(0)
    y = np.arange(200) % 2
    x = np.stack([1e-3 * (y + 0.1 * random.standard_normal(200)), 1e3 * random.standard_normal(200)], axis=1)
    assert (baselines._by_nearest_centroid(x, y) == y).mean() > 0.95
