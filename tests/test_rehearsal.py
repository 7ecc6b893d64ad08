# SPDX-License-Identifier: MIT
"""rehearsal.py: what check_training says of right loops and of wrong ones that are in no zoo."""

import numpy as np
import pytest
from zoo import loops

from minidistill import MLP, SoftTarget, SoftTargets, check_training, distill, fit
from minidistill.mistakes import OUT_OF_STEP, TEACHER_IN_TRAINING_MODE


def by_distill(student, teacher, data, loss):
    distill(teacher, student, data, loss, epochs=3, validation=data)


def by_kept_answers(student, teacher, data, loss):
    distill(SoftTargets.of(teacher.logits(data.x), data), student, data, loss, epochs=2)


def by_noisy_inputs(student, teacher, data, loss):
    def noise(x, y, generator):
        return x + 0.1 * generator.standard_normal(x.shape).astype(x.dtype), y

    distill(teacher, student, data, loss, epochs=2, augment=noise)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("train", [by_distill, by_kept_answers, by_noisy_inputs, loops.right])
def test_right_loops_are_found_right(train, seed):
    found = check_training(train, seed=seed)
    assert found, str(found)
    assert found.held == ("learning", "answers", "mode", "teacher")


def test_answers_to_rows_that_were_changed_since_are_named():
    def train(student, teacher, data, loss):
        kept = teacher.logits(data.x)
        for _, step, rows in loops.batches(data, epochs=2):
            s, cache = student.forward(data.x[rows] + np.float32(0.3), training=True, step=step)
            loops.learn(student, loss(s, kept[rows], data.y[rows])[1], cache)

    assert check_training(train).mistakes == (OUT_OF_STEP,)


def test_answers_kept_from_training_mode_are_named():
    def train(student, teacher, data, loss):
        kept, _ = teacher.forward(data.x, training=True)
        for _, step, rows in loops.batches(data, epochs=2):
            s, cache = student.forward(data.x[rows], training=True, step=step)
            loops.learn(student, loss(s, kept[rows], data.y[rows])[1], cache)

    assert check_training(train).mistakes == (TEACHER_IN_TRAINING_MODE,)


def test_answers_that_are_nobodys_are_seen_and_not_given_a_name():
    def train(student, teacher, data, loss):
        for _, step, rows in loops.batches(data, epochs=2):
            s, cache = student.forward(data.x[rows], training=True, step=step)
            loops.learn(student, loss(s, 2 * teacher.logits(data.x[rows]), data.y[rows])[1], cache)

    found = check_training(train)
    assert found.broken == ("answers",)
    assert found.mistakes == ()
    assert "in 4 of 4 steps they were not" in str(found)


@pytest.mark.parametrize(
    ("train", "seen"),
    [
        (lambda student, teacher, data, loss: None, "the loss was never called"),
        (lambda student, teacher, data, loss: fit(student, data), "the loss was never called"),
        (
            lambda student, teacher, data, loss: loss(student.forward(data.x, True)[0], teacher.logits(data.x), data.y),
            "the student's parameters are those that it began with",
        ),
        (
            lambda student, teacher, data, loss: loops.right(MLP(student.sizes), teacher, data, loss),
            "the student's parameters are those that it began with",
        ),
    ],
)
def test_a_loop_that_teaches_nothing_or_without_the_loss_is_found(train, seen):
    found = check_training(train)
    assert found.broken == ("learning",)
    assert seen in str(found)


def test_logits_that_the_student_never_gave_are_seen():
    def train(student, teacher, data, loss):
        for _, step, rows in loops.batches(data, epochs=2):
            s, cache = student.forward(data.x[rows], training=True, step=step)
            loops.learn(student, loss(s / 4, teacher.logits(data.x[rows]), data.y[rows])[1], cache)

    found = check_training(train)
    assert found.broken == ("learning",)
    assert "in 4 of 4 steps s was not what the student had said" in str(found)


def test_the_loss_that_the_loop_is_handed_is_soft_targets():
    handed = []
    check_training(lambda student, teacher, data, loss: handed.append((loss, data)))
    loss, data = handed[0]
    s, t = np.random.default_rng(0).standard_normal((2, 4, 5))
    value, ds = loss(s, t, np.arange(4))
    wanted_value, wanted_ds = SoftTarget()(s, t, np.arange(4))
    assert value == wanted_value
    assert np.array_equal(ds, wanted_ds)
    assert (loss.temperature, loss.alpha) == (SoftTarget().temperature, SoftTarget().alpha)
    assert len(data) == 40


def test_what_a_loop_raises_goes_through():
    with pytest.raises(ZeroDivisionError):
        check_training(lambda student, teacher, data, loss: 1 / 0)


def test_bad_input_is_refused():
    with pytest.raises(TypeError, match="train must be a function of student, teacher, data and loss, got 3"):
        check_training(3)
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        check_training(by_distill, seed=-1)
