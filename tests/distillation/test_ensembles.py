# SPDX-License-Identifier: MIT
"""Ensembles, whose members' predictions are averaged, and teachers with noise on their logits."""

import numpy as np
import pytest
from arrangements import DATA, OPTIONS, ConstantProbabilities, network

from minidistill import (
    MLP,
    Dataset,
    Ensemble,
    NoisyTeacher,
    distill,
    fit,
    spirals,
)
from minidistill.distillation.soft_targets import soft_targets

# ---------------------------------------------------------------------------------------------- ensembles


def test_an_ensemble_answers_with_the_weighted_mean_of_probabilities():
    ensemble = Ensemble([ConstantProbabilities(0.5, 0.5, 0.0), ConstantProbabilities(0.1, 0.3, 0.6)], [1, 3], classes=3)
    assert ensemble.weights == (0.25, 0.75)
    np.testing.assert_allclose(ensemble.predict_proba(DATA.x), [[0.2, 0.35, 0.45]] * len(DATA), rtol=1e-12)


def test_without_weights_an_ensemble_teaches_what_a_list_does():
    members = [network(1), network(2, 7), network(3)]
    as_list, as_ensemble = soft_targets(members, DATA, 3).logits, soft_targets(Ensemble(members), DATA, 3).logits
    np.testing.assert_allclose(as_ensemble, as_list, rtol=1e-12)


def test_one_member_cannot_rule_out_a_class_on_its_own():
    sure, open_minded = ConstantProbabilities(1.0, 0.0, 0.0), ConstantProbabilities(0.2, 0.8, 0.0)
    found = Ensemble([sure, open_minded], classes=3).predict_proba(DATA.x[:1])
    np.testing.assert_allclose(found, [[0.6, 0.4, 0.0]], rtol=1e-12)


def test_ensembles_take_whatever_can_be_asked_and_one_another():
    one = network(1)
    inner = Ensemble([one, one.logits, ConstantProbabilities(0.2, 0.3, 0.5)], [1, 1, 0])
    np.testing.assert_allclose(Ensemble([inner, [one]]).predict_proba(DATA.x), one.predict_proba(DATA.x), rtol=1e-12)


def test_a_weight_of_0_silences_a_member(teacher):
    ensemble = Ensemble([teacher, network(1)], [2, 0])
    np.testing.assert_allclose(ensemble.predict_proba(DATA.x), teacher.predict_proba(DATA.x), rtol=1e-12)


def test_weighed_members_make_the_labels_likelier_than_any_other_weights_do():
    """[ENS-1]"""
    members = []
    for seed in range(3):
        member = network(seed, 16)
        fit(member, spirals(60, seed=seed), epochs=20)
        members.append(member)
    validation = spirals(150, seed=9)

    def log_likelihood(weights):
        p = Ensemble(members, weights).predict_proba(validation.x)
        return np.log(p[np.arange(len(validation)), validation.y]).mean()

    best = Ensemble.fit_weights(members, validation).weights
    assert sum(best) == pytest.approx(1)
    others = np.random.default_rng(0).dirichlet(np.ones(3), 200)
    assert all(log_likelihood(best) >= log_likelihood(weights) - 1e-9 for weights in others)


def test_weighing_finds_the_member_that_knows(teacher):
    stranger = ConstantProbabilities(0.98, 0.01, 0.01)
    assert Ensemble.fit_weights([stranger, teacher], DATA).weights[1] > 0.95


def test_labels_that_nobody_finds_possible_leave_the_weights_finite():
    weights = Ensemble.fit_weights([ConstantProbabilities(1.0, 0.0, 0.0)] * 2, DATA, classes=3).weights
    np.testing.assert_allclose(weights, [0.5, 0.5])


def test_the_old_name_of_fit_weights_still_works(teacher):
    with pytest.warns(DeprecationWarning, match="Ensemble.weighed is renamed to Ensemble.fit_weights"):
        ensemble = Ensemble.weighed([network(1), teacher], DATA)
    assert ensemble.weights == Ensemble.fit_weights([network(1), teacher], DATA).weights


def test_a_student_cannot_be_a_member_of_its_own_teacher(teacher):
    student = network(1)
    with pytest.raises(ValueError, match="teacher and student are the same network"):
        distill(Ensemble([teacher, student]), student, DATA)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Ensemble([]), ValueError, "members must be a list of at least one teacher, got"),
        (lambda: Ensemble(network(1)), ValueError, "members must be a list of at least one teacher, got MLP"),
        (lambda: Ensemble(["a name"], classes=3), TypeError, "teacher must be .* got str"),
        (lambda: Ensemble([network(1)], [1, 2]), ValueError, "weights must be one for each of the 1 members, got 2"),
        (lambda: Ensemble([network(1)], [-1]), ValueError, r"each weight must be in \[0, inf\), got -1"),
        (lambda: Ensemble([network(1)] * 2, [0, 0]), ValueError, "weights must not all be 0"),
        (lambda: Ensemble([ConstantProbabilities(0.5, 0.5)]), ValueError, "classes must be given: no number of class"),
        (lambda: Ensemble([network(1), MLP((2, 4))]), ValueError, r"must be equal, got members\[0\] 3, members\[1\] 4"),
        (lambda: Ensemble([network(1)], classes=4), ValueError, r"must be equal, got members\[0\] 3, classes 4"),
        (lambda: Ensemble.fit_weights([network(1)], Dataset(DATA.x)), ValueError, "must be a Dataset with labels"),
        (lambda: Ensemble.fit_weights([MLP((2, 2))], DATA), ValueError, "must have labels of 2 classes, got 2"),
    ],
)
def test_ensembles_of_nobody_or_of_bad_weights_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


# ---------------------------------------------------------------------------------------------- noise


def test_noise_multiplies_the_logits_by_normal_numbers_around_1():
    teacher = network(1)
    factors = NoisyTeacher(teacher, noise=0.2)(DATA.x) / teacher.logits(DATA.x)
    assert factors.mean() == pytest.approx(1, abs=4 * 0.2 / np.sqrt(factors.size))
    assert factors.std() == pytest.approx(0.2, rel=0.2)


def test_a_row_hears_the_same_noise_in_any_order_and_any_company(teacher):
    noisy, order = NoisyTeacher(teacher), np.random.default_rng(0).permutation(60)
    together = noisy(DATA.x)
    np.testing.assert_allclose(noisy(DATA.x[order]), together[order], rtol=1e-12)
    np.testing.assert_allclose(noisy(DATA.x[7:8]), together[7:8], rtol=1e-12)


def test_the_noise_is_that_of_the_seed(teacher):
    assert (NoisyTeacher(teacher, seed=1)(DATA.x) != NoisyTeacher(teacher, seed=2)(DATA.x)).all()
    np.testing.assert_array_equal(NoisyTeacher(teacher, seed=1)(DATA.x), NoisyTeacher(teacher, seed=1)(DATA.x))


def test_a_share_of_the_rows_is_blurred(teacher):
    data = spirals(300, seed=5)
    plain = teacher.logits(data.x)
    changed = (NoisyTeacher(teacher, share=0.3)(data.x) != plain).any(axis=1)
    assert 0.2 < changed.mean() < 0.4
    for silent in (NoisyTeacher(teacher, share=0.0), NoisyTeacher(teacher, noise=0.0)):
        np.testing.assert_array_equal(silent(data.x), plain)


def test_a_noisy_teacher_teaches_with_and_without_augmentation(teacher):
    for options in ({}, {"augment": lambda x, y, generator: (x + generator.normal(0, 0.1, x.shape), y)}):
        student = network(9)
        distill(NoisyTeacher([teacher, network(1)], classes=3), student, DATA, **OPTIONS, **options)
        assert np.isfinite(student.parameters).all()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: NoisyTeacher(network(1), noise=-1), ValueError, r"noise must be in \[0, inf\), got -1"),
        (lambda: NoisyTeacher(network(1), share=2), ValueError, r"share must be in \[0, 1\], got 2"),
        (lambda: NoisyTeacher(network(1), seed=-1), ValueError, "seed must be at least 0"),
        (lambda: NoisyTeacher("a name", classes=3), TypeError, "teacher must be .* got str"),
        (lambda: NoisyTeacher(network(1).logits), ValueError, "classes must be given: .* is stated by teacher"),
    ],
)
def test_bad_noise_is_refused_where_it_is_made(make, error, message):
    with pytest.raises(error, match=message):
        make()
