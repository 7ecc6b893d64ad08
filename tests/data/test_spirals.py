# SPDX-License-Identifier: MIT
"""The spirals: balanced, shuffled, reproducible, and in fact wound."""

import numpy as np
import pytest

from minidistill.data import spirals


def test_shapes_types_and_range():
    data = spirals()
    assert data.x.shape == (300, 2)
    assert data.x.dtype == np.float32
    assert data.classes == 3
    assert np.hypot(*data.x.T).max() <= 1 + 1e-6


@pytest.mark.parametrize(("n", "classes"), [(300, 3), (100, 3), (7, 7), (50, 2)])
def test_classes_are_balanced_within_one(n, classes):
    counts = np.bincount(spirals(n, classes).y, minlength=classes)
    assert len(counts) == classes
    assert counts.sum() == n
    assert np.ptp(counts) <= 1


def test_rows_are_shuffled():
    data = spirals(300)
    assert 150 < (np.diff(data.y) != 0).sum() < 250, "neighbours share a class in a third of the cases"
    assert abs(np.corrcoef(np.arange(300), np.hypot(*data.x.T))[0, 1]) < 0.2, "the rows run along the arm"


def test_the_seed_alone_decides():
    assert np.array_equal(spirals(seed=3).x, spirals(seed=3).x)
    assert not np.array_equal(spirals(seed=3).x, spirals(seed=4).x)


@pytest.mark.parametrize("turns", [0.5, 2.0])
def test_without_noise_the_angle_grows_with_the_radius_by_the_given_turns(turns):
    data = spirals(3000, classes=3, noise=0.0, turns=turns)
    for arm in range(3):
        x = data.x[data.y == arm].astype(np.float64)
        radius = np.hypot(*x.T)
        x, radius = x[np.argsort(radius)], np.sort(radius)
        angle = np.unwrap(np.arctan2(x[:, 1], x[:, 0]))
        assert angle[-1] - angle[0] == pytest.approx(2 * np.pi * turns * (radius[-1] - radius[0]), rel=1e-4)
        start = (angle[0] - 2 * np.pi * turns * radius[0]) / (2 * np.pi)
        assert (start - arm / 3 + 0.5) % 1 - 0.5 == pytest.approx(0, abs=1e-4), "the arms are not evenly apart"


def test_noise_is_the_deviation_of_the_angle_in_radians():
    calm, noisy = (spirals(3000, noise=noise, seed=1).x.astype(np.float64) @ [1, 1j] for noise in (0.0, 0.3))
    assert np.angle(noisy / calm).std() == pytest.approx(0.3, rel=0.1)


def test_no_straight_line_tells_the_classes_apart_but_the_nearest_neighbour_does():
    train, test = spirals(1000, seed=0), spirals(500, seed=1)
    inputs = [np.column_stack([part.x, np.ones(len(part))]) for part in (train, test)]
    weights, *_ = np.linalg.lstsq(inputs[0], np.eye(3)[train.y], rcond=None)
    assert ((inputs[1] @ weights).argmax(axis=1) == test.y).mean() < 0.6
    distances = ((test.x[:, None] - train.x) ** 2).sum(axis=2)
    assert (train.y[distances.argmin(axis=1)] == test.y).mean() > 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n must be at least 1"),
        ({"n": 2}, "n must be at least the number of classes, 3, got 2"),
        ({"classes": 1}, "classes must be at least 2"),
        ({"noise": -0.1}, r"noise must be in \[0, inf\)"),
        ({"noise": float("nan")}, "noise must be in"),
        ({"turns": 0}, r"turns must be in \(0, inf\)"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        spirals(**arguments)
