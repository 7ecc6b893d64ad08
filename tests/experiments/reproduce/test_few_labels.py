# SPDX-License-Identifier: MIT
"""The claims about few labels follow from the figures of each seed."""

import pytest

from minidistill.experiments.reproduce.few_labels import IMAGES, Outcome, _claims, _sizes
from minidistill.experiments.reproduce.study import Taught


def outcome(images, alone, distilled):
    return Outcome(images, Taught((0.1,), [], alone), Taught((4.0, 0.1), [], distilled))


def outcomes(points):
    """What soft targets add to each size, for two seeds alike."""
    return {
        name: outcome(images, [90.0, 91.0], [90.0 + points[name], 91.0 + points[name]])
        for name, images in _sizes(50_000).items()
    }


def test_the_sizes_go_from_one_percent_to_all():
    assert _sizes(50_000) == {"1%": 500, "1,000 images": IMAGES, "3%": 1_500, "10%": 5_000, "100%": 50_000}
    assert list(_sizes(6_000).values()) == [60, 180, 600, 1_000, 6_000]


def test_gains_are_taken_seed_by_seed():
    assert outcome(100, [90.0, 80.0], [91.0, 79.0]).gains == [1.0, -1.0]


@pytest.mark.parametrize(
    ("name", "refuted"),
    [("3%", [0]), ("1%", [1, 5]), ("1,000 images", [2]), ("10%", [3]), ("100%", [])],
)
def test_each_size_refutes_its_own_claims(name, refuted):
    points = {"1%": 5.0, "1,000 images": 4.0, "3%": 3.0, "10%": 2.0, "100%": 1.0}
    assert all(claim.holds for claim in _claims(outcomes(points)))
    failed = [k for k, claim in enumerate(_claims(outcomes(points | {name: -0.5}))) if not claim.holds]
    assert failed == refuted
