# SPDX-License-Identifier: MIT
"""mistakes.py: the list of known mistakes, and the diagnosis that names them."""

import pytest

from minidistill.diagnosis import mistakes
from minidistill.diagnosis.mistakes import CLIPPED, ELEMENT_MEAN, UNDERFLOW, Diagnosis, Finding, Mistake

EVERY = [value for value in vars(mistakes).values() if isinstance(value, Mistake)]


def test_every_mistake_has_a_name_of_its_own():
    assert len({mistake.name for mistake in EVERY}) == len(EVERY)
    assert len(mistakes.MISTAKES) == 18
    assert set(mistakes.MISTAKES) < set(EVERY)


@pytest.mark.parametrize("mistake", EVERY, ids=lambda mistake: mistake.name)
def test_every_mistake_says_what_it_does_and_what_to_do_instead(mistake):
    assert len(mistake.effect) > 20
    assert len(mistake.remedy) > 20
    assert not mistake.effect.endswith(".")  # they stand within longer lines
    assert not mistake.remedy.endswith(".")


def finding(*found):
    return Finding("batch", "A batch has the mean of its rows' losses.", "it is 0.2 times that", found)


def test_a_diagnosis_is_true_where_nothing_was_found():
    right, wrong = Diagnosis("a loss", (), ("form",)), Diagnosis("a loss", (finding(),), ("form",))
    assert right and right.ok
    assert not wrong and not wrong.ok
    assert (right.broken, wrong.broken) == ((), ("batch",))


def test_each_mistake_is_named_once_in_the_order_of_the_findings():
    found = Diagnosis("a loss", (finding(UNDERFLOW), finding(), finding(CLIPPED, UNDERFLOW)), ())
    assert found.mistakes == (UNDERFLOW, CLIPPED)


def test_a_diagnosis_prints_what_was_seen_what_it_looks_like_and_what_to_do():
    lines = str(Diagnosis("a loss", (finding(ELEMENT_MEAN),), ("form", "match"))).splitlines()
    assert lines == [
        "a loss: 2 of 3 invariants hold",
        "batch: A batch has the mean of its rows' losses.",
        "  seen:       it is 0.2 times that",
        f"  looks like: mean over elements: {ELEMENT_MEAN.effect}",
        f"  instead:    {ELEMENT_MEAN.remedy}",
    ]


def test_a_right_loss_prints_one_line():
    assert str(Diagnosis("a loss", (), ("form", "match"))) == "a loss: 2 of 2 invariants hold"
