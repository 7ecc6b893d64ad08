# SPDX-License-Identifier: MIT
"""Summaries, best setting, table, dictionary and figure of a sweep."""

import json

import numpy as np
import pytest
from sweeps import POINTS, point

from minidistill.experiments.sweep import Point, Sweep
from minidistill.experiments.sweep.result import sweep_figure


def test_a_summary_has_mean_and_spread_over_the_seeds():
    both = Sweep([point(accuracy=0.5), point(accuracy=0.7, seed=1)], {}).summaries
    assert len(both) == 1
    assert both[0].accuracy_mean == pytest.approx(0.6, rel=1e-15)
    assert both[0].accuracy_std == pytest.approx(np.sqrt(0.02), rel=1e-12)
    assert (both[0].agreement, both[0].seconds, both[0].failed) == (0.25, 2.0, 0)


def test_the_best_is_the_narrowest_of_the_most_accurate_that_never_failed():
    lucky = [point(T=1, accuracy=0.9), point(T=1, seed=1, accuracy=None, reason="diverged")]
    result = Sweep([*lucky, point(16, accuracy=0.8), point(8, accuracy=0.8), point(4, accuracy=0.7)], {})
    assert (result.best().width, result.best().temperature) == (8, 4)
    assert result.to_dict()["best"]["width"] == 8


def test_the_table_has_a_line_a_setting():
    failed = point(T=8.0, seed=1, accuracy=None, reason="diverged")
    text = str(Sweep([point(), point(seed=1), point(T=8.0), failed], {}))
    lines = [line.split() for line in text.splitlines()]
    assert lines[1] == ["8", "4", "0.5", "50.00%", "0.00", "25.0%", "2.00"]
    assert lines[2] == ["8", "8", "0.5", "50.00%", "-", "25.0%", "2.00", "1"]
    assert "Best on the validation data, mean of 2 seeds: width 8, T 4, alpha 0.5." in text


def test_the_dictionary_is_json(serial):
    again = json.loads(json.dumps(serial.to_dict()))
    assert again == serial.to_dict()
    assert len(again["points"]) == POINTS
    assert len(again["summaries"]) == POINTS // 2


def test_a_sweep_is_a_panel_a_width_of_mean_accuracies_with_the_best_framed():
    pytest.importorskip("matplotlib")

    def cell(width, T, seed, accuracy):
        return Point(width, T, 0.5, seed, accuracy, accuracy, 1.0, "diverged" if accuracy is None else None)

    accuracies = {(8, 1.0): (0.5, 0.7), (8, 4.0): (None, 0.9), (16, 1.0): (None, None), (16, 4.0): (0.8, 0.8)}
    points = [cell(*place, seed, value) for place, seeds in accuracies.items() for seed, value in enumerate(seeds)]
    figure = sweep_figure(Sweep(points, {}))
    panels = figure.axes[:2]
    assert [ax.get_title() for ax in panels] == ["Width 8", "Width 16"]
    assert [[text.get_text() for text in ax.texts] for ax in panels] == [["60.0", "90.0*"], ["80.0"]]
    np.testing.assert_allclose(panels[0].images[0].get_array(), [[60, 90]])
    np.testing.assert_array_equal(panels[1].images[0].get_array().mask, [[True, False]])
    frames = [np.mean(ax.lines[0].get_xdata()[:4]) if ax.lines else None for ax in panels]
    assert frames == [None, 1]  # around the second temperature of width 16, with which no student failed


def test_a_sweep_that_failed_altogether_is_drawn_all_the_same(tmp_path):
    pytest.importorskip("matplotlib")
    Sweep([Point(8, 4.0, 0.5, 0, None, None, 1.0, "diverged")], {}).plot(tmp_path / "sweep.png")
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
