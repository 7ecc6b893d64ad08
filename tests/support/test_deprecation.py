# SPDX-License-Identifier: MIT
"""support/deprecation.py: old names work, and each warning names the new one at the line of the user."""

import pytest

import minidistill
from minidistill.support.deprecation import renamed_arguments, renamed_attribute


class Gauge:
    old_level = renamed_attribute("old_level", "level")

    @renamed_arguments(start="level")
    def __init__(self, level=0):
        self.level = level


def test_a_renamed_attribute_reads_and_writes_the_new_one():
    gauge = Gauge(3)
    with pytest.warns(DeprecationWarning, match="old_level is renamed to level") as found:
        assert gauge.old_level == 3
    assert [one.filename for one in found] == [__file__]
    with pytest.warns(DeprecationWarning, match="old_level is renamed to level"):
        gauge.old_level = 4
    assert gauge.level == 4


def test_a_renamed_argument_is_passed_on():
    with pytest.warns(DeprecationWarning, match="the argument start is renamed to level") as found:
        assert Gauge(start=5).level == 5
    assert [one.filename for one in found] == [__file__]
    with pytest.raises(TypeError, match="both are given"):
        Gauge(start=5, level=6)
    assert Gauge.__init__.__wrapped__ is not None


@pytest.mark.parametrize(("old", "new"), minidistill.RENAMED.items())
def test_an_old_public_name_is_the_new_one(old, new):
    with pytest.warns(DeprecationWarning, match=f"minidistill.{old} is renamed to {new}"):
        assert getattr(minidistill, old) is getattr(minidistill, new)
    assert old not in minidistill.__all__
