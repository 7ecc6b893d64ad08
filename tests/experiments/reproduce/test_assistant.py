# SPDX-License-Identifier: MIT
"""The claims about assistants follow from the figures of each seed."""

from minidistill.experiments.reproduce.assistant import RATES, TRIALS, Outcome, _claims
from minidistill.experiments.reproduce.study import Taught


def taught(*test, validation=80.0):
    return Taught((0.1,), [validation], list(test))


def outcome(small, large):
    return Outcome(taught(80.0, 81.0), taught(81.0, 82.0), {24: small, 200: large})


def holds(found):
    return [claim.holds for claim in _claims(found)]


def test_everyone_has_as_many_trials():
    assert len(RATES) == len(TRIALS)


def test_gains_are_taken_seed_by_seed():
    claims = _claims(outcome(taught(82.0, 82.5, validation=81.0), taught(81.5, 84.0)))
    assert [claim.values for claim in claims] == [[1.0, 1.0], [1.0, 0.5], [0.5, 0.5]]
    assert all(claim.holds for claim in claims)


def test_the_assistant_is_chosen_by_the_validation_images_not_by_the_test_images():
    seen_best, tested_best = taught(81.5, 82.5, validation=83.0), taught(89.0, 89.0, validation=82.0)
    assert outcome(seen_best, tested_best).chosen is seen_best


def test_one_seed_that_loses_refutes_its_claim():
    assert holds(outcome(taught(82.0, 81.0, validation=81.0), taught(83.0, 83.0))) == [True, False, False]
    assert holds(outcome(taught(82.0, 83.0, validation=81.0), taught(80.0, 83.0))) == [True, True, False]
    found = Outcome(taught(80.0, 83.0), taught(81.0, 82.0), {24: taught(82.0, 83.0)})
    assert holds(found) == [False, True, True]
