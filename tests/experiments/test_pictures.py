# SPDX-License-Identifier: MIT
"""The pictures show the figures that they are given."""

import itertools
import sys

import numpy as np
import pytest

from minidistill import MLP, fit, spirals
from minidistill.experiments import pictures as plots
from minidistill.experiments.reproduce.claims import Curve, Panel
from minidistill.experiments.sweep import Point, Sweep
from minidistill.ops import softmax_forward
from minidistill.training.curves import learning_curves

pytest.importorskip("matplotlib")


def test_learning_curves_show_every_epoch(tmp_path):
    data, validation = spirals(90).split(0.5)
    history = fit(MLP((2, 8, 3)), data, epochs=4, validation=validation)
    figure = history.plot(tmp_path / "curves.svg")
    losses = figure.axes[0].lines[0].get_ydata()
    np.testing.assert_array_equal(losses, history.column("loss"))
    assert (tmp_path / "curves.svg").read_text().lstrip().startswith("<?xml")


def test_several_runs_share_one_picture():
    data = spirals(90)
    runs = {name: fit(MLP((2, 8, 3), seed=seed), data, epochs=2) for seed, name in enumerate(("alone", "distilled"))}
    figure = learning_curves(runs)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        "alone training", "alone validation", "distilled training", "distilled validation",
    ]  # fmt: skip


def test_softened_bars_are_the_softened_probabilities():
    logits = np.array([5.0, 1.0, -2.0])
    figure = plots.softened(logits, temperatures=(1, 8), image=np.zeros((8, 8)))
    heights = [bar.get_height() for bar in figure.axes[2].patches]
    np.testing.assert_allclose(heights, softmax_forward(logits[None], 8)[0][0])


def test_confidence_is_that_in_the_right_class():
    student, teacher = np.array([[0.7, 0.3], [0.4, 0.6]]), np.array([[0.9, 0.1], [0.2, 0.8]])
    figure = plots.confidence(student, teacher, np.array([0, 0]))
    x, y = figure.axes[0].lines[1].get_data()
    np.testing.assert_array_equal(x, [0.9, 0.2])
    np.testing.assert_array_equal(y, [0.7, 0.4])


def test_a_sweep_is_a_panel_a_width_of_mean_accuracies_with_the_best_framed():
    def point(width, T, seed, accuracy):
        return Point(width, T, 0.5, seed, accuracy, accuracy, 1.0, "diverged" if accuracy is None else None)

    accuracies = {(8, 1.0): (0.5, 0.7), (8, 4.0): (None, 0.9), (16, 1.0): (None, None), (16, 4.0): (0.8, 0.8)}
    points = [point(*cell, seed, value) for cell, seeds in accuracies.items() for seed, value in enumerate(seeds)]
    figure = plots.sweep_figure(Sweep(points, {}))
    panels = figure.axes[:2]
    assert [ax.get_title() for ax in panels] == ["Width 8", "Width 16"]
    assert [[text.get_text() for text in ax.texts] for ax in panels] == [["60.0", "90.0*"], ["80.0"]]
    np.testing.assert_allclose(panels[0].images[0].get_array(), [[60, 90]])
    np.testing.assert_array_equal(panels[1].images[0].get_array().mask, [[True, False]])
    frames = [np.mean(ax.lines[0].get_xdata()[:4]) if ax.lines else None for ax in panels]
    assert frames == [None, 1]  # around the second temperature of width 16, with which no student failed


def test_a_sweep_that_failed_altogether_is_drawn_all_the_same(tmp_path):
    Sweep([Point(8, 4.0, 0.5, 0, None, None, 1.0, "diverged")], {}).plot(tmp_path / "sweep.png")
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_evidence_is_drawn_over_the_stream_with_the_level_of_an_alarm():
    figure = plots.gate_figure({"calm": np.ones(4), "turned": np.arange(4.0)}, level=2.5, drift=50, inputs=100)
    calm, turned, level, drift = figure.axes[0].lines
    np.testing.assert_array_equal(turned.get_data(), [[25, 50, 75, 100], [0, 1, 2, 3]])
    np.testing.assert_array_equal(calm.get_ydata(), np.ones(4))
    assert set(level.get_ydata()) == {2.5} and set(drift.get_xdata()) == {50}


@pytest.mark.parametrize("parts", [1, 4])
def test_names_under_a_panel_stay_apart(parts):
    names = ["first", "generation 1", "generation 2", "ensemble", "taught by one like it"]
    panel = Panel("Networks", "", "accuracy", [Curve("", names, [[1.0, 2.0]] * len(names))])
    figure = plots.panels([panel] * parts)
    figure.draw_without_rendering()
    for ax in figure.axes:
        boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
        assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_a_curve_of_one_place_is_a_disc_for_there_is_no_line():
    curves = [Curve("teacher", [100.0], [[90.0]]), Curve("cascade", [10.0, 20.0], [[89.0], [89.5]])]
    (ax,) = plots.panels([Panel("Models", "cost", "accuracy", curves)]).axes
    markers = {line.get_label(): line.get_marker() for line in ax.lines}
    assert (markers["teacher"], markers["cascade"]) == ("o", "")


def test_an_unknown_form_of_picture_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="txt"):
        plots.softened(np.ones(3), path=tmp_path / "picture.txt")
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_one_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'minidistill\[plot\]'"):
        plots.softened(np.ones(3))
