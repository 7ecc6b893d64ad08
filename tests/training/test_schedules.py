# SPDX-License-Identifier: MIT
"""Learning-rate schedules: each against its formula."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from minidistill import SGD, Adam, ConstantSchedule, CosineSchedule, LinearSchedule, StepSchedule, WarmUp

SCHEDULES = (ConstantSchedule, CosineSchedule, LinearSchedule, StepSchedule)


def test_constant_stays():
    assert [ConstantSchedule(0.3)(progress) for progress in (0.0, 0.5, 0.99)] == [0.3, 0.3, 0.3]


def test_linear_goes_from_rate_to_final_along_a_line():
    assert [LinearSchedule(8, 2)(progress) for progress in (0.0, 0.25, 0.5, 1.0)] == [8, 6.5, 5, 2]
    assert [LinearSchedule(0, 1)(progress) for progress in (0.0, 0.25, 1.0)] == [0, 0.25, 1]


@pytest.mark.parametrize(
    ("progress", "rate"), [(0.0, 8.0), (0.49, 8.0), (0.5, 2.0), (0.74, 2.0), (0.75, 0.5), (0.999, 0.5)]
)
def test_step_falls_by_its_factor_at_each_share(progress, rate):
    assert StepSchedule(8.0, at=(0.5, 0.75), factor=0.25)(progress) == rate


@pytest.mark.parametrize(("progress", "share"), [(0.0, 1.0), (1 / 3, 0.75), (0.5, 0.5), (2 / 3, 0.25), (1.0, 0.0)])
def test_cosine_goes_from_rate_to_final_along_half_a_cosine(progress, share):
    assert CosineSchedule(0.9, final=0.1)(progress) == pytest.approx(0.1 + 0.8 * share, rel=1e-12)


@pytest.mark.parametrize(("progress", "rate"), [(0.0, 0.0), (0.1, 0.4), (0.15, 0.6), (0.2, 0.8), (0.6, 0.4), (1, 0)])
def test_warm_up_rises_straight_and_then_begins_the_other_schedule(progress, rate):
    assert WarmUp(CosineSchedule(0.8), share=0.2)(progress) == pytest.approx(rate, abs=1e-12)


def test_warm_up_of_no_length_is_the_other_schedule():
    for progress in (0.0, 0.3, 0.9):
        assert WarmUp(CosineSchedule(0.8), share=0)(progress) == CosineSchedule(0.8)(progress)


@given(st.floats(0, 1, exclude_max=True))
@settings(deadline=None, max_examples=50)
def test_no_schedule_leaves_its_bounds(progress):
    rates = [schedule(0.5) for schedule in SCHEDULES]
    rates += [WarmUp(CosineSchedule(0.5)), WarmUp(StepSchedule(0.5), share=0.9)]
    for schedule in rates:
        assert 0 <= schedule(progress) <= 0.5 * (1 + 1e-12)  # rounding of the cosine's sum


def test_an_optimizer_takes_a_number_a_schedule_or_any_function():
    assert SGD(0.2).rate(0.7) == 0.2
    assert SGD(CosineSchedule(0.2)).rate(0.5) == pytest.approx(0.1)
    assert Adam(lambda progress: 1 - progress).rate(0.25) == 0.75


@pytest.mark.parametrize(
    "make",
    [
        lambda: ConstantSchedule(-0.1),
        lambda: LinearSchedule(1, -0.1),
        lambda: StepSchedule(math.nan),
        lambda: CosineSchedule("fast"),
        lambda: WarmUp(0.1),
        lambda: WarmUp(ConstantSchedule(0.1), share=1.5),
    ],
    ids=["negative rate", "negative end", "NaN rate", "text", "a number instead of a schedule", "share above 1"],
)
def test_bad_schedules_are_refused_where_they_are_made(make):
    with pytest.raises((TypeError, ValueError), match="must be"):
        make()


@pytest.mark.parametrize("at", [[0.5, 0.75], np.array([0.5, 0.75]), iter((0.5, 0.75))])
def test_the_shares_of_a_step_may_be_any_sequence_and_are_kept_as_numbers(at):
    assert StepSchedule(8.0, at=at) == StepSchedule(8.0, at=(0.5, 0.75))


@pytest.mark.parametrize("at", [0.5, None, np.array(0.5), "0.5"])
def test_shares_of_a_step_that_are_no_sequence_are_refused(at):
    with pytest.raises(TypeError, match=r"at must be a sequence of numbers in \[0, 1\], such as \(0.5, 0.75\), got "):
        StepSchedule(8.0, at=at)


@pytest.mark.parametrize(("at", "error"), [((0.5, 1.5), ValueError), ((0.5, "a"), TypeError), ([[0.5]], TypeError)])
def test_a_share_of_a_step_out_of_range_is_refused(at, error):
    with pytest.raises(error, match=r"each share in at must be .*in \[0, 1\], got"):
        StepSchedule(8.0, at=at)
