# SPDX-License-Identifier: MIT
"""The claims about capacity follow from the figures of each seed."""

from minidistill.experiments.reproduce.capacity import (
    TEMPERATURES,
    WIDTHS,
    Noisy,
    Width,
    _claims_of_noise,
    _claims_of_widths,
)
from minidistill.experiments.reproduce.study import Taught


def taught(test, validation=()):
    return Taught((0.1,), list(validation), test)


def noisy(teacher, alone, distilled):
    return Noisy(teacher, taught(alone), taught(distilled))


def width(alone, hot, best):
    """Two seeds: accuracies alone and at the highest temperature, and each seed's best temperature."""
    tested = {T: [80.0, 80.0] for T in TEMPERATURES} | {TEMPERATURES[-1]: hot}
    distilled = {T: taught(tested[T], validation=[90.0 if chosen == T else 70.0 for chosen in best]) for T in tested}
    return Width(taught(alone), distilled)


def holds(claims):
    return [claim.holds for claim in claims]


def test_gains_are_taken_seed_by_seed_at_the_temperature_that_validation_chose():
    found = width(alone=[79.0, 82.0], hot=[81.0, 81.0], best=[1.0, 8.0])
    assert found.gains(8.0) == [2.0, -1.0]
    assert found.gains_at_best == [1.0, -1.0]


def test_harm_to_the_narrow_and_gain_of_the_wide_are_told_apart():
    narrow, wide = width([80.0, 80.0], [75.0, 76.0], [1.0, 2.0]), width([79.0, 79.0], [80.0, 81.0], [8.0, 8.0])
    found = {WIDTHS[0]: narrow, WIDTHS[-1]: wide}
    claims = _claims_of_widths(found)
    assert holds(claims) == [True] * 4
    assert [claim.values for claim in claims] == [[5.0, 4.0], [6.0, 6.0], [1.0, 2.0], [7.0, 6.0]]
    assert holds(_claims_of_widths({WIDTHS[0]: wide, WIDTHS[-1]: narrow})) == [False] * 4


def test_a_student_must_beat_its_own_teacher_with_every_seed():
    assert holds(_claims_of_noise(noisy([82.0, 82.0], [81.0, 81.0], [84.0, 83.0]))) == [True, True]
    assert holds(_claims_of_noise(noisy([82.0, 84.0], [81.0, 81.0], [84.0, 83.0]))) == [False, True]
