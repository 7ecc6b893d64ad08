# SPDX-License-Identifier: MIT
"""Outputs of any model become logits by one rule, probabilities of 0 included, and its number of classes is stated."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from minidistill import (
    MLP,
    Cascade,
    Dataset,
    Ensemble,
    Hint,
    QualityGate,
    SoftTarget,
    SoftTargets,
    compare,
    digits,
    distill,
    fit,
    losses,
    quantize,
)
from minidistill.distillation.ensembles import NoisyTeacher
from minidistill.distillation.teachers import (
    FLOOR,
    as_probabilities,
    as_teacher,
    common_number_of_classes,
    floored_logits,
    mixture_logits,
)
from minidistill.distillation.unlabeled import pseudo_label
from minidistill.network import Outputs
from minidistill.ops import softmax_forward
from minidistill.training.probabilities import class_probabilities, number_of_classes

RESULTS = Path(__file__).parents[2] / "docs" / "evidence" / "results" / "floor.json"
X = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)


def softmax(logits):
    return softmax_forward(logits)[0]


class Counting:
    """A model whose probabilities are of exactly 0 and 1."""

    def predict_proba(self, x):
        return np.eye(3)[(x[:, 0] > 0).astype(int)]


@pytest.fixture(scope="module")
def images():
    return digits()


@pytest.fixture(scope="module")
def network():
    return MLP((4, 8, 3), backend="numpy")


# ---------------------------------------------------------------------------------------------- the floor


@pytest.mark.parametrize("C", [2, 3, 10, 1000])
def test_the_floor_is_that_of_the_formula_and_keeps_the_order(C):
    p = np.random.default_rng(C).dirichlet(np.full(C, 0.1), 50)
    p[0] = np.eye(C)[1]
    floored = softmax(floored_logits(p))
    np.testing.assert_allclose(floored, (p + FLOOR / C) / (1 + FLOOR), rtol=1e-12)
    np.testing.assert_array_equal(floored.argmax(axis=1), p.argmax(axis=1))
    assert floored[0].max() > 0.9, "a floor of 0.01 under each of 1,000 classes would make this 0.09"


def test_the_floor_is_the_one_that_was_chosen_on_validation_rows():
    found = json.loads(RESULTS.read_text())
    assert found["chosen"] == FLOOR
    assert max(found["means"], key=found["means"].get) == f"{FLOOR:g}"


def test_the_rule_that_was_measured_is_the_rule_of_the_library():
    pytest.importorskip("sklearn")
    from measure import floor as measure_floor
    p = Counting().predict_proba(X)
    np.testing.assert_allclose(measure_floor.floored(p)[f"{FLOOR:g}"], floored_logits(p), rtol=1e-12)


@pytest.mark.parametrize("temperature", [2.0, 4.0, 8.0, 20.0])
def test_a_forest_teaches_digits_at_any_temperature(images, temperature):
    """With -1e4 as the logit of probability 0, T = 8 gave 58% and 11%, and T = 20 gave 10%."""
    ensemble = pytest.importorskip("sklearn.ensemble")
    train, test = images
    forest = ensemble.RandomForestClassifier(random_state=0).fit(train.x, train.y)
    student = MLP((64, 32, 10))
    distill(forest, student, train, SoftTarget(temperature))
    assert (student.predict(test.x) == test.y).mean() > 0.96


@pytest.mark.parametrize(
    "loss",
    [losses.DecoupledKD(temperature=20.0), losses.ReverseKL(temperature=20.0), losses.NKD(), losses.LogitMatching()],
    ids=lambda loss: type(loss).__name__,
)
def test_other_losses_learn_from_probabilities_of_0(images, loss):
    train, test = images
    one_hot = Counting()
    one_hot.predict_proba = lambda x: np.eye(10)[train.y]
    student = MLP((64, 32, 10))
    with pytest.warns(UserWarning, match="nearly one-hot"):
        distill(one_hot, student, train, loss)
    assert (student.predict(test.x) == test.y).mean() > 0.94


def test_only_logits_have_the_floor_and_probabilities_are_exact(network):
    p, q = Counting().predict_proba(X), softmax(network.logits(X).astype(np.float64))
    np.testing.assert_array_equal(as_probabilities(Counting(), 3)(X), p)
    np.testing.assert_allclose(as_probabilities([Counting(), network], 3)(X), (p + q) / 2)
    both = Ensemble([Counting(), network], weights=[1, 3])
    np.testing.assert_allclose(both.predict_proba(X), (p + 3 * q) / 4)
    floored = (softmax(floored_logits(p)) + 3 * q) / 4
    np.testing.assert_allclose(softmax(both.logits(X)), floored, rtol=1e-6)


@pytest.mark.parametrize("form", [as_teacher, as_probabilities])
@pytest.mark.parametrize("teacher", [[], [Counting(), []]], ids=["empty", "an empty member"])
def test_an_empty_list_is_no_teacher(form, teacher):
    with pytest.raises(ValueError, match="teacher is an empty list: at least one teacher is needed"):
        form(teacher, 3)


def test_pseudo_labels_of_a_teacher_that_is_sure_pass_any_threshold():
    assert len(pseudo_label(Counting(), Dataset(X), 3, threshold=1.0)) == len(X)


def test_the_mean_of_networks_is_not_rounded_to_zero():
    """In float32 the softmax of a gap of 200 is 0, and its logarithm -inf."""
    far = np.array([[0, 200, 400]], np.float32)
    found = mixture_logits([lambda x: far, lambda x: far], X[:1], 3)
    np.testing.assert_allclose(found, far - 400, rtol=1e-6)


# ---------------------------------------------------------------------------------------------- models with logits


def test_logits_come_before_probabilities(network):
    """Through a probability of float32, what is beyond a gap of 103 would be lost."""
    sharp = network.copy()
    sharp.parameters *= 30
    integers = quantize(sharp, X)
    np.testing.assert_array_equal(as_teacher(integers, 3)(X), integers.logits(X))
    assert np.ptp(integers.logits(X), axis=1).max() > 103
    ensemble = Ensemble([sharp])
    np.testing.assert_array_equal(as_teacher(ensemble, 3)(X), ensemble.logits(X))


def test_an_integer_network_is_a_teacher_of_hidden_layers(images):
    train, test = images
    teacher = MLP((64, 32, 10))
    fit(teacher, train, epochs=5)
    student = MLP((64, 16, 10))
    distill(quantize(teacher, train.x), student, train, SoftTarget(alpha=0.5) + 0.01 * Hint(), epochs=5)
    assert (student.predict(test.x) == test.y).mean() > 0.8


# ---------------------------------------------------------------------------------------------- how many classes


def test_models_state_their_number_of_classes(network):
    for model in (network, quantize(network, X), Ensemble([network]), NoisyTeacher(network), [Counting(), network]):
        assert number_of_classes(model) == 3
    named = Counting()
    named.classes = ["daisy", "iris", "tulip"]
    for model in (Counting(), named, [Counting()], lambda x: x):
        assert number_of_classes(model) is None


def test_cascades_gates_schemes_and_reports_accept_every_model_that_states_its_classes(network):
    integers = quantize(network, X)
    for model in (integers, Ensemble([network, Counting()]), NoisyTeacher(integers)):
        assert Cascade(integers, model, 0.5).pair.classes == 3
        assert QualityGate(integers, model, 0.9).pair.classes == 3
        assert Ensemble([model, Counting()]).classes == 3
    data = Dataset(X, np.arange(40) % 3)
    report = compare(Ensemble([network, Counting()]), {"integers": integers}, data, check_teacher=False)
    assert report["integers"].accuracy_mean == (integers.predict(X) == data.y).mean()


def test_numbers_of_classes_must_be_equal_and_stated():
    three, five = MLP((4, 3)), MLP((4, 5))
    assert common_number_of_classes({"one": three, "other": Counting()}, given=3) == 3
    with pytest.raises(ValueError, match="the numbers of classes must be equal, got one 3, other 5, classes 3"):
        common_number_of_classes({"one": three, "other": five}, given=3)
    with pytest.raises(ValueError, match="classes must be given: no number of classes is stated by one or other"):
        common_number_of_classes({"one": Counting(), "other": Counting()})
    with pytest.raises(ValueError, match="classes must be at least 2"):
        common_number_of_classes({"one": three}, given=1)


def test_columns_of_probabilities_stand_at_their_classes():
    model = Counting()
    model.classes_ = np.array([4, 0, 2])
    p = Counting().predict_proba(X)
    np.testing.assert_array_equal(class_probabilities(model, X, 6), p[:, [1, 1, 2, 2, 0, 2]] * [1, 0, 1, 0, 1, 0])


# ---------------------------------------------------------------------------------------------- probabilities as logits


def probabilities(rows, C=3):
    return np.random.default_rng(1).dirichlet(np.ones(C), rows)


PROBABILITIES = r"values before the softmax, got probabilities.*np\.log\(probabilities \+ 0\.1 / \d+\).* predict_proba"


@pytest.mark.parametrize("C", [2, 3, 100])
@pytest.mark.parametrize("form", ["array", "soft targets", "function", "list", "object", "float32"])
def test_probabilities_in_place_of_logits_are_refused(form, C):
    p = probabilities(40, C)
    model = Counting()
    model.logits = lambda x: p
    make = {
        "array": lambda: p,
        "float32": lambda: p.astype(np.float32),
        "soft targets": lambda: SoftTargets.of(p, Dataset(X)),
        "function": lambda: lambda x: p,
        "list": lambda: [lambda x: p],
        "object": lambda: model,
    }[form]
    with pytest.raises(ValueError, match=PROBABILITIES):
        distill(make(), MLP((4, C)), Dataset(X), SoftTarget(alpha=1.0), epochs=1)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: 100 * p,
        lambda p: p.round(2),
        lambda p: (100 * p).round(),
        lambda p: np.where(np.arange(40)[:, None] == 7, 0, p),
        lambda p: 0.99 * p,
    ],
    ids=["percent", "two digits", "whole percent", "a row of zeros", "another sum"],
)
def test_probabilities_are_refused_in_percent_and_rounded_too(change):
    with pytest.raises(ValueError, match=PROBABILITIES):
        SoftTargets.of(change(probabilities(40, 10)), Dataset(X))


def test_soft_targets_of_an_old_file_of_probabilities_are_refused(tmp_path):
    SoftTargets(probabilities(40), Dataset(X).row_hashes).save(tmp_path / "old.npz")
    with pytest.raises(ValueError, match=PROBABILITIES):
        distill(SoftTargets.load(tmp_path / "old.npz"), MLP((4, 3)), Dataset(X), SoftTarget(alpha=1.0))


def test_probabilities_are_refused_as_targets_of_fit_and_of_augmented_rows_and_of_hidden_layers(network):
    data = Dataset(X, np.arange(40) % 3)
    with pytest.raises(ValueError, match="targets must be values before the softmax, got probabilities"):
        fit(MLP((4, 3)), data, SoftTarget(), targets=probabilities(40))
    for loss in (SoftTarget(), SoftTarget() + losses.NKD()):  # with a compiled epoch, and without
        with pytest.raises(ValueError, match="targets must be values before the softmax, got probabilities"):
            fit(MLP((4, 3)), data, loss, targets=network.predict_proba)
    with pytest.raises(ValueError, match=PROBABILITIES):
        distill(network.predict_proba, MLP((4, 3)), data, augment=lambda x, y, generator: (x, y), check_teacher=False)
    outputs = network.outputs(X)
    with pytest.raises(ValueError, match=PROBABILITIES):
        distill(Outputs(softmax(outputs.logits), outputs.hidden), MLP((4, 5, 3)), data, SoftTarget() + Hint())


@pytest.mark.parametrize(
    "logits",
    [
        np.full((4, 2), [0.3, 0.7]),                          # fewer rows than chance explains
        np.array([[0.3, 0.7]] * 36 + [[0.3, 0.9]] * 4),       # a tenth of the rows with another sum
        10 * np.eye(2)[np.arange(40) % 2],                    # labels as logits
        np.array([[0.3, 0.7]] * 39 + [[-0.3, 1.3]]),          # one number below 0
        np.log(probabilities(40, 2) + FLOOR / 2),
    ],
    ids=["few rows", "other sums", "labels", "below 0", "logarithms"],
)  # fmt: skip
def test_logits_that_may_look_like_probabilities_are_accepted(logits):
    np.testing.assert_array_equal(as_teacher(lambda x: logits, 2)(X), logits)


def test_a_single_row_of_two_logits_that_sum_to_1_is_served():
    row = np.array([[0.3, 0.7]])
    cascade = Cascade(lambda x: row, lambda x: row, 0.5, classes=2)
    np.testing.assert_allclose(cascade.predict_proba(X[:1]), softmax(row))


def test_the_remedy_that_the_error_names_teaches_as_an_object_does(images):
    train, _ = images
    p = np.eye(10)[train.y] * 0.9 + 0.01
    students = [MLP((64, 10), dtype=np.float64) for _ in range(2)]
    sure = Counting()
    sure.predict_proba = lambda x: p
    for teacher, student in zip((sure, np.log(p + 0.1 / 10)), students, strict=True):
        distill(teacher, student, train, epochs=1, check_teacher=False)
    np.testing.assert_allclose(students[0].parameters, students[1].parameters, rtol=1e-9, atol=1e-12)


def test_the_floor_in_the_error_is_the_one_of_the_rule():
    with pytest.raises(ValueError, match=re.escape(f"np.log(probabilities + {FLOOR:g} / 3)")):
        as_teacher(lambda x: probabilities(40), 3)(X)
