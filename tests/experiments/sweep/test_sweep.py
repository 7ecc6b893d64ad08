# SPDX-License-Identifier: MIT
"""A sweep gives the students that `distill` gives, records those that diverge, and refuses mistakes."""

import numpy as np
import pytest
from sweeps import GRID, TRAINING, VALIDATION, Narrow, Serial, found

from minidistill import MLP, SGD, CosineSchedule, Dataset, SoftTarget, SoftTargets, distill
from minidistill.experiments.sweep import sweep


def test_a_point_is_the_student_that_distill_gives(teacher, serial):
    student = MLP((64, 8, 10), seed=1)
    distill(teacher, student, TRAINING, SoftTarget(4, 0.9), epochs=2, seed=1)
    point = next(point for point in serial.points if point.setting == (8, 4, 0.9, 1))
    said = student.predict(VALIDATION.x)
    assert point.accuracy == np.mean(said == VALIDATION.y)
    assert point.agreement == np.mean(said == teacher.predict(VALIDATION.x))
    assert point.seconds > 0


def test_the_points_are_the_grid_in_order(serial):
    order = [(w, T, alpha, s) for w in (4, 8) for T in (1, 4) for alpha in (0.5, 0.9) for s in (0, 1)]
    assert [point.setting for point in serial.points] == order


def test_the_options_reach_the_student(teacher):
    one = {"temperatures": [2], "alphas": [0.5], "widths": [6], "seeds": [3]}
    options = {"epochs": 8, "batch_size": 50, "optimizer": SGD(CosineSchedule(0.3)), "patience": 1}
    result = sweep(
        teacher, TRAINING, VALIDATION, **one, **options, hidden_layers=2, activation="tanh", dropout=0.2,
        executor=Serial(),
    )  # fmt: skip
    student = MLP((64, 6, 6, 10), "tanh", 0.2, seed=3)
    distill(teacher, student, TRAINING, SoftTarget(2, 0.5), seed=3, validation=VALIDATION, **options)
    assert result.points[0].accuracy == np.mean(student.predict(VALIDATION.x) == VALIDATION.y)


def test_kept_answers_teach_as_the_teacher_does(teacher, serial):
    taught, asked = (SoftTargets.of(teacher.logits(data.x), data) for data in (TRAINING, VALIDATION))
    kept = sweep(taught, TRAINING, VALIDATION, validation_targets=asked, executor=Serial(), **GRID)
    assert found(kept) == found(serial)
    alone = sweep(taught, TRAINING, VALIDATION, executor=Serial(), **GRID)
    assert [point.accuracy for point in alone.points] == [point.accuracy for point in serial.points]
    assert {point.agreement for point in alone.points} == {None}


def test_answers_to_other_rows_are_refused(teacher):
    others = SoftTargets.of(teacher.logits(TRAINING.x), TRAINING)
    reordered = TRAINING.subset(np.arange(len(TRAINING))[::-1])
    with pytest.raises(ValueError, match="the same rows in another order"):
        sweep(others, reordered, VALIDATION, executor=Serial(), **GRID)


def test_no_labels_are_needed_where_alpha_is_1(teacher):
    bare = Dataset(TRAINING.x)
    sweep(teacher, bare, VALIDATION, executor=Serial(), **GRID | {"alphas": [1]})
    with pytest.raises(ValueError, match="only alpha=1 learns without labels"):
        sweep(teacher, bare, VALIDATION, executor=Serial(), **GRID)


def test_the_old_name_of_log_still_works(teacher):
    lines, grid = [], GRID | {"widths": [4], "alphas": [1]}
    with pytest.warns(DeprecationWarning, match="say is renamed to log"):
        sweep(teacher, TRAINING, VALIDATION, executor=Serial(), say=lines.append, **grid)
    assert lines == ["4 students, 0 of them finished before ..."]


def test_a_student_that_diverges_is_recorded_and_does_not_stop_the_others(teacher, file):
    grid = GRID | {"temperatures": [4], "widths": [8, 4], "optimizer": Narrow(0.1)}
    result = sweep(teacher, TRAINING, VALIDATION, executor="processes:2", file=file, **grid)
    failed, whole = result.points[:4], result.points[4:]
    assert {point.accuracy for point in failed} == {None}
    assert all("loss became nan at epoch 1" in point.reason for point in failed)
    assert all(point.accuracy > 0 and point.reason is None for point in whole)
    assert result.best().width == 4
    assert "4 of 8 students failed; the first, of width 8, T 4, alpha 0.5, seed 0: the loss became" in str(result)
    again = Serial()
    assert found(sweep(teacher, TRAINING, VALIDATION, executor=again, file=file, **grid)) == found(result)
    assert again.count == 0


def test_where_all_fail_there_is_no_best(teacher):
    result = sweep(teacher, TRAINING, VALIDATION, executor=Serial(), **GRID | {"widths": [8], "optimizer": Narrow(0.1)})
    assert result.to_dict()["best"] is None
    assert "Best" not in str(result)
    with pytest.raises(ValueError, match="no best setting"):
        result.best()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"temperatures": []}, "temperatures must hold at least one number, and none twice, got []"),
        ({"temperatures": [0]}, "temperature must be in [1e-6, 1e6), got 0"),
        ({"temperatures": 4}, "temperatures must be a list of numbers, got 4"),
        ({"alphas": "0.5"}, "alphas must be a list of numbers, got '0.5'"),
        ({"alphas": [2]}, "alpha must be in [0, 1], got 2"),
        ({"widths": [8, 8]}, "widths must hold at least one number, and none twice, got [8, 8]"),
        ({"widths": [0]}, "each of widths must be at least 1, got 0"),
        ({"widths": [10**9]}, "too many for memory"),
        ({"seeds": [-1]}, "seed must be at least 0, got -1"),
        ({"hidden_layers": 0}, "hidden_layers must be at least 1, got 0"),
        ({"activation": "step"}, "activation must be one of"),
        ({"dropout": 1}, "dropout must be in [0, 1), got 1"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"optimizer": "sgd"}, "optimizer must be an optimizer, such as SGD(CosineSchedule(0.1))"),
        ({"optimizer": SGD(lambda progress: 0.1)}, "whose schedule can be told from others"),
        ({"classes": 4}, "validation.y must be 0 to 3"),
        ({"classes": 11}, "teacher logits must have 11 columns, got shape (150, 10)"),
        ({"executor": "threads:2"}, "executor must be 'processes:N', 'dask://HOST:PORT' or a concurrent.futures"),
        ({"executor": "processes:0"}, "executor must be"),
        ({"executor": "dask://localhost"}, "executor must be"),
        ({"executor": 2}, "executor must be"),
    ],
)
def test_a_mistake_gets_one_clear_error_and_leaves_no_file(teacher, file, options, said):
    with pytest.raises((ValueError, TypeError)) as refusal:
        sweep(teacher, TRAINING, VALIDATION, file=file, **{**GRID, "executor": Serial(), **options})
    assert said in str(refusal.value)
    assert not file.exists()


@pytest.mark.parametrize(
    ("training", "validation", "said"),
    [
        (TRAINING.x, VALIDATION, "training must be a Dataset, got ndarray"),
        (TRAINING, None, "validation must be a Dataset, got NoneType"),
        (TRAINING, Dataset(VALIDATION.x), "validation must have labels"),
        (TRAINING, Dataset(VALIDATION.x[:, :9], VALIDATION.y), "validation.x must have 64 columns, got shape (100, 9)"),
    ],
)
def test_data_that_does_not_fit_is_refused(teacher, training, validation, said):
    with pytest.raises((ValueError, TypeError)) as refusal:
        sweep(teacher, training, validation, executor=Serial(), **GRID)
    assert said in str(refusal.value)
