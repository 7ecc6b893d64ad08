# SPDX-License-Identifier: MIT
"""Every method of the library takes part in the leaderboard, under the same conditions."""

import numpy as np
import pytest

import minidistill
from minidistill import MLP, CrossEntropy, Dataset, fit, losses
from minidistill.experiments.leaderboard import methods as room_of_methods
from minidistill.experiments.leaderboard.methods import BY_NAME, GENERATIONS, METHODS, TRIALS, Classroom
from minidistill.training.run import Run

SEEN, BATCH = 40, 8


@pytest.fixture(scope="module")
def room():
    """Seven clouds, teachers of them, and students of four hidden units that see forty points."""
    random = np.random.default_rng(0)
    y = np.arange(330) % 7
    x = (np.eye(7)[y] + 0.3 * random.standard_normal((330, 7))).astype(np.float32)
    images, validation, test = (Dataset(x[rows], y[rows]) for rows in (slice(200), slice(200, 260), slice(260, 330)))
    teachers = [MLP((7, 8, 7), seed=seed) for seed in range(3)]
    for teacher in teachers:
        fit(teacher, images, epochs=5)
    return Classroom(images, validation, test, teachers, (4,), 6, SEEN, epochs=10, rate=0.01, batch_size=BATCH)


def test_every_loss_and_every_scheme_takes_part():
    files = ("chains", "ensembles", "mutual", "unlabeled")
    schemes = {name for file in files for name in minidistill.PUBLIC[f"distillation.{file}"]}
    schemes -= {"pseudo_label"}  # which is a part of self_train
    names = {"teacher_assistant": "assist", "mutual_learning": "mutual"}  # on the leaderboard
    wanted = {*losses.METHODS, "SoftTarget", "TopKTarget", *(names.get(scheme, scheme) for scheme in schemes)}
    assert wanted <= set(BY_NAME)
    assert len(BY_NAME) == len(METHODS)


def test_every_method_has_as_many_different_trials():
    for method in METHODS:
        assert len(method.trials) == TRIALS
        assert len({str(trial) for trial in method.trials}) == TRIALS


@pytest.mark.filterwarnings("ignore:the teacher's accuracy")  # a student of ten epochs is the teacher of the next one
@pytest.mark.parametrize("name", BY_NAME)
def test_a_method_teaches_a_student_and_repeats_itself_to_the_bit(name, room):
    method = BY_NAME[name]
    students = [method.train(room, 1, **setting) for setting in (method.trials[-1], method.trials[-1])]
    assert students[0].sizes == (7, 4, 7)
    np.testing.assert_array_equal(students[0].parameters, students[1].parameters)
    assert (students[0].parameters != room.student(1).parameters).any()


@pytest.mark.filterwarnings("ignore:the teacher's accuracy")  # a student of ten epochs is the teacher of the next one
@pytest.mark.parametrize("name", BY_NAME)
def test_every_trial_of_a_method_trains_another_student(name, room):
    method = BY_NAME[name]
    found = {method.train(room, 0, **setting).parameters.tobytes() for setting in method.trials}
    assert len(found) == TRIALS


RUNS = {"assist": 2, "born_again": 1 + GENERATIONS}  # of the others 1


@pytest.mark.parametrize("name", BY_NAME)
def test_all_have_the_same_steps_images_order_and_first_weights(name, room, monkeypatch):
    seen = []
    start = Run.__post_init__

    def watched_start(run):
        start(run)
        seen.append((run.networks[0].parameters.copy(), run.data, run.seed, run.epochs * run.steps))

    monkeypatch.setattr(Run, "__post_init__", watched_start)
    BY_NAME[name].train(room, 2, **BY_NAME[name].trials[0])
    assert len(seen) == RUNS.get(name, 1)
    first_weights, data, seed, steps = seen[-1]
    np.testing.assert_array_equal(first_weights, room.student(2).parameters)
    assert (seed, steps) == (2, 10 * SEEN // BATCH)
    if name not in ("self_train", "data_impressions"):
        np.testing.assert_array_equal(data.x, room.seen_by(2).x)


def test_self_training_hears_the_labels_of_the_images_seen_alone(room, monkeypatch):
    heard = []
    monkeypatch.setattr(room_of_methods, "self_train", lambda *all_of_it, **options: heard.append(all_of_it))
    BY_NAME["self_train"].train(room, 0, temperature=2.0, alpha=0.5)
    _, _, labelled, unlabelled, _ = heard[0]
    assert (len(labelled), len(unlabelled)) == (SEEN, 160)
    assert unlabelled.y is None
    np.testing.assert_array_equal(labelled.x, room.seen_by(0).x)
    assert not set(labelled.row_hashes.tolist()) & set(unlabelled.row_hashes.tolist())


def test_the_student_alone_is_the_one_that_fit_trains(room):
    student = room.student(0)
    fit(student, room.seen_by(0), CrossEntropy(), **room.budget(0))
    np.testing.assert_array_equal(student.parameters, BY_NAME["student alone"].train(room, 0, pace=1.0).parameters)
