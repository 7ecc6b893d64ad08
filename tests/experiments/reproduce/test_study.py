# SPDX-License-Identifier: MIT
"""The images of an experiment are parted so that settings are chosen without the test images."""

import numpy as np
import pytest

from minidistill import Dataset
from minidistill.experiments.reproduce import study as room
from minidistill.experiments.reproduce.study import (
    Budget,
    Study,
    accuracy,
    agreement,
    alone,
    distilled,
    errors,
    jittered_teacher,
)


@pytest.fixture
def parted(monkeypatch):
    """Makes a study of numbered images: the test images begin at 100,000."""

    def numbered(start, count):
        x = np.zeros((count, 4), np.float32)
        x[:, 0] = np.arange(start, start + count)
        return Dataset(x, np.arange(count) % 3)

    monkeypatch.setitem(room.LOADERS, "mnist", lambda: (numbered(0, 60_000), numbered(100_000, 10_000)))

    def make(quick=False, held_out=False):
        return Study.of("mnist", 2, quick, held_out)

    return make


def numbers(data):
    return set(data.x[:, 0].astype(int).tolist())


def test_ten_thousand_images_are_held_out_and_nobody_shares_one(parted):
    study = parted()
    parts = [numbers(study.training), numbers(study.validation), numbers(study.test)]
    assert [len(part) for part in parts] == [50_000, 10_000, 10_000]
    assert len(set.union(*parts)) == 70_000
    assert numbers(study.whole) == parts[0] | parts[1]


def test_measured_on_held_out_images_a_study_never_sees_the_test_images(parted):
    study = parted(held_out=True)
    seen = numbers(study.training) | numbers(study.validation) | numbers(study.test) | numbers(study.whole)
    assert max(seen) < 100_000
    assert not numbers(study.whole) & numbers(study.test)


def test_a_quick_study_is_small_and_parted_in_the_same_way(parted):
    study = parted(quick=True)
    assert [len(part.x) for part in (study.training, study.validation, study.test)] == [6_000, 2_000, 2_000]
    assert not numbers(study.training) & numbers(study.validation)


def test_the_bundled_digits_are_parted_alike_though_there_are_few():
    for quick, sizes in ((False, [1081, 216, 500]), (True, [973, 324, 500])):
        study = Study.of("digits", 1, quick, held_out=False)
        assert [len(part) for part in (study.training, study.validation, study.test)] == sizes


def test_the_same_seed_gives_the_same_students():
    data = Dataset(np.eye(6, dtype=np.float32), np.arange(6) % 2)
    budget = Budget(epochs=2, batch_size=2)
    one, other = (alone(data, (5,), budget, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.parameters, other.parameters)
    answers = one.logits(data.x)
    one, other = (distilled(answers, data, (5,), budget, seed=3, T=2.0) for _ in range(2))
    np.testing.assert_array_equal(one.parameters, other.parameters)


def test_teachers_of_different_seeds_differ_and_the_same_seed_gives_the_same():
    data = Dataset(np.random.default_rng(0).random((130, 25), np.float32), np.arange(130) % 2)  # images of 5x5
    one, same, other = (jittered_teacher(data, (5,), epochs=1, seed=seed).parameters for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_errors_are_counted_of_ten_thousand():
    logits = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    data = Dataset(np.zeros((4, 1)), [0, 1, 1, 0])
    assert errors(logits, data) == 5_000
    assert errors(logits, data, rows=np.array([True, True, False, False])) == 2_500


def test_accuracy_and_agreement_are_percentages():
    data = Dataset(np.eye(4, dtype=np.float32), [0, 1, 1, 0])
    network = alone(data, (), Budget(epochs=1, batch_size=4), seed=0)
    said = network.predict(data.x)
    assert accuracy(network, data) == 100 * (said == data.y).mean()
    other = np.eye(2)[1 - said]
    assert agreement(network, other, data) == 0
    assert agreement(network, 1 - other, data) == 100
