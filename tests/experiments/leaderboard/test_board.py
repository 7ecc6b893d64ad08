# SPDX-License-Identifier: MIT
"""A leaderboard is in order, compares seed by seed, and calls no difference more than it is."""

import json

import numpy as np
import pytest

from minidistill.experiments.leaderboard.board import Board, MethodRow, holm, leaderboard_figure, paired_p

SOFT = [95.0, 96.0, 97.0, 95.5, 96.5]


def row(method, differences, note=""):
    accuracies = [soft + difference for soft, difference in zip(SOFT, differences, strict=True)]
    return MethodRow(method, accuracies, list(differences), [90.0] * 5, 0.5, {"temperature": 4.0}, 95.0, note)


@pytest.fixture
def board():
    rows = [
        row("worse", [-2.0, -2.1, -1.9, -2.0, -2.05], "no teacher"), row("alike", [0.5, -0.5, 0.6, -0.4, 0.3]),
        row("SoftTarget", [0.0] * 5),
    ]  # fmt: skip
    return Board.of("digits", rows, {"images": {"seen": 150}}, 60.0)


def test_the_most_accurate_stands_first(board):
    assert [row.method for row in board.rows] == ["alike", "SoftTarget", "worse"]


def test_only_what_differs_with_every_seed_is_marked(board):
    assert board.different == {"worse"}
    assert [row["significant"] for row in board.to_dict()["rows"]] == [False, False, True]
    lines = str(board).splitlines()
    assert [line.split()[0] for line in lines if " * " in line] == ["worse"]


def test_the_figures_of_a_row(board):
    found = board.to_dict()["rows"][2]
    assert found["mean"] == pytest.approx(93.99)
    assert found["paired_difference"] == pytest.approx(-2.01)
    assert found["paired_std"] == pytest.approx(np.std([2.0, 2.1, 1.9, 2.0, 2.05], ddof=1))
    assert found["std"] == pytest.approx(np.std(found["values"], ddof=1))
    assert found["note"] == "no teacher"
    json.dumps(board.to_dict())


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 11, 20])
def test_the_t_test_is_that_of_scipy(n):
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(n)
    for shift in (0.0, 0.5, 3.0):
        values = shift + random.standard_normal(n)
        assert paired_p(values.tolist()) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, rel=1e-6, abs=1e-12)


def test_the_t_test_meets_the_printed_table():
    """Two-sided 5% points of t for 1, 2, 4 and 5 degrees of freedom: 12.706, 4.3027, 2.7764, 2.5706."""
    for n, t in ((2, 12.706), (3, 4.3027), (5, 2.7764), (6, 2.5706)):
        values = np.arange(n) - (n - 1) / 2
        values = values / np.std(values, ddof=1) * np.sqrt(n) + t
        assert paired_p(values.tolist()) == pytest.approx(0.05, abs=1e-5)


def test_no_spread_and_no_difference_prove_nothing():
    assert paired_p([95.4 - 95.2, 96.4 - 96.2, 90.4 - 90.2]) == 1  # these three are alike but for rounding
    assert paired_p([1.0]) == paired_p([0.2, 0.2]) == paired_p([0.0, 0.0, 0.0]) == paired_p([-1.0, 1.0]) == 1


def test_the_more_is_compared_the_less_is_believed():
    assert holm([0.04]) == [True]
    assert holm([0.04] + [0.9] * 29) == [False] * 30
    assert holm([0.02, 0.01, 0.03]) == [True] * 3       # 0.01 <= 0.05/3, then 0.02 <= 0.05/2, then 0.03 <= 0.05
    assert holm([0.02, 0.04, 0.03]) == [False] * 3      # the smallest is above 0.05/3, and so nothing is
    assert holm([0.001, 0.03, 0.5]) == [True, False, False]


def test_what_lies_far_below_does_not_squeeze_the_figure(board):
    pytest.importorskip("matplotlib")
    low = [row("student alone", [-3.0] * 5), row("lost", [-60.0] * 5)]
    figure = leaderboard_figure([Board.of("digits", [*board.rows, *low], board.settings, 60.0)])
    left, right = figure.axes[0].get_xlim()
    assert 90 - 3 < left < 93 < 97 < right
    assert [text.get_text() for text in figure.axes[0].texts] == ["\N{LEFTWARDS ARROW} 36.0"]


def test_the_figure_is_a_panel_a_data_set(board, tmp_path):
    pytest.importorskip("matplotlib")
    figure = leaderboard_figure([board, board], tmp_path / "board.png")
    assert len(figure.axes) == 2
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["alike", "SoftTarget", "worse"]
    assert (tmp_path / "board.png").read_bytes().startswith(b"\x89PNG")
