# SPDX-License-Identifier: MIT
"""What check_training says of right loops and of wrong ones that are in no zoo."""

import numpy as np
import pytest
from zoo import loops

from minidistill import (
    MLP,
    SGD,
    Adam,
    AdamW,
    CosineSchedule,
    LabelNoise,
    Mixup,
    SoftTarget,
    SoftTargets,
    WarmUp,
    check_training,
    distill,
    fit,
)
from minidistill.diagnosis import mistakes
from minidistill.diagnosis.check_training import STATEMENTS, _multiple

every_backend = pytest.mark.parametrize("backend", ["numpy", pytest.param("cpu", marks=pytest.mark.compiles)])


def by_distill(student, teacher, data, loss):
    distill(teacher, student, data, loss, epochs=3, validation=data)


def by_kept_answers(student, teacher, data, loss):
    distill(SoftTargets.of(teacher.logits(data.x), data), student, data, loss, epochs=2)


def by_noisy_inputs(student, teacher, data, loss):
    def noise(x, y, generator):
        return x + 0.1 * generator.standard_normal(x.shape).astype(x.dtype), y

    distill(teacher, student, data, loss, epochs=2, augment=noise)


def by_mixed_inputs(student, teacher, data, loss):
    distill(teacher, student, data, loss, epochs=3, augment=Mixup(5))


def by_noisy_labels(student, teacher, data, loss):
    distill(teacher, student, data, loss, epochs=3, augment=LabelNoise(0.2, 5))


def in_parts_of_a_batch(student, teacher, data, loss):
    """The gradient of 20 rows is made of two halves, which share a step."""
    for _, step, rows in loops.batches(data, epochs=4):
        total = np.zeros_like(student.gradients)
        for half in np.array_split(rows, 2):
            s, cache = student.forward(data.x[half], training=True, step=step)
            student.backward(loss(s, teacher.logits(data.x[half]), data.y[half])[1], cache)
            total += student.gradients * len(half) / len(rows)
        student.parameters[:] -= 0.1 * total


def by_a_sum_over_the_batch(student, teacher, data, loss):
    """The mean is undone and done again."""
    for _, step, rows in loops.batches(data, epochs=4):
        s, cache = student.forward(data.x[rows], training=True, step=step)
        student.backward(len(rows) * loss(s, teacher.logits(data.x[rows]), data.y[rows])[1], cache)
        student.parameters[:] -= 0.1 * student.gradients / len(rows)


@every_backend
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "train",
    [
        by_distill,
        by_kept_answers,
        by_noisy_inputs,
        by_mixed_inputs,
        by_noisy_labels,
        in_parts_of_a_batch,
        by_a_sum_over_the_batch,
        loops.right,
    ],
)
def test_right_loops_are_found_right(train, seed, backend):
    found = check_training(train, seed=seed, backend=backend)
    assert found, str(found)
    assert found.held == tuple(STATEMENTS)


@pytest.mark.parametrize("batch_size", [1, 8, 32, 43])
@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(0.05, momentum=0.0),
        SGD(0.05, nesterov=True, weight_decay=0.1),
        SGD(CosineSchedule(0.1), clip_norm=0.1),
        SGD(WarmUp(CosineSchedule(0.1), 0.5), max_weight_norm=0.5),
        Adam(0.01),
        AdamW(0.01, weight_decay=0.5),
    ],
)
def test_every_optimizer_goes_down(optimizer, batch_size):
    def train(student, teacher, data, loss):
        distill(teacher, student, data, loss, epochs=3, batch_size=batch_size, optimizer=optimizer)

    found = check_training(train)
    assert found, str(found)


def test_the_best_parameters_may_be_put_back_at_the_end():
    def train(student, teacher, data, loss):
        distill(teacher, student, data, loss, epochs=5, validation=data, patience=1, optimizer=SGD(1.0))

    assert check_training(train)


# ---------------------------------------------------------------------------------------------- what no loss can see

WRONG = {
    loops.labels_out_of_step: ("labels", mistakes.LABELS_OUT_OF_STEP),
    loops.divided_by_the_batch_in_the_step: ("descent", mistakes.BATCH_TWICE),
    loops.gradient_ascent: ("descent", mistakes.ASCENT),
    loops.one_dropout_mask: ("masks", mistakes.SAME_MASK),
}


@every_backend
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("train", WRONG, ids=lambda train: train.__name__)
def test_a_mistake_outside_the_loss_is_named(train, seed, backend):
    found = check_training(train, seed=seed, backend=backend)
    invariant, mistake = WRONG[train]
    assert found.broken == (invariant,)
    assert found.mistakes == (mistake,)


def trained(update, optimizer=None, epochs=4, size=loops.BATCH, step_of=lambda epoch, step: step):
    """A loop whose update is `update` of the student, ds, the cache and the optimizer's step."""

    def train(student, teacher, data, loss):
        state = None if optimizer is None else optimizer.initial_state(student.parameters)

        def take_step(step):
            optimizer.update(student, state, optimizer.rate(0.0), step + 1)

        generator, step = np.random.default_rng(0), 0
        for epoch in range(epochs):
            order = generator.permutation(len(data))
            for start in range(0, len(data), size):
                rows = order[start : start + size]
                s, cache = student.forward(data.x[rows], training=True, step=step_of(epoch, step))
                update(student, loss(s, teacher.logits(data.x[rows]), data.y[rows])[1], cache, take_step, step)
                step += 1

    return train


def in_ds(student, ds, cache, take_step, step):
    student.backward(ds / len(ds), cache)
    take_step(step)


def in_the_gradients(student, ds, cache, take_step, step):
    student.backward(ds, cache)
    student.gradients /= len(ds)
    take_step(step)


@pytest.mark.parametrize("size", [5, 8, 30, 43])
@pytest.mark.parametrize("optimizer", [SGD(0.1), SGD(0.1, momentum=0.0), Adam(0.01)])
@pytest.mark.parametrize("update", [in_ds, in_the_gradients])
def test_a_second_division_by_the_batch_is_named_wherever_it_is(update, optimizer, size):
    assert check_training(trained(update, optimizer, size=size)).mistakes == (mistakes.BATCH_TWICE,)


def in_the_rate(student, ds, cache, take_step, step):
    student.backward(ds, cache)
    student.parameters[:] -= 0.1 / len(ds) * student.gradients


def in_ds_that_is_forgotten(student, ds, cache, take_step, step):
    student.backward(ds / len(ds), cache)
    take_step(step)
    student.gradients[:] = 0


@pytest.mark.parametrize("size", [5, 8, 30])
@pytest.mark.parametrize("optimizer", [SGD(0.1), SGD(0.1, nesterov=True, weight_decay=0.1)])
@pytest.mark.parametrize("update", [in_the_rate, in_ds_that_is_forgotten])
def test_a_second_division_that_leaves_no_gradients_shows_by_the_sizes_of_the_batches(update, optimizer, size):
    found = check_training(trained(update, optimizer, size=size))
    assert found.mistakes == (mistakes.BATCH_TWICE,)
    assert "in proportion to 1/B times the gradient" in str(found)


def negated(student, ds, cache, take_step, step):
    student.backward(-ds, cache)
    take_step(step)


def added(student, ds, cache, take_step, step):
    student.backward(ds, cache)
    student.parameters[:] += 0.01 * student.gradients


@pytest.mark.parametrize("size", [1, 8, 30, 43])
@pytest.mark.parametrize("optimizer", [SGD(0.01), SGD(0.01, clip_norm=0.1), Adam(0.001), AdamW(0.001)])
@pytest.mark.parametrize("update", [negated, added])
def test_an_ascent_is_named_whatever_takes_the_step(update, optimizer, size):
    assert check_training(trained(update, optimizer, size=size)).mistakes == (mistakes.ASCENT,)


def test_a_gradient_of_0_has_no_multiples():
    assert np.isnan(_multiple(np.ones(3), np.zeros(3)))
    assert np.isnan(_multiple(np.array([1.0, 2.0, 3.0]), np.ones(3)))
    assert _multiple(np.full(3, 0.5), np.ones(3)) == 0.5


def test_an_ascent_of_a_single_step_is_named():
    assert check_training(trained(added, epochs=1, size=43)).mistakes == (mistakes.ASCENT,)


def kept_going(student, ds, cache, take_step, step):
    loops.learn(student, ds, cache)


@pytest.mark.parametrize("step_of", [lambda epoch, step: 7, lambda epoch, step: epoch, lambda epoch, step: step % 2])
def test_a_mask_that_comes_again_is_named(step_of):
    found = check_training(trained(kept_going, step_of=step_of))
    assert found.broken == ("masks",)
    assert found.mistakes == (mistakes.SAME_MASK,)


def labeled(choose):
    """A loop that takes the labels that `choose` makes of the data's labels and of the rows."""

    def train(student, teacher, data, loss):
        for _, step, rows in loops.batches(data, epochs=4):
            x = data.x[rows]
            s, cache = student.forward(x, training=True, step=step)
            loops.learn(student, loss(s, teacher.logits(x), choose(data.y, rows))[1], cache)

    return train


def in_the_last_batch_alone(y, rows):
    return y[rows] if len(rows) == loops.BATCH else y[rows][::-1]


def in_the_order_of_the_file(y, rows):
    return y[: len(rows)]


def one_row_off(y, rows):
    return y[rows - 1]


@pytest.mark.parametrize("choose", [in_the_order_of_the_file, one_row_off, in_the_last_batch_alone])
def test_labels_of_other_rows_are_named(choose):
    found = check_training(labeled(choose))
    assert found.broken == ("labels",)
    assert found.mistakes == (mistakes.LABELS_OUT_OF_STEP,)


def test_labels_of_other_rows_are_named_where_an_augmentation_moves_the_rows():
    def train(student, teacher, data, loss):
        generator = np.random.default_rng(0)
        for _, step, rows in loops.batches(data, epochs=4):
            x = data.x[rows] + 0.1 * generator.standard_normal(data.x[rows].shape).astype(np.float32)
            s, cache = student.forward(x, training=True, step=step)
            loops.learn(student, loss(s, teacher.logits(x), data.y[np.sort(rows)])[1], cache)

    assert check_training(train).mistakes == (mistakes.LABELS_OUT_OF_STEP,)


# ---------------------------------------------------------------------------------------------- teachers and modes


def test_answers_to_rows_that_were_changed_since_are_named():
    def train(student, teacher, data, loss):
        kept = teacher.logits(data.x)
        for _, step, rows in loops.batches(data, epochs=2):
            s, cache = student.forward(data.x[rows] + np.float32(0.3), training=True, step=step)
            loops.learn(student, loss(s, kept[rows], data.y[rows])[1], cache)

    assert check_training(train).mistakes == (mistakes.OUT_OF_STEP,)


def kept(answers, scale=1.0):
    """A loop with the teacher's logits answers(teacher, x), and the student's logits times `scale`."""

    def train(student, teacher, data, loss):
        t = answers(teacher, data.x)
        for _, step, rows in loops.batches(data, epochs=2):
            s, cache = student.forward(data.x[rows], training=True, step=step)
            loops.learn(student, loss(scale * s, t[rows], data.y[rows])[1], cache)

    return train


def test_answers_kept_from_training_mode_are_named():
    train = kept(lambda teacher, x: teacher.forward(x, training=True)[0])
    assert check_training(train).mistakes == (mistakes.TEACHER_IN_TRAINING_MODE,)


def test_answers_that_are_nobodys_are_seen_and_not_given_a_name():
    found = check_training(kept(lambda teacher, x: 2 * teacher.logits(x)))
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
    found = check_training(kept(lambda teacher, x: teacher.logits(x), scale=0.25))
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
    assert len(data) == 43


def test_what_a_loop_raises_goes_through():
    with pytest.raises(ZeroDivisionError):
        check_training(lambda student, teacher, data, loss: 1 / 0)


def test_bad_input_is_refused():
    with pytest.raises(TypeError, match="train must be a function of student, teacher, data and loss, got 3"):
        check_training(3)
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        check_training(by_distill, seed=-1)
