# SPDX-License-Identifier: MIT
"""The course's checks: a right answer passes, and a wrong one is told what is wrong with it."""

import numpy as np
import pytest

from minidistill.diagnosis import exercises
from minidistill.diagnosis.exercises import IncorrectAnswer, check

RIGHT = np.array([[0.2, -0.7, 0.5], [0.1, 0.3, -0.4]])  # (B,C), B = 2, C = 3


def complaint(yours, right=RIGHT, **options):
    with pytest.raises(IncorrectAnswer) as caught:
        check("ds", yours, right, **options)
    message = str(caught.value)
    assert message.startswith("ds: ")
    return message.removeprefix("ds: ")


@pytest.mark.parametrize(
    ("yours", "right"),
    [
        (RIGHT, RIGHT),
        (RIGHT.tolist(), RIGHT),
        (RIGHT + 1e-12, RIGHT),
        (lambda: RIGHT, RIGHT),
        (np.float32(2.5), 2.5),
        (3, 3),
        ((RIGHT, RIGHT[0]), (RIGHT, RIGHT[0])),
        ([1.0, 2.0], (1.0, 2.0)),
        (" Student ", "student"),
        (True, True),
        (np.bool_(False), False),
        (np.zeros(3), np.zeros(3)),
    ],
)
def test_a_right_answer_is_told_so(yours, right, capsys):
    check("ds", yours, right)
    assert capsys.readouterr().out == "ds: right.\n"


@pytest.mark.parametrize("stub", [None, ..., lambda: None, lambda: ...])
@pytest.mark.parametrize("right", [RIGHT, 1.0, "student", True, (RIGHT, 1.0)])
def test_a_stub_is_told_that_nothing_is_there_yet(stub, right):
    assert "nothing is there yet" in complaint(stub, right)


def test_an_error_in_the_answer_is_passed_on_with_its_words():
    def gradient():
        return RIGHT @ RIGHT

    assert "your code stopped with ValueError: matmul" in complaint(gradient)


@pytest.mark.parametrize(
    "misfit", [lambda: RIGHT - RIGHT.sum(axis=1), lambda: RIGHT @ RIGHT, lambda: np.dot(RIGHT, RIGHT)]
)
def test_shapes_that_do_not_go_together_are_explained(misfit):
    assert "The shapes of two arrays do not go together" in complaint(misfit)


def test_another_error_gets_no_such_words():
    assert "shapes" not in complaint(lambda: int("seven"))


def test_a_bool_of_numpy_is_called_by_its_plain_name():
    assert complaint(np.bool_(True), False) == "True is not it."


@pytest.mark.parametrize(
    ("yours", "words"),
    [
        (-RIGHT, "the sign is wrong; the size is right"),
        (RIGHT / 16, "a factor T^2 is missing"),
        (RIGHT / 4, "a factor T is missing"),
        (RIGHT * 4, "a factor T is too many"),
        (RIGHT / 49, "a factor B^2 is missing (or it was divided by it once too often)"),
        (RIGHT * 7, "a factor B is too many (or a division by it is missing)"),
        (RIGHT / 28, "a factor T B is missing"),
        (RIGHT * 4 / 7, "T stands where B should"),
        (-RIGHT * 7, "the sign is wrong; a factor B is too many"),
        (RIGHT * 3.3, "it is 3.3 times what it should be; all else is right"),
    ],
)
def test_a_factor_is_named(yours, words):
    assert words in complaint(yours, factors={"T": 4.0, "B": 7})


def test_a_square_that_is_given_a_name_is_said_once():
    message = complaint(RIGHT / 16, factors={"T": 4.0, "T^2": 16.0})
    assert message == "a factor T^2 is missing (or it was divided by it once too often); all else is right."


@pytest.mark.parametrize(
    ("yours", "words"),
    [
        (RIGHT.T, "look for a transpose"),
        (RIGHT[..., None], "an axis too many or too few"),
        (RIGHT.ravel(), "an axis too many or too few"),
        (RIGHT.sum(axis=0), "a sum or a mean went over an axis that was to stay"),
        (1.0, "it is a number, wanted an array of shape (2, 3)"),
        (np.zeros((2, 4)), "it is an array of shape (2, 4), wanted an array of shape (2, 3)"),
        ([[1.0], [1.0, 2.0]], "it is list"),
        ("0.2", "it is str '0.2'; wanted an array of shape (2, 3)"),
        (np.full((2, 3), np.nan), "6 of 6 entries are not finite"),
        (np.zeros((2, 3)), "it is zero everywhere"),
        (RIGHT + 0.5, "every entry is off by the same amount, 0.5"),
    ],
)
def test_shapes_and_values_are_explained(yours, words):
    assert words in complaint(yours)


def test_a_square_array_with_rows_and_columns_exchanged_is_seen():
    right = np.array([[0.0, 1.0], [2.0, 5.0]])
    assert "look for a transpose" in complaint(right.T, right)


def test_without_a_pattern_the_worst_entry_is_shown():
    wrong = RIGHT.copy()
    wrong[1, 2] = 9.0
    message = complaint(wrong)
    assert message == "1 of 6 entries are wrong, most of all at [1, 2], where it is 9; no single factor explains it."


def test_a_known_mistake_is_named_before_all_else():
    mistakes = {"the mean over all entries stands where the mean over the rows should": RIGHT / 3}
    assert complaint(RIGHT / 3, mistakes=mistakes, factors={"C": 3}) == f"{next(iter(mistakes))}."


def test_a_mistake_that_is_right_here_is_no_mistake(capsys):
    check("ds", RIGHT, RIGHT, mistakes={"the identity": RIGHT})
    assert "right" in capsys.readouterr().out


def test_several_results_are_told_which_of_them_is_wrong():
    assert "result 2 of 2: the sign is wrong" in complaint((RIGHT, -RIGHT[0]), (RIGHT, RIGHT[0]))
    assert "2 results are wanted, in this order, and 3 came" in complaint((1, 2, 3), (1, 2))
    assert "2 results are wanted, in this order, and one float came" in complaint(1.0, (1, 2))


@pytest.mark.parametrize(("yours", "right"), [("teacher", "student"), (True, False), (1, "student"), ("yes", True)])
def test_a_wrong_choice_is_not_told_the_right_one(yours, right):
    assert complaint(yours, right) == f"{yours!r} is not it."


def test_a_wrong_choice_may_have_its_own_words():
    assert complaint("kl", "jsd", mistakes={"that one is not symmetric": "kl"}) == "that one is not symmetric."


def test_the_tolerance_is_in_parts_of_the_largest_entry(capsys):
    check("ds", RIGHT + 6e-4, RIGHT, tolerance=1e-3)
    assert capsys.readouterr().out
    complaint(RIGHT + 8e-4, tolerance=1e-3)


def test_one_number_is_told_its_factor():
    assert "a factor B is missing" in complaint(0.5, 2.0, factors={"B": 4})
    assert "the sign is wrong" in complaint(-2.0, 2.0)


def test_one_number_without_a_known_factor_is_told_its_side_and_not_the_answer():
    assert complaint(3.0, 2.0, factors={"B": 4}) == "it is too large."
    assert complaint(np.array([-3.0]), [2.0]) == "it is too small."


def test_the_old_name_of_an_incorrect_answer_is_deprecated():
    with pytest.warns(DeprecationWarning, match=r"exercises\.Wrong is renamed to IncorrectAnswer"):
        assert exercises.Wrong is IncorrectAnswer
