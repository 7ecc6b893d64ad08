# SPDX-License-Identifier: MIT
"""The claims about generations follow from the figures of each line of networks."""

import pytest

from minidistill.experiments.reproduce.born_again import GENERATIONS, RATES, TRIALS, Family, _claims, _panel


def test_the_first_network_has_as_many_trials_as_the_others():
    assert len(RATES) == len(TRIALS)


def test_gains_are_taken_line_by_line():
    claims = _claims([Family([80.0, 81.0, 81.5, 82.0], 83.0, 82.5), Family([81.0, 81.5, 84.0, 82.5], 85.0, 83.0)])
    assert GENERATIONS == 3
    assert [claim.values for claim in claims] == [[1.0, 0.5], [1.0, 1.0], [1.0, 1.0], [0.5, 2.0]]
    assert all(claim.holds for claim in claims)


@pytest.mark.parametrize(
    ("family", "refuted"),
    [
        (Family([81.0, 80.5, 81.0, 82.0], 83.0, 82.0), [0]),
        (Family([80.0, 81.0, 82.0, 81.0], 83.0, 82.0), [1]),
        (Family([80.0, 81.0, 83.5, 82.0], 83.0, 82.0), [2]),
        (Family([80.0, 81.0, 81.5, 82.0], 83.0, 83.5), [3]),
    ],
)
def test_each_line_refutes_its_own_claims(family, refuted):
    good = Family([80.0, 81.0, 81.5, 82.0], 83.0, 82.0)
    assert [k for k, claim in enumerate(_claims([good, family])) if not claim.holds] == refuted


def test_the_picture_has_a_column_for_each_network_and_ensemble():
    (curve,) = _panel([Family([80.0, 81.0, 81.5, 82.0], 83.0, 82.5)] * 2).curves
    assert curve.x == ["first", "generation 1", "generation 2", "generation 3", "ensemble", "ensemble alone"]
    assert curve.values == [[80.0] * 2, [81.0] * 2, [81.5] * 2, [82.0] * 2, [83.0] * 2, [82.5] * 2]
