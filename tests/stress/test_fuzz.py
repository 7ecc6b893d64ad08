# SPDX-License-Identifier: MIT
"""Damaged files and malformed calls: an error of one line, and never a traceback, a changed result or a lost file."""

import malformed_arguments
from malformed_calls import GOOD, make_malformed_calls
from mutated_files import KINDS, read_mutated_files


def test_every_mutated_file_is_read_or_refused():
    outcomes, faults = read_mutated_files(2400)
    assert faults == []
    for name in KINDS:
        assert outcomes[name]["refused"] > outcomes[name]["read"]
        assert outcomes[name].total() == 2400 // len(KINDS)


def test_every_malformed_call_is_done_or_refused():
    outcomes, faults = make_malformed_calls(600)
    assert faults == []
    assert set(outcomes) == set(GOOD)
    assert outcomes["refused"] > 400


def test_every_malformed_argument_is_taken_or_refused():
    outcomes, faults = malformed_arguments.make_malformed_calls(900)
    assert faults == []
    assert outcomes["refused"] > 600
