# SPDX-License-Identifier: MIT
"""compare(): figures against hand counts, ratios to the teacher, the printed table, and what is refused."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from minidistill import MLP, Dataset, compare
from minidistill.training import evaluation
from minidistill.training.evaluation import (
    Report,
    ReportRow,
    accuracy,
    agreement,
    expected_calibration_error,
    seconds_per_call,
)
from minidistill.training.probabilities import predict_proba


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Five calls are enough where no test looks at the length of time."""
    monkeypatch.setattr(evaluation, "TIMING_SECONDS", 0)


class Says:
    """A model that says these classes, row by row, always equally sure."""

    def __init__(self, labels, sure=0.9, classes=2):
        self.answers = np.full((len(labels), classes), (1 - sure) / (classes - 1))
        self.answers[np.arange(len(labels)), labels] = sure

    def predict_proba(self, x):
        return self.answers[: len(x)]


DATA = Dataset(np.zeros((10, 2), np.float32), [0, 1] * 5)
TRUTH = np.array([0, 1] * 5)


def wrong_at(*rows):
    labels = TRUTH.copy()
    labels[list(rows)] = 1 - labels[list(rows)]
    return Says(labels)


# ---------------------------------------------------------------------------------------------- single figures


def test_accuracy_and_agreement_are_shares_of_rows():
    first, second = wrong_at(0).answers, wrong_at(0, 1, 2).answers
    assert accuracy(first, TRUTH) == 0.9
    assert accuracy(second, TRUTH) == 0.7
    assert agreement(first, second) == agreement(second, first) == 0.8
    assert agreement(first, first) == 1


def test_calibration_error_against_a_hand_computed_example():
    sure = np.array([0.95, 0.85, 0.82, 0.55])  # right, wrong, right, right; bins of a tenth
    # (0.9, 1]: |1 - 0.95|   (0.8, 0.9]: |1 - (0.85 + 0.82)|   (0.5, 0.6]: |1 - 0.55|   over 4 rows
    by_hand = (0.05 + 0.67 + 0.45) / 4
    error = expected_calibration_error(np.column_stack([sure, 1 - sure]), np.array([0, 1, 0, 0]), bins=10)
    assert error == pytest.approx(by_hand, rel=1e-12)


def test_over_and_under_confidence_in_one_bin_cancel_and_in_two_bins_do_not():
    sure = np.array([0.55, 0.95])  # right and wrong: off by +0.45 and by -0.95
    rows, y = np.column_stack([sure, 1 - sure]), np.array([0, 1])
    assert expected_calibration_error(rows, y, bins=1) == pytest.approx(0.25)
    assert expected_calibration_error(rows, y, bins=2) == pytest.approx(0.25)  # both above a half
    assert expected_calibration_error(rows, y, bins=10) == pytest.approx(0.7)


def test_full_confidence_has_a_place_in_the_last_bin():
    certain = np.eye(2)
    assert expected_calibration_error(certain, np.array([0, 1])) == 0
    assert expected_calibration_error(certain, np.array([1, 0])) == 1
    rows = np.array([[1.0, 0.0], [0.95, 0.05]])  # wrong and right, in one bin: |-1 + 0.05| over 2 rows
    assert expected_calibration_error(rows, np.array([1, 0]), bins=10) == pytest.approx(0.475)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("bins", "k"), [(bins, k) for bins in (4, 5, 10, 15) for k in range(bins // 2 + 1, bins)])
def test_an_upper_edge_belongs_to_the_bin_below_it(dtype, bins, k):
    edge, below, above = (dtype(place / bins) for place in (k, k - 0.5, k + 0.5))  # the edge is right, the others wrong
    for other, error in ((below, abs(1 - edge - below)), (above, 1 - edge + above)):  # in one bin, and in two
        sure = np.array([edge, other], dtype)
        found = expected_calibration_error(np.column_stack([sure, 1 - sure]), np.array([0, 1]), bins)
        assert found == pytest.approx(error / 2, rel=1e-6)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(2, 6), st.integers(1, 30))
def test_calibration_error_is_at_least_the_gap_of_the_means_and_at_most_1(seed, n, classes, bins):
    random = np.random.default_rng(seed)
    rows, y = random.dirichlet(np.ones(classes), n), random.integers(0, classes, n)
    error = expected_calibration_error(rows, y, bins)
    gap = abs(accuracy(rows, y) - rows.max(axis=1).mean())
    assert gap - 1e-12 <= error <= 1  # one bin gives the gap itself, more bins can only add


@pytest.mark.parametrize(
    ("rows", "y", "bins", "error", "message"),
    [
        ([0.5, 0.5], [0], 15, ValueError, "probabilities must have 2 dimensions"),
        ([[0.5, np.nan]], [0], 15, ValueError, "probabilities must be finite"),
        ([[0.5, 0.5]], [2], 15, ValueError, r"y must be 0 to 1 \(2 classes\), got 2"),
        ([[0.5, 0.5]], [0, 1], 15, ValueError, "y must have a label for each of the 1 rows"),
        ([[0.5, 0.5]], [0], 0, ValueError, "bins must be at least 1, got 0"),
        ([[0.5, 0.5]], [0], 1.5, TypeError, "bins must be a whole number"),
    ],
)
def test_calibration_refuses_bad_input_by_name(rows, y, bins, error, message):
    with pytest.raises(error, match=message):
        expected_calibration_error(rows, y, bins)


@pytest.mark.parametrize("logits", [[-1.0, -2.0], [5.0, 2.0]])
def test_calibration_refuses_logits_by_name(logits):
    with pytest.raises(ValueError, match="probabilities must"):
        expected_calibration_error([logits], [0])


def test_the_time_of_a_call_is_a_median_and_the_first_call_does_not_count(monkeypatch):
    clock = iter([0.0, *np.ravel([(t, t + length) for t, length in [(1, 3), (10, 1), (20, 2), (30, 90), (200, 2)]])])
    monkeypatch.setattr(evaluation.time, "perf_counter", lambda: next(clock, math.inf))
    calls = []

    class Counts:
        def predict_proba(self, x):
            calls.append(len(x))
            return np.ones((len(x), 2)) / 2

    assert seconds_per_call(Counts(), np.zeros((4, 2))) == 2  # of 3, 1, 2, 90, 2
    assert calls == [4] * 6  # one to warm up


# ---------------------------------------------------------------------------------------------- compare


@pytest.fixture
def report():
    students = {"alone": [wrong_at(0, 1, 2), wrong_at(0)], "distilled": wrong_at(9)}
    return compare(wrong_at(9, 8), students, DATA)


def test_there_is_a_row_for_the_teacher_and_one_for_each_student(report):
    assert [row.name for row in report.rows] == ["teacher", "alone", "distilled"]
    assert report.teacher is report["teacher"] is report.rows[0]
    with pytest.raises(KeyError, match="no row 'nobody': there are teacher, alone, distilled"):
        report["nobody"]


def test_the_teachers_row(report):
    teacher = report.teacher
    assert (teacher.accuracy_mean, teacher.accuracies) == (0.8, [0.8])
    assert (teacher.accuracy_std, teacher.retention, teacher.agreement) == (0, 1, 1)
    assert teacher.calibration_error == pytest.approx(0.1)  # says 0.9, is right in 0.8


def test_a_students_figures_are_means_over_its_seeds(report):
    alone = report["alone"]
    assert alone.accuracies == [0.7, 0.9]
    assert alone.accuracy_mean == pytest.approx(0.8)
    assert alone.accuracy_std == pytest.approx(math.sqrt(2 * 0.1**2))  # of the sample: over n - 1
    assert alone.agreement == pytest.approx((0.5 + 0.7) / 2)  # wrong elsewhere than the teacher
    assert alone.calibration_error == pytest.approx((0.2 + 0.0) / 2, abs=1e-12)
    assert report["distilled"].retention == pytest.approx(0.9 / 0.8)
    assert report["distilled"].agreement == 0.9


def test_costs_of_networks_are_counted_and_set_against_the_teacher():
    report = compare(MLP((2, 40, 2)), {"small": [MLP((2, 4, 2), seed=s) for s in (1, 2)]}, DATA)
    small, teacher = report["small"], report.teacher
    assert (teacher.parameters, teacher.bytes, teacher.multiply_adds) == (202, 808, 160)
    assert (small.parameters, small.bytes, small.multiply_adds) == (22, 88, 16)
    ratios = small.ratios_to(teacher)
    assert ratios["multiply_adds"] == 0.1
    assert ratios["parameters"] == ratios["bytes"] == 22 / 202
    assert ratios["latency_us"] == small.latency_us / teacher.latency_us > 0
    assert ratios["throughput"] == small.throughput / teacher.throughput > 0
    assert set(teacher.ratios_to(teacher).values()) == {1.0}


def test_latency_is_of_one_sample_and_throughput_of_all():
    sizes = []

    class Counts(Says):
        def predict_proba(self, x):
            sizes.append(len(x))
            return super().predict_proba(x)

    compare(Counts(TRUTH), {"student": wrong_at(0)}, DATA)
    assert set(sizes) == {1, 10}
    assert sizes.count(1) >= 6


def test_latency_and_throughput_come_from_the_measured_times(monkeypatch):
    monkeypatch.setattr(evaluation, "seconds_per_call", lambda model, x: {1: 0.003, 10: 2.0}[len(x)])
    row = compare(wrong_at(), {"student": wrong_at(0)}, DATA)["student"]
    assert row.latency_us == pytest.approx(3000)
    assert row.throughput == 5


def test_a_teacher_that_lacks_a_class_of_its_students_has_probability_0_there():
    class Two(Says):
        classes_ = np.array([0, 1])

        def predict_proba(self, x):
            return np.full((len(x), 2), 0.5)

    data = Dataset(np.zeros((4, 2)), [0, 1, 0, 1])
    report = compare(Two(TRUTH), {"student": MLP((2, 3, 3))}, data, check_teacher=False)
    assert report.teacher.accuracy_mean == 0.5


def test_classes_below_0_are_refused():
    class Shifted(Says):
        classes_ = np.array([-1, 0, 1])

        def predict_proba(self, x):
            return np.full((len(x), 3), 1 / 3)

    with pytest.raises(ValueError, match=r"classes_ of Shifted must be 3 whole numbers from 0, got \[-1, 0, 1\]"):
        predict_proba(Shifted(TRUTH), np.zeros((2, 2)))


def test_models_take_turns_and_the_quickest_round_counts(monkeypatch):
    calls = []

    def seconds(model, x):
        calls.append((model.name, len(x)))
        return 0.001 * len(x) / (1 + len(calls) // 4)  # each round quicker than the one before

    monkeypatch.setattr(evaluation, "TIMING_SECONDS", 1.0)
    monkeypatch.setattr(evaluation, "seconds_per_call", seconds)
    teacher, student = wrong_at(), wrong_at(0)
    teacher.name, student.name = "teacher", "student"
    report = compare(teacher, {"student": student}, DATA)
    turn = [("teacher", 1), ("teacher", 10), ("student", 1), ("student", 10)]
    assert calls == evaluation.ROUNDS * turn
    assert report["student"].latency_us == pytest.approx(1000 / evaluation.ROUNDS, rel=0.3)


def test_calls_that_take_long_are_timed_in_one_round_alone(monkeypatch):
    calls = []
    monkeypatch.setattr(evaluation, "TIMING_SECONDS", 0.4)
    monkeypatch.setattr(evaluation, "seconds_per_call", lambda model, x: calls.append(len(x)) or 0.5)
    compare(wrong_at(), {"student": wrong_at(0)}, DATA)
    assert calls == [1, 10] * 2


def test_models_that_cannot_tell_their_size_have_none(report):
    assert (report["alone"].parameters, report["alone"].bytes, report["alone"].multiply_adds) == (None, None, None)
    assert report["alone"].ratios_to(report.teacher)["parameters"] is None


def test_an_ensemble_teacher_answers_with_the_mean_and_costs_the_sum():
    members = [MLP((2, 4, 2), seed=1), MLP((2, 8, 2), seed=2)]
    data = Dataset(np.random.default_rng(0).standard_normal((30, 2)), np.arange(30) % 2)
    mean = (members[0].predict_proba(data.x) + members[1].predict_proba(data.x)) / 2
    np.testing.assert_array_equal(predict_proba(members, data.x), mean)
    report = compare(members, {"first": members[0]}, data)
    assert report.teacher.accuracy_mean == accuracy(mean, data.y)
    assert len(report.teacher.accuracies) == 1
    assert report.teacher.multiply_adds == members[0].multiply_adds + members[1].multiply_adds
    assert report["first"].agreement == agreement(members[0].predict_proba(data.x), mean)


def test_an_ensemble_with_a_member_of_unknown_size_has_no_size():
    assert compare([MLP((2, 4, 2)), Says(TRUTH)], {"student": MLP((2, 4, 2))}, DATA).teacher.parameters is None


def test_a_list_of_lists_is_several_ensembles():
    report = compare(wrong_at(), {"pairs": [[wrong_at(0), wrong_at(0)], [wrong_at(0, 1), wrong_at(0, 1)]]}, DATA)
    assert report["pairs"].accuracies == [0.9, 0.8]


def test_a_teacher_that_is_never_right_leaves_no_retention():
    assert math.isnan(compare(Says(1 - TRUTH), {"student": wrong_at()}, DATA)["student"].retention)


# ---------------------------------------------------------------------------------------------- what is shown


def row(name, accuracies=(0.5,), **figures):
    usual = {
        "accuracy_mean": float(np.mean(accuracies)), "accuracy_std": 0.0123, "accuracies": list(accuracies),
        "retention": 1.0, "agreement": 0.75, "calibration_error": 0.0456, "parameters": 1000, "bytes": 4000,
        "multiply_adds": 900, "latency_us": 80.0, "throughput": 5e5,
    }  # fmt: skip
    return ReportRow(name, **{**usual, **figures})


def test_the_table_prints_figures_spreads_and_ratios():
    teacher = row("teacher", (0.9876,))
    student = row("student", (0.9, 0.96), retention=0.9517, parameters=10, bytes=40, multiply_adds=9, latency_us=20,
                  throughput=2.5e6)  # fmt: skip
    forest = row("forest", parameters=None, bytes=None, multiply_adds=None, latency_us=4000.0, throughput=1000)
    assert str(Report([teacher, student, forest])) == (
        "                        teacher           student           forest\n"
        "accuracy                 98.76%            93.00%           50.00%\n"
        "  spread over seeds           -              1.23                -\n"
        "retention                100.0%             95.2%           100.0%\n"
        "agreement with teacher    75.0%             75.0%            75.0%\n"
        "calibration error         0.046             0.046            0.046\n"
        "parameters                1,000        10 (1/100)                -\n"
        "bytes                     4,000        40 (1/100)                -\n"
        "multiply-adds               900         9 (1/100)                -\n"
        "latency of one, us         80.0        20.0 (1/4)  4,000.0 (50.0x)\n"
        "throughput, 1/s         500,000  2,500,000 (5.0x)    1,000 (1/500)"
    )


def test_a_ratio_a_little_below_1_is_not_printed_as_1():
    assert "(1/1)" not in str(Report([row("teacher"), row("student", parameters=800)]))


def test_to_dict_holds_every_figure_and_its_ratios_and_is_json(report):
    figures = json.loads(json.dumps(report.to_dict()))
    assert list(figures) == ["teacher", "alone", "distilled"]
    assert figures["alone"]["accuracies"] == [0.7, 0.9]
    assert figures["distilled"]["agreement"] == 0.9
    assert set(figures["alone"]["ratios"]) == {"parameters", "bytes", "multiply_adds", "latency_us", "throughput"}


# ---------------------------------------------------------------------------------------------- what it refuses


@pytest.mark.parametrize(
    ("teacher", "students", "data", "message"),
    [
        (wrong_at(), {"s": wrong_at()}, Dataset(DATA.x), "data must be a Dataset with labels"),
        (wrong_at(), {"s": wrong_at()}, DATA.x, "data must be a Dataset with labels"),
        (wrong_at(), {"s": wrong_at()}, Dataset(DATA.x, TRUTH + 1), r"data.y must be 0 to 1 \(2 classes\), got 2"),
        (wrong_at(), {}, DATA, "students must be a dictionary from names, other than 'teacher', to models"),
        (wrong_at(), [wrong_at()], DATA, "students must be a dictionary"),
        (wrong_at(), {"teacher": wrong_at()}, DATA, "students must be a dictionary from names, other than 'teacher'"),
        (wrong_at(), {"s": []}, DATA, "s is an empty list: at least one model is needed"),
        (wrong_at(), {"s": Says(TRUTH, classes=3)}, DATA, r"Says must have 2 classes, .* of \[0, 1, 2\]"),
        (MLP((3, 2)), {"s": wrong_at()}, DATA, "x must have 3 columns"),
        (wrong_at(), {"s": [wrong_at(), MLP((3, 2))]}, DATA, "x must have 3 columns"),
        (Says(TRUTH, sure=math.nan), {"s": wrong_at()}, DATA, "predict_proba of Says must be finite"),
    ],
)
def test_bad_arguments_are_refused_by_name(teacher, students, data, message):
    with pytest.raises(ValueError, match=message):
        compare(teacher, students, data)


@pytest.mark.parametrize(
    ("teacher", "student", "named"),
    [([], wrong_at(), "teacher"), (object(), wrong_at(), "teacher"), (wrong_at(), "a name", "student"),
     (wrong_at(), [None], "student")],
    ids=["no teachers", "no predict_proba", "text", "None"],
)  # fmt: skip
def test_what_is_no_model_is_refused_by_name(teacher, student, named):
    with np.errstate(all="ignore"), pytest.raises((TypeError, ValueError), match=named):
        compare(teacher, {"student": student}, DATA)


def test_a_model_that_never_saw_a_class_is_measured():
    never_saw_class_1 = Says(np.zeros(10, int), sure=0.9)
    never_saw_class_1.classes_ = np.array([0, 2])
    data = Dataset(DATA.x, [0, 0, 0, 0, 0, 1, 1, 1, 2, 2])
    assert compare(Says(data.y, classes=3), {"student": never_saw_class_1}, data)["student"].accuracy_mean == 0.5


class Lacking:
    """A model that saw some of the classes only."""

    def __init__(self, *classes):
        self.classes_ = np.array(classes)

    def predict_proba(self, x):
        return np.tile(np.eye(len(self.classes_))[0], (len(x), 1))


def test_models_that_lack_classes_are_compared_with_models_that_have_them():
    data = Dataset(np.eye(4), [0, 1, 2, 0])
    student = MLP((4, 5))
    for teacher in (Lacking(0, 2), [Lacking(0, 1, 2), Lacking(1, 3)], [student, Lacking(0, 2)]):
        report = compare(teacher, {"network": student, "lists": [student, student]}, data, check_teacher=False)
        assert report["network"].accuracy_mean == np.mean(student.predict(data.x) == data.y)
    assert compare(Lacking(0, 2), {"another": Lacking(1)}, data, check_teacher=False).teacher.accuracy_mean == 0.5
    with pytest.raises(ValueError, match="MLP must have 4 classes"):
        compare(MLP((4, 4)), {"network": student}, data)


def test_of_several_models_the_first_is_timed_and_of_a_teacher_all(monkeypatch):
    timed = []
    monkeypatch.setattr(evaluation, "seconds_per_call", lambda model, x: timed.append(model) or 1.0)
    teacher, students = [wrong_at(), wrong_at(1)], [wrong_at(0), wrong_at(2)]
    compare(teacher, {"students": students}, DATA)
    assert all(model is teacher or model is students[0] for model in timed)
    assert any(model is teacher for model in timed)
