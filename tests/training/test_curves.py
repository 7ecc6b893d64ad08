# SPDX-License-Identifier: MIT
"""Learning curves show the losses of every epoch."""

import numpy as np
import pytest

from minidistill import MLP, fit, spirals
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
