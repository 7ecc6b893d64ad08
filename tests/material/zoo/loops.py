# SPDX-License-Identifier: MIT
"""Wrong training loops, each in a few lines: from (student, teacher, data, loss) they train the student in place."""

import numpy as np

from zoo.losses import teacher_and_student_swapped

EPOCHS, BATCH, RATE = 200, 30, 0.1


def batches(data, epochs=EPOCHS, shuffled=True):
    """Epoch, step and rows of each batch."""
    generator, step = np.random.default_rng(0), 0
    for epoch in range(epochs):
        order = generator.permutation(len(data)) if shuffled else np.arange(len(data))
        for start in range(0, len(data), BATCH):
            yield epoch, step, order[start : start + BATCH]
            step += 1


def learn(student, ds, cache):
    student.backward(ds, cache)
    student.parameters[:] -= RATE * student.gradients


def right(student, teacher, data, loss):
    for _, step, rows in batches(data):
        x, y = data.x[rows], data.y[rows]
        s, cache = student.forward(x, training=True, step=step)
        learn(student, loss(s, teacher.logits(x), y)[1], cache)


def answers_out_of_step(student, teacher, data, loss):
    kept = [teacher.logits(data.x[rows]) for _, _, rows in batches(data, epochs=1, shuffled=False)]
    for _, step, rows in batches(data):
        s, cache = student.forward(data.x[rows], training=True, step=step)
        learn(student, loss(s, kept[step % len(kept)], data.y[rows])[1], cache)


def teacher_in_training_mode(student, teacher, data, loss):
    for _, step, rows in batches(data):
        x, y = data.x[rows], data.y[rows]
        s, cache = student.forward(x, training=True, step=step)
        t, _ = teacher.forward(x, training=True, step=step)
        learn(student, loss(s, t, y)[1], cache)


def student_left_in_evaluation_mode(student, teacher, data, loss):
    evaluated = False
    for epoch, step, rows in batches(data):
        evaluated = evaluated or epoch > 0  # after the first epoch, and no way back
        x, y = data.x[rows], data.y[rows]
        s, cache = student.forward(x, training=not evaluated, step=step)
        learn(student, loss(s, teacher.logits(x), y)[1], cache)


def labels_out_of_step(student, teacher, data, loss):
    for _, step, rows in batches(data):
        x, y = data.x[rows], data.y[np.sort(rows)]
        s, cache = student.forward(x, training=True, step=step)
        learn(student, loss(s, teacher.logits(x), y)[1], cache)


def divided_by_the_batch_in_the_step(student, teacher, data, loss):
    for _, step, rows in batches(data):
        x, y = data.x[rows], data.y[rows]
        s, cache = student.forward(x, training=True, step=step)
        learn(student, loss(s, teacher.logits(x), y)[1] / len(rows), cache)


def gradient_ascent(student, teacher, data, loss):
    for _, step, rows in batches(data, epochs=10):
        x, y = data.x[rows], data.y[rows]
        s, cache = student.forward(x, training=True, step=step)
        learn(student, -loss(s, teacher.logits(x), y)[1], cache)


def one_dropout_mask(student, teacher, data, loss):
    for _, _, rows in batches(data):
        x, y = data.x[rows], data.y[rows]
        s, cache = student.forward(x, training=True)  # step is 0 in each
        learn(student, loss(s, teacher.logits(x), y)[1], cache)


def gradient_into_the_teacher(student, teacher, data, loss):
    for _, step, rows in batches(data):
        x, y = data.x[rows], data.y[rows]
        s, cache = student.forward(x, training=True, step=step)
        t, teacher_cache = teacher.forward(x)
        learn(student, loss(s, t, y)[1], cache)
        dt = teacher_and_student_swapped(t, s, loss.temperature)[1]  # KL(p || q) by t
        learn(teacher, loss.alpha * dt, teacher_cache)
