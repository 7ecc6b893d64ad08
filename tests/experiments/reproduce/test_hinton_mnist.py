# SPDX-License-Identifier: MIT
"""The rule that mends the biases of digits never seen does what it says, and looks at no label."""

import numpy as np
import pytest

from minidistill import MLP
from minidistill.experiments.reproduce import hinton_mnist
from minidistill.experiments.reproduce.hinton_mnist import SHARP, answers_to_views, offsets_by_teacher, with_a_hole
from minidistill.ops import softmax_forward


@pytest.fixture
def images():
    return np.random.default_rng(0).random((50, 64), dtype=np.float32)


def shares(network, images, offsets=0):
    return softmax_forward(network.logits(images) + offsets, SHARP)[0].mean(axis=0)


def test_the_teachers_answer_is_the_mean_over_nine_shifts_of_an_image(images):
    teacher = MLP((64, 16, 4), seed=0)
    total = 0
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            rolled = np.roll(np.pad(images.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1))), (down, right), axis=(1, 2))
            total = total + teacher.logits(rolled[:, 1:-1, 1:-1].reshape(-1, 64))
    np.testing.assert_allclose(answers_to_views(teacher, images), total / 9, rtol=1e-5, atol=1e-6)


def test_each_image_loses_one_rectangle_and_nothing_else(images):
    altered = with_a_hole(images, 200, seed=0)
    originals = {row.tobytes(): row for row in images}
    assert len(originals) == 50
    holes = 0
    for row in altered.reshape(-1, 8, 8):
        rows, columns = np.nonzero(row == 0)
        original = next(image for image in images.reshape(-1, 8, 8) if (image == row)[row != 0].all())
        if len(rows):
            hole = np.zeros((8, 8), bool)
            hole[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
            np.testing.assert_array_equal(row, np.where(hole, 0, original))
            holes += 1
    assert holes == 200
    assert (images > 0).all()  # they themselves stay


def test_the_same_seed_alters_the_images_in_the_same_way(images):
    np.testing.assert_array_equal(with_a_hole(images, 20, seed=1), with_a_hole(images, 20, seed=1))
    assert (with_a_hole(images, 20, seed=1) != with_a_hole(images, 20, seed=2)).any()


def test_the_student_gives_unseen_classes_as_much_as_the_teacher_does(images, monkeypatch):
    monkeypatch.setattr(hinton_mnist, "ALTERED", 500)
    teacher, student = MLP((64, 16, 4), seed=0), MLP((64, 16, 4), seed=1)
    student.biases[-1][:] = [0, -1.5, 0, -1]
    offsets = offsets_by_teacher(student, teacher, images, unseen=[1, 3], seed=5)
    assert offsets[0] == offsets[2] == 0
    altered = with_a_hole(images, 500, seed=5)
    wanted, before, after = shares(teacher, altered), shares(student, altered), shares(student, altered, offsets)
    np.testing.assert_allclose(after[[1, 3]], wanted[[1, 3]], rtol=0.02)
    assert not np.allclose(before[[1, 3]], wanted[[1, 3]], rtol=0.2)


def test_a_class_that_no_answer_names_leaves_the_offsets_finite(images, monkeypatch):
    monkeypatch.setattr(hinton_mnist, "ALTERED", 100)
    teacher, student = MLP((64, 4), seed=0), MLP((64, 4), seed=1)
    teacher.biases[-1][2] = -1e4
    assert np.isfinite(offsets_by_teacher(student, teacher, images, unseen=[2], seed=0)).all()
