# SPDX-License-Identifier: MIT
"""Whatever student and teacher are, they are asked the same way and know the same classes."""

import numpy as np
import pytest

from minidistill import MLP, Cascade
from minidistill.deployment.pair import Pair
from minidistill.distillation.teachers import floored_logits
from minidistill.ops import softmax_forward

X = np.random.default_rng(0).standard_normal((9, 4))


def network(*sizes, seed=0):
    """On the backend that one reads: these are made before a test begins."""
    return MLP(sizes, seed=seed, backend="numpy")


class Forest:
    """Has probabilities, and says of its classes nothing that one could ask beforehand."""

    def predict_proba(self, x):
        return softmax_forward(x[:, :3])[0]


@pytest.mark.parametrize("teacher", [network(4, 3), [network(4, 3), Forest()], Forest(), lambda x: x[:, :3]])
def test_each_kind_of_model_gives_logits_of_all_classes(teacher):
    pair = Pair(network(4, 5, 3), teacher)
    assert pair.classes == 3
    for name in ("student", "teacher"):
        assert pair.logits(name, X).shape == (9, 3)
    np.testing.assert_array_equal(pair.labels("student", X), pair.logits("student", X).argmax(axis=1))
    np.testing.assert_array_equal(pair.labels("teacher", X), pair.teacher_probabilities(X).argmax(axis=1))


def test_the_teachers_labels_are_those_that_a_cascade_predicts():
    """The mean probabilities are 0.5025 and 0.4975; with a floor under those of the first member 0.498 and 0.502."""

    class Counting:
        def predict_proba(self, x):
            return np.tile([1.0, 0.0], (len(x), 1))

    by_logits = lambda x: np.log(np.tile([0.005, 0.995], (len(x), 1)))  # noqa: E731
    cascade = Cascade(by_logits, [Counting(), by_logits], threshold=1.0, classes=2)
    np.testing.assert_array_equal(cascade.pair.labels("teacher", X), np.zeros(9))
    np.testing.assert_array_equal(cascade.predict(X), np.zeros(9))
    np.testing.assert_array_equal(cascade.pair.logits("teacher", X).argmax(axis=1), np.ones(9))


def test_a_list_answers_by_its_mean_probability():
    members = [network(4, 3, seed=1), Forest()]
    floored = softmax_forward(floored_logits(members[1].predict_proba(X)))[0]
    mean = (members[0].predict_proba(X) + floored) / 2
    np.testing.assert_allclose(softmax_forward(Pair(network(4, 3), members).logits("teacher", X))[0], mean, rtol=1e-5)


@pytest.mark.parametrize(
    ("student", "teacher", "classes", "message"),
    [
        (network(4, 3), network(4, 5), None, "numbers of classes must be equal, got student 3, teacher 5"),
        (network(4, 3), [Forest(), network(4, 5)], None, "numbers of classes must be equal, got student 3, teacher 5"),
        (network(4, 3), Forest(), 4, "numbers of classes must be equal, got student 3, classes 4"),
        (Forest(), Forest(), None, "classes must be given"),
        (Forest(), Forest(), 1, "classes must be at least 2"),
        (network(4, 3), [], None, "empty list"),
    ],
)
def test_models_that_do_not_fit_are_refused(student, teacher, classes, message):
    with pytest.raises(ValueError, match=message):
        Pair(student, teacher, classes)


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match="teacher must be an MLP"):
        Pair(network(4, 3), "teacher.npz")


def test_a_teacher_that_turns_out_to_have_other_classes_is_refused():
    with pytest.raises(ValueError, match="Forest must have 5 classes"):
        Pair(network(4, 5), Forest()).logits("teacher", X)
    with pytest.raises(ValueError, match="teacher logits must have 5 columns"):
        Pair(network(4, 5), lambda x: x[:, :3]).logits("teacher", X)
