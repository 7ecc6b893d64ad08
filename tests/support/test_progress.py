# SPDX-License-Identifier: MIT
"""A bar is shown where one is wanted, and changes nothing of what it counts."""

import pytest

from minidistill.support.progress import with_bar


@pytest.mark.parametrize("progress", [False, None, True])
def test_the_numbers_are_the_same_with_and_without_a_bar(progress):
    assert list(with_bar(range(3), progress)) == [0, 1, 2]


def test_a_bar_is_drawn_on_stderr_when_asked_for_and_not_where_no_terminal_is(capsys):
    list(with_bar(range(2), None))
    assert capsys.readouterr() == ("", "")
    list(with_bar(range(2), True, "point"))
    out, err = capsys.readouterr()
    assert out == ""
    assert "0/2" in err and "point" in err


def test_a_bar_is_closed_where_the_loop_is_left_early(capsys):
    for _ in with_bar(range(5), True):
        break
    assert capsys.readouterr().err.endswith("\r")
