# SPDX-License-Identifier: MIT
"""The checks: what they let through unchanged, and that each refusal names the argument, the value and the wish."""

import decimal
import fractions

import numpy as np
import pytest

from minidistill.support.checks import (
    NotFiniteError,
    check_choice,
    check_finite,
    check_labels,
    check_number,
    check_rows,
    check_whole,
)

# ---------------------------------------------------------------------------------------------- whole numbers
from minidistill.support.gpu_arrays import has_gpu_interface


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3), np.array(3)])
def test_whole_numbers_of_all_kinds_become_int(value):
    assert check_whole("n", value) == 3
    assert type(check_whole("n", value)) is int


@pytest.mark.parametrize("value", [3.0, 2.5, "3", None, True, np.True_, [3], np.array([3, 4]), 3j])
def test_all_else_is_no_whole_number(value):
    with pytest.raises(TypeError, match="n must be a whole number, got "):
        check_whole("n", value)


def test_the_minimum_is_inside():
    assert check_whole("n", 2, minimum=2) == 2
    with pytest.raises(ValueError, match="n must be at least 2, got 1"):
        check_whole("n", 1, minimum=2)


# ---------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), fractions.Fraction(1, 2), decimal.Decimal("0.5")])
def test_numbers_of_all_kinds_become_float(value):
    assert check_number("r", value, "[0, 1]") == 0.5
    assert type(check_number("r", value, "[0, 1]")) is float


@pytest.mark.parametrize(
    ("wanted", "zero_is_inside", "one_is_inside"),
    [("[0, 1]", True, True), ("[0, 1)", True, False), ("(0, 1]", False, True), ("(0, 1)", False, False)],
)
def test_a_bound_is_inside_where_its_bracket_is_square(wanted, zero_is_inside, one_is_inside):
    for value, inside in ((0, zero_is_inside), (1, one_is_inside)):
        if inside:
            assert check_number("r", value, wanted) == value
        else:
            with pytest.raises(ValueError, match=r"r must be in .*, got"):
                check_number("r", value, wanted)


@pytest.mark.parametrize("value", [-1e-300, 1 + 1e-15, np.nan, np.inf, -np.inf])
def test_what_is_outside_or_not_finite_is_refused(value):
    with pytest.raises(ValueError, match=r"r must be in \[0, 1\], got"):
        check_number("r", value, "[0, 1]")


def test_infinity_is_refused_though_the_interval_has_no_end():
    with pytest.raises(ValueError, match=r"r must be in \(0, inf\), got inf"):
        check_number("r", np.inf, "(0, inf)")


@pytest.mark.parametrize("value", ["0.5", b"0.5", None, True, np.False_, 1j, [0.5]])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match=r"r must be a number in \[0, 1\], got "):
        check_number("r", value, "[0, 1]")


def test_an_int_beyond_all_floats_is_refused_by_name():
    with pytest.raises(ValueError, match="r must be in"):
        check_number("r", 10**400, "(0, inf)")


# ---------------------------------------------------------------------------------------------- choices


def test_a_choice_is_one_of_the_words():
    assert check_choice("kind", "b", ("a", "b")) == "b"


@pytest.mark.parametrize("value", ["c", "A", None, 1, [], ["a"]])
def test_all_else_is_no_choice(value):
    with pytest.raises(ValueError, match="kind must be one of 'a', 'b', got "):
        check_choice("kind", value, ("a", "b"))


# ---------------------------------------------------------------------------------------------- rows


def test_float_rows_pass_uncopied():
    for dtype in (np.float32, np.float64):
        array = np.ones((2, 3), dtype)
        assert check_rows("x", array, columns=3) is array


@pytest.mark.parametrize("dtype", ["float16", "int8", "uint64", "bool", "longdouble"])
def test_other_numbers_become_float32(dtype):
    assert check_rows("x", np.ones((2, 3), dtype)).dtype == np.float32


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (np.zeros(3), ValueError, r"x must have 2 dimensions \(rows, columns\), got shape \(3,\)"),
        (np.zeros((1, 2, 3)), ValueError, r"x must have 2 dimensions"),
        (3.0, ValueError, "x must have 2 dimensions"),
        (np.zeros((0, 3)), ValueError, r"x is empty: got shape \(0, 3\)"),
        (np.zeros((3, 0)), ValueError, r"x is empty: got shape \(3, 0\)"),
        (np.zeros((3, 4)), ValueError, r"x must have 3 columns, got shape \(3, 4\)"),
        ([["1", "2", "3"]], TypeError, "x must hold numbers, got an array of dtype <U1"),
        ([[1j, 2, 3]], TypeError, "x must hold numbers.*complex"),
        ([[None, 2, 3]], TypeError, "x must hold numbers.*object"),
        (np.array([["1", 2, 3]], object), TypeError, "x must hold numbers.*object"),
        ([[10**400, 2, 3]], TypeError, "x must hold numbers.*object"),
        (np.array([[1, True, np.nan]], object), ValueError, "x must be finite, got nan at row 0, column 2"),
        ([[1, 2, np.nan]], ValueError, "x must be finite, got nan at row 0, column 2"),
        ([[1, 2, 3], [1, -np.inf, np.nan]], ValueError, "x must be finite, got -inf at row 1, column 1"),
        ([[1, 2, 3], [1, 2]], ValueError, "x must be an array, got rows of different lengths"),
        (np.ma.masked_less([[1.0, -9, 2]], 0), TypeError, "x must be a plain array, got a masked one"),
        ([[1, 2, np.longdouble("1e300")]], ValueError, "x must be finite, got inf"),
    ],
)
def test_bad_rows_are_refused_by_name(rows, error, message):
    with pytest.raises(error, match=message):
        check_rows("x", rows, columns=3)


def test_not_finite_has_an_error_of_its_own_that_is_a_value_error():
    with pytest.raises(NotFiniteError, match="g must be finite, got inf at row 0, column 1"):
        check_finite("g", np.array([[0.0, np.inf]]))
    assert issubclass(NotFiniteError, ValueError)
    check_finite("g", np.array([[0.0, np.finfo(np.float64).max]]))


# ---------------------------------------------------------------------------------------------- labels


@pytest.mark.parametrize("labels", [[0, 2, 1], [0.0, 2.0, 1.0], np.array([0, 2, 1], np.uint8)])
def test_whole_labels_become_int64(labels):
    checked = check_labels("y", labels, 3, classes=3)
    assert checked.dtype == np.int64
    assert checked.tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([[0], [1]], ValueError, r"y must have 1 dimension, a label a row, got shape \(2, 1\)"),
        ([0], ValueError, "y must have a label for each of the 2 rows of x, got 1"),
        ([0, 1, 2], ValueError, "y must have a label for each of the 2 rows of x, got 3"),
        ([0, 3], ValueError, r"y must be 0 to 2 \(3 classes\), got 3 at row 1"),
        ([-1, 0], ValueError, "y must be 0 to 2.*got -1 at row 0"),
        ([0, np.inf], ValueError, "y must be 0 to 2.*got inf at row 1"),
        ([0, 3.5], TypeError, "y must be whole numbers from 0, got 3.5 at row 1"),
        ([0, np.nan], TypeError, "y must be whole numbers from 0, got nan"),
        (["cat", "dog"], TypeError, "y must be whole numbers from 0, got 'cat'"),
        ([True, False], TypeError, "y must be whole numbers from 0, got True"),
        ([0, None], TypeError, "y must be whole numbers from 0"),
        ([0, 1j], TypeError, "y must be whole numbers from 0"),
        ([[0, 1], [0]], ValueError, "y must be an array, got rows of different lengths"),
        (np.ma.masked_less([1, -9], 0), TypeError, "y must be a plain array, got a masked one"),
    ],
)
def test_bad_labels_are_refused_by_name(labels, error, message):
    with pytest.raises(error, match=message):
        check_labels("y", labels, 2, classes=3)


def test_without_a_number_of_classes_any_label_from_0_is_taken():
    assert check_labels("y", [0, 999], 2).tolist() == [0, 999]
    with pytest.raises(ValueError, match=r"y must be at least 0, and below 2\^31, got -2 at row 1"):
        check_labels("y", [0, -2], 2)


@pytest.mark.parametrize("label", [np.inf, 1e300, np.uint64(2**63)])
def test_labels_beyond_int64_are_refused_though_the_classes_are_unknown(label):
    with pytest.raises((TypeError, ValueError), match="y must be at least 0, and below"):
        check_labels("y", np.array([0, label], dtype=np.asarray(label).dtype), 2)


def test_a_tensor_that_will_not_say_where_it_is_counts_as_the_host_s():
    class Tensor:
        @property
        def __cuda_array_interface__(self):
            raise RuntimeError("cannot be had of a tensor that requires a gradient")

    assert not has_gpu_interface(Tensor())


def test_an_array_without_dimensions_is_the_number_in_it():
    assert check_number("T", np.array(0.5), "[0, 1]") == 0.5
    with pytest.raises(ValueError, match=r"T must be in \[0, 1\], got np.float64\(1.5\)"):
        check_number("T", np.array(1.5), "[0, 1]")
    with pytest.raises(TypeError, match="T must be a number"):
        check_number("T", np.array([0.5]), "[0, 1]")


def test_numbers_in_an_array_of_objects_are_taken():
    """A data frame with columns of bools and of floats, as pandas.get_dummies makes it, is an array of objects."""
    rows = np.array([[1.5, True, 2, np.float32(3)], [2.5, np.False_, -1, np.int8(4)]], object)
    np.testing.assert_array_equal(check_rows("x", rows), [[1.5, 1, 2, 3], [2.5, 0, -1, 4]])
    np.testing.assert_array_equal(check_labels("y", np.array([0, 2.0, np.int8(1)], object), 3), [0, 2, 1])
