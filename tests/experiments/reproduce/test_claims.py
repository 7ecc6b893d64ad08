# SPDX-License-Identifier: MIT
"""A claim holds when its figures say so, and its figures are shown whether it holds or not."""

import itertools
import json

import numpy as np
import pytest

from minidistill.experiments.reproduce.claims import (
    Claim,
    Curve,
    Panel,
    Reproduction,
    above_zero,
    at_least,
    at_most,
    differences,
    panels_figure,
)


def reproduction(*claims):
    panel = Panel("A title", "x", "y", [Curve("", ["a", "b"], [[1.0, 2.0], [3.0]])])
    return Reproduction("name", "source", "minidistill reproduce name", list(claims), [panel], {"T": 4}, 1.5)


def test_at_most_and_at_least_go_by_the_mean_over_the_seeds():
    assert at_most("errors", 75, "errors", [70, 80]).holds
    assert not at_most("errors", 75, "errors", [70, 81]).holds
    assert at_least("gain", 3, "points", [2, 4]).holds
    assert not at_least("gain", 3, "points", [2, 3.9]).holds


def test_one_seed_below_the_bound_refutes_what_is_claimed_of_every_seed():
    assert above_zero("gain", "gain", [0.1, 5.0]).holds
    assert not above_zero("gain", "gain", [0.0, 5.0]).holds


def test_differences_are_taken_seed_by_seed():
    assert differences([3.0, 1.0], [1.0, 2.0]) == [2.0, -1.0]
    with pytest.raises(ValueError, match="longer"):
        differences([1.0], [1.0, 2.0])


def test_mean_and_spread_are_those_of_the_seeds():
    claim = Claim("errors", "errors", [1.0, 2.0, 6.0], True)
    assert claim.mean == 3.0
    assert claim.std == pytest.approx(np.std([1, 2, 6], ddof=1))
    assert Claim("errors", "errors", [1.0], True).std == 0.0


def test_the_json_has_what_was_promised_of_every_claim():
    found = json.loads(json.dumps(reproduction(at_most("errors", 75, "errors", [70.0, 80.0], paper=67)).to_dict()))
    assert set(found) >= {"name", "settings", "seconds", "claims"}
    assert found["settings"] == {"command": "minidistill reproduce name", "T": 4}
    assert found["claims"] == [
        {"id": "errors", "claim": "errors: at most 75", "paper": 67, "mean": 75.0, "std": pytest.approx(7.07, abs=0.01),
         "values": [70.0, 80.0], "holds": True}
    ]  # fmt: skip


def test_the_table_shows_paper_and_here_side_by_side_and_what_failed():
    errors = at_most("errors", 75, "errors", [70.0, 74.0], paper=67)
    text = str(reproduction(errors, at_least("gain", 3, "points", [1.0], decimals=1)))
    lines = [line.split() for line in text.splitlines()]
    assert ["67", "72", "±", "2.8", "yes", "errors:", "at", "most", "75"] in lines
    assert ["-", "1.0", "NO", "points:", "at", "least", "3.0"] in lines
    assert "1 of 2 claims hold here" in text


def test_the_picture_has_a_point_for_each_seed_at_each_place():
    pytest.importorskip("matplotlib")
    (ax,) = reproduction().plot().axes
    means, first, second = ax.lines
    np.testing.assert_array_equal(means.get_ydata(), [1.5, 3.0])
    np.testing.assert_array_equal(first.get_ydata(), [1.0, 2.0])
    np.testing.assert_array_equal(second.get_xdata(), [1])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b"]


@pytest.mark.parametrize("parts", [1, 4])
def test_names_under_a_panel_stay_apart(parts):
    pytest.importorskip("matplotlib")
    names = ["first", "generation 1", "generation 2", "ensemble", "taught by one like it"]
    panel = Panel("Networks", "", "accuracy", [Curve("", names, [[1.0, 2.0]] * len(names))])
    figure = panels_figure([panel] * parts)
    figure.draw_without_rendering()
    for ax in figure.axes:
        boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
        assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_a_curve_of_one_place_is_a_disc_for_there_is_no_line():
    pytest.importorskip("matplotlib")
    curves = [Curve("teacher", [100.0], [[90.0]]), Curve("cascade", [10.0, 20.0], [[89.0], [89.5]])]
    (ax,) = panels_figure([Panel("Models", "cost", "accuracy", curves)]).axes
    markers = {line.get_label(): line.get_marker() for line in ax.lines}
    assert (markers["teacher"], markers["cascade"]) == ("o", "")
