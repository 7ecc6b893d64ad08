# SPDX-License-Identifier: MIT
"""History: its columns, its table and its best epoch."""

import math

import numpy as np
from small_runs import small

from minidistill import (
    SGD,
    CosineSchedule,
    History,
    fit,
)
from minidistill.training.history import Epoch


def test_history_has_a_row_an_epoch_and_its_columns_are_arrays(data):
    history = fit(small(), data, epochs=3, batch_size=8, validation=data, optimizer=SGD(CosineSchedule(0.2)))
    assert history.column("epoch").tolist() == [1, 2, 3]
    np.testing.assert_allclose(history.column("learning_rate"), [0.2, 0.15, 0.05])
    assert (history.column("seconds") > 0).all()
    assert np.isfinite(history.column("validation_loss")).all()
    assert History().column("loss").shape == (0,)


def test_history_prints_a_table():
    history = History([Epoch(1, 0.1, 2.25, 1.5, 0.375, 0.061), Epoch(2, 0.05, 1.125, 0.75, 1.0, 12.0)])
    assert str(history) == (
        "epoch      rate      loss val. loss val. acc.  seconds\n"
        "    1       0.1    2.2500    1.5000    37.50%     0.06\n"
        "    2      0.05    1.1250    0.7500   100.00%    12.00"
    )


def test_history_without_validation_prints_dashes_in_line():
    header, line = str(History([Epoch(1, 0.1, 2.25, math.nan, math.nan, 0.061)])).splitlines()
    assert line == "    1       0.1    2.2500         -         -     0.06"
    assert len(line) == len(header)


def test_without_validation_the_last_epoch_is_the_best(data):
    history = fit(small(), data, epochs=3, batch_size=8)
    assert history.best.epoch == 3
    assert np.isnan(history.column("validation_accuracy")).all()


def test_of_two_equally_accurate_epochs_the_surer_one_is_better():
    first, surer, unsure = (Epoch(1, 0.1, 1.0, loss, 0.9, 1.0) for loss in (0.5, 0.4, 0.6))
    assert surer.is_better_than(first)
    assert not unsure.is_better_than(first)
    assert not first.is_better_than(first)
    assert first.is_better_than(None)
