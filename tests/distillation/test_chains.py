# SPDX-License-Identifier: MIT
"""Chains: teacher assistants and born-again networks."""

import numpy as np
import pytest
from arrangements import DATA, OPTIONS, network, twice

from minidistill import (
    MLP,
    Ensemble,
    SoftTarget,
    born_again,
    distill,
    teacher_assistant,
)


def test_an_assistant_is_two_distillations_by_hand(teacher):
    assistant, student, a, s = network(1, 16), network(2), network(1, 16), network(2)
    loss = SoftTarget(3.0, 0.7)
    histories = teacher_assistant(teacher, [assistant, student], DATA, loss, **OPTIONS)
    first, second = distill(teacher, a, DATA, loss, **OPTIONS), distill(a, s, DATA, loss, **OPTIONS)
    np.testing.assert_array_equal(assistant.parameters, a.parameters)
    np.testing.assert_array_equal(student.parameters, s.parameters)
    assert [history.epochs[-1].loss for history in histories] == [first.epochs[-1].loss, second.epochs[-1].loss]


def test_one_generation_is_one_distillation_of_a_network_with_the_next_seed(teacher):
    (found,) = born_again(teacher, DATA, 1, SoftTarget(2.0, 1.0), **OPTIONS)
    by_hand = network(teacher.seed + 1, 32, dropout=0.3)
    distill(teacher, by_hand, DATA, SoftTarget(2.0, 1.0), **OPTIONS)
    np.testing.assert_array_equal(found.parameters, by_hand.parameters)


def test_each_generation_is_taught_by_the_one_before():
    first = network(5, 6, activation="tanh", dropout=0.1)
    one, two, three = born_again(first, DATA, 3, **OPTIONS)
    again = born_again(one, DATA, 2, **OPTIONS)
    np.testing.assert_array_equal([two.parameters, three.parameters], [found.parameters for found in again])
    assert [found.seed for found in (one, two, three)] == [6, 7, 8]
    assert {repr(found) for found in (one, two, three)} == {repr(first)}
    assert three.dropout == first.dropout
    assert Ensemble([first, one, two, three]).predict_proba(DATA.x).shape == (60, 3)


def test_the_teacher_of_a_chain_is_not_changed(teacher):
    before = teacher.parameters.copy()
    born_again(teacher, DATA, 2, **OPTIONS)
    np.testing.assert_array_equal(teacher.parameters, before)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: teacher_assistant(t, [], DATA),
         ValueError, r"students must be a list of at least 1 networks, got \[\]"),
        (lambda t: teacher_assistant(t, network(1), DATA),
         ValueError, "students must be a list of at least 1 networks, got MLP"),
        (lambda t: teacher_assistant(t, [network(1), "x"], DATA), TypeError, "students must be MLPs, got str"),
        (lambda t: teacher_assistant(t, twice(network(1)), DATA), ValueError, "students must be different networks"),
        (lambda t: teacher_assistant(t, [network(1), t], DATA),
         ValueError, "students must be other networks than the teacher"),
        (lambda t: teacher_assistant(t, [network(1), MLP((2, 4))], DATA),
         ValueError, "students must have as many inputs"),
        (lambda t: teacher_assistant(t, [network(1)], DATA.x), TypeError, "data must be a Dataset, got ndarray"),
        (lambda t: teacher_assistant(t, [MLP((4, 3))], DATA), ValueError, "data.x must have 4 columns"),
        (lambda t: teacher_assistant(t, [network(1)], DATA, checkpoint="a.npz"),
         ValueError, "checkpoint is the file of one run"),
        (lambda t: born_again(t.logits, DATA, 1), TypeError, "first must be an MLP, got method"),
        (lambda t: born_again(t, DATA, 0), ValueError, "generations must be at least 1, got 0"),
    ],
)
def test_chains_that_cannot_be_are_refused(teacher, call, error, message):
    with pytest.raises(error, match=message):
        call(teacher)


def test_nobody_is_trained_where_the_last_of_a_chain_cannot_be(teacher):
    student = network(1)
    with pytest.raises(ValueError, match="students must have as many inputs"):
        teacher_assistant(teacher, [student, MLP((2, 4))], DATA)
    np.testing.assert_array_equal(student.parameters, network(1).parameters)
