# SPDX-License-Identifier: MIT
"""The figures show the numbers that they are given."""

import sys

import numpy as np
import pytest

from minidistill.experiments import pictures
from minidistill.ops import softmax_forward

pytest.importorskip("matplotlib")


def test_softened_bars_are_the_softened_probabilities():
    logits = np.array([5.0, 1.0, -2.0])
    figure = pictures.softened(logits, temperatures=(1, 8), image=np.zeros((8, 8)))
    heights = [bar.get_height() for bar in figure.axes[2].patches]
    np.testing.assert_allclose(heights, softmax_forward(logits[None], 8)[0][0])


def test_confidence_is_that_in_the_right_class():
    student, teacher = np.array([[0.7, 0.3], [0.4, 0.6]]), np.array([[0.9, 0.1], [0.2, 0.8]])
    figure = pictures.confidence(student, teacher, np.array([0, 0]))
    x, y = figure.axes[0].lines[1].get_data()
    np.testing.assert_array_equal(x, [0.9, 0.2])
    np.testing.assert_array_equal(y, [0.7, 0.4])


def test_evidence_is_drawn_over_the_stream_with_the_level_of_an_alarm():
    figure = pictures.gate_figure({"calm": np.ones(4), "turned": np.arange(4.0)}, level=2.5, drift=50, inputs=100)
    calm, turned, level, drift = figure.axes[0].lines
    np.testing.assert_array_equal(turned.get_data(), [[25, 50, 75, 100], [0, 1, 2, 3]])
    np.testing.assert_array_equal(calm.get_ydata(), np.ones(4))
    assert set(level.get_ydata()) == {2.5} and set(drift.get_xdata()) == {50}


def test_an_unknown_form_of_picture_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="txt"):
        pictures.softened(np.ones(3), path=tmp_path / "picture.txt")
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_one_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'minidistill\[plot\]'"):
        pictures.softened(np.ones(3))
