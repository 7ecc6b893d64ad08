# SPDX-License-Identifier: MIT
"""The claims about mutual learning follow from the figures of each cohort."""

import pytest

from minidistill.experiments.reproduce.mutual import COHORTS, RATES, TRIALS, Outcome, _claims, _seed_of_peer


def test_everyone_has_as_many_trials():
    assert len(RATES) == len(TRIALS)


def test_no_two_cohorts_share_a_peer():
    seeds = [_seed_of_peer(seed, k) for seed in range(3) for k in range(max(COHORTS))]
    assert len(set(seeds)) == len(seeds)


def test_gains_are_taken_seed_by_seed():
    claims = _claims(Outcome([80.0, 81.0], [80.5, 81.5], {2: [81.0, 83.0], 4: [81.5, 83.5]}))
    assert [claim.values for claim in claims] == [[1.0, 2.0], [0.5, 1.5], [0.5, 0.5]]
    assert all(claim.holds for claim in claims)
    assert "4 peers over two" in claims[-1].claim


@pytest.mark.parametrize(
    ("changed", "refuted"), [({"alone": [80.0, 84.0]}, [0]), ({"taught": [82.0, 81.0]}, [1]), ({4: [81.5, 82.0]}, [2])]
)
def test_one_seed_that_loses_refutes_its_claim(changed, refuted):
    figures = {"alone": [80.0, 81.0], "taught": [80.5, 81.5], 2: [81.0, 83.0], 4: [81.5, 83.5], **changed}
    found = Outcome(figures["alone"], figures["taught"], {size: figures[size] for size in (2, 4)})
    assert [k for k, claim in enumerate(_claims(found)) if not claim.holds] == refuted
