# SPDX-License-Identifier: MIT
"""Tables of one's own: what is read, and that each way to be wrong gets an error that says where."""

import gzip
import io
import re

import numpy as np
import pytest
from fifo import through_a_pipe

from minidistill.data import load_table


@pytest.fixture
def table(tmp_path):
    """Writes a text to a file and gives its path."""

    def write(text, name="table.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return write


def refusal(path, error=ValueError, **arguments):
    """The message of the error that the file gets, which must name the file."""
    with pytest.raises(error, match=re.escape(str(path))) as caught:
        load_table(path, **arguments)
    return str(caught.value)


# ---------------------------------------------------------------------------------------------- CSV


def test_the_last_column_has_the_labels(table):
    data = load_table(table("0.5,1,2\n-3e-2,4,0\n"))
    assert data.x.dtype == np.float32
    assert data.x.tolist() == [[0.5, 1], [np.float32(-3e-2), 4]]
    assert data.y.tolist() == [2, 0]


@pytest.mark.parametrize(
    "text",
    [
        "a,b,label\n0.5,1,2\n3,4,0\n",
        "a,b,label\r\n0.5,1,2\r\n3,4,0",
        '"a","b","label"\n"0.5","1","2"\n"3","4","0"\n',
        "\na, b, label\n\n 0.5, 1, 2 \n3,4,0\n\n",
        "0.5,1,2\n3,4,0\n",
        "0.5,1,2.0\n3,4,0.0\n",
    ],
    ids=["header", "windows", "quoted", "blank lines and spaces", "no header", "labels like 2.0"],
)
def test_the_same_table_in_many_ways_of_writing(table, text):
    data = load_table(table(text))
    assert data.x.tolist() == [[0.5, 1], [3, 4]]
    assert data.y.tolist() == [2, 0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_does_no_harm_with_or_without_a_header(table, encoding):
    assert load_table(table("1,2\n3,4\n", encoding=encoding)).x.tolist() == [[1], [3]]
    assert load_table(table("größe,label\n1,2\n", encoding=encoding), label="größe").y.tolist() == [1]


@pytest.mark.parametrize("label", ["digit", 0, -3])
def test_the_label_column_by_name_or_index(table, label):
    data = load_table(table("digit,a,b\n7,1,2\n8,3,4\n"), label=label)
    assert data.y.tolist() == [7, 8]
    assert data.x.tolist() == [[1, 2], [3, 4]]


def test_a_label_column_in_the_middle(table):
    data = load_table(table("1,7,2\n3,8,4\n"), label=1)
    assert data.y.tolist() == [7, 8]
    assert data.x.tolist() == [[1, 2], [3, 4]]


def test_without_labels_all_columns_are_inputs(table):
    data = load_table(table("1,2\n3,4\n"), label=None)
    assert data.y is None
    assert data.x.tolist() == [[1, 2], [3, 4]]


def test_one_column_can_only_be_read_without_labels(table):
    path = table("1\n2\n")
    assert load_table(path, label=None).x.tolist() == [[1], [2]]
    assert "one column" in refusal(path)


def test_a_header_of_numbers_is_known_by_the_name_of_the_label(table):
    data = load_table(table("label,0,1\n5,0.1,0.2\n"), label="label")
    assert data.x.shape == (1, 2)
    assert data.y.tolist() == [5]


def test_a_mixed_first_line_is_refused_and_not_dropped_as_a_header(table):
    message = refusal(table("1,oops,3\n4,5,6\n"))
    assert "line 1, column 2: wanted a number, got 'oops'" in message
    assert 'label="..."' in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a,b\n", "has no rows, only a header"),
        ("1,2,0\n3,4\n", "line 2: wanted 3 columns as in the first line, got 2"),
        ("a,b,c\n\n1,2,0\n3,4,5,6\n", "line 4: wanted 3 columns as in the first line, got 4"),
        ("1,2,0\n3,4,5,\n", "line 2: wanted 3 columns"),
        ("1,2,0\n3,x,0\n", "line 2, column 2: wanted a number, got 'x'"),
        ("a,b,c\n1,2,0\n\n3,,0\n", "line 4, column 2: wanted a number, got ''"),
        ("1,2,0\n1_0,2,0\n", "line 2, column 1: wanted a number, got '1_0'"),
        ("1,2,0\n3,nan,0\n", "line 2, column 2: wanted a finite float32 number, got 'nan'"),
        ("1,2,0\n-inf,2,0\n", "line 2, column 1: wanted a finite float32 number, got '-inf'"),
        ("1,2,0\n1e39,2,0\n", "line 2, column 1: wanted a finite float32 number, got '1e39'"),
        ("1,2,0\n3,4,cat\n", "line 2, column 3: wanted a number, got 'cat'"),
        ("1,2,0\n3,4,1.5\n", "line 2, column 3: a label must be a whole number from 0, got '1.5'"),
        ("1,2,0\n3,4,1.00000000001\n", "line 2, column 3: a label must be a whole number"),
        ("1,2,0\n3,4,-1\n", "line 2, column 3: a label must be a whole number from 0, got '-1'"),
        ("1,2,0\n3,4,1e30\n", "line 2, column 3: a label must be a whole number"),
        ("1;2;0\n3;4;0\n", "one column, parted by commas"),
    ],
)
def test_what_is_wrong_and_where_is_said(table, text, message):
    assert message in refusal(table(text))


def test_a_label_column_that_is_not_there(table):
    path = table("a,b,b\n1,2,0\n")
    assert "one column named 'c', its first line is 'a', 'b', 'b'" in refusal(path, label="c")
    assert "one column named 'b'" in refusal(path, label="b")
    assert "label must be at most 2" in refusal(path, label=3)
    with pytest.raises(ValueError, match="label must be at least -3, got -4"):
        load_table(path, label=-4)
    with pytest.raises(TypeError, match="label must be a whole number"):
        load_table(path, label=1.5)


def test_other_files_are_refused(table, tmp_path):
    assert "UTF-8" in refusal(table("1,2\n", encoding="utf-16"))
    packed = tmp_path / "table.csv.gz"
    packed.write_bytes(gzip.compress(b"1,2\n"))
    assert "UTF-8" in refusal(packed)
    assert "line 1" in refusal(table('"' + "1" * 200_000 + '"\n'))  # beyond what the csv module takes for a cell
    with pytest.raises(FileNotFoundError, match="No such file.*.*nowhere"):
        load_table(tmp_path / "nowhere.csv")


def test_labels_survive_where_float32_would_round_them(table):
    assert load_table(table("1,16777217\n")).y.tolist() == [16777217]


def test_a_large_table_comes_back_as_written(table):
    rng = np.random.default_rng(0)
    x, y = rng.random((500, 100), dtype=np.float32), rng.integers(0, 10, 500)
    lines = [",".join([*map(repr, map(float, row)), str(label)]) for row, label in zip(x, y, strict=True)]
    data = load_table(table("\n".join(lines)))
    assert np.array_equal(data.x, x)
    assert np.array_equal(data.y, y)


# ---------------------------------------------------------------------------------------------- NPZ


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_npz_with_and_without_labels(tmp_path, save, dtype):
    path = tmp_path / "table.npz"
    x = np.random.default_rng(0).random((3, 2)).astype(dtype)
    save(path, x=x, y=np.array([0, 1, 2], np.uint8))
    data = load_table(path)
    assert data.x.dtype == dtype
    assert np.array_equal(data.x, x)
    assert data.y.tolist() == [0, 1, 2]
    assert load_table(path, label=None).y is None
    save(path, x=x)
    assert load_table(path).y is None


def test_the_content_tells_npz_whatever_the_name(tmp_path):
    path = tmp_path / "table.csv"
    with path.open("wb") as file:
        np.savez(file, x=np.ones((1, 2)))
    assert load_table(path).x.tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.ones((1, 2)), "b": np.ones(1)}, "must hold an array named x, it holds 'a', 'b'"),
        ({}, "must hold an array named x, it holds nothing"),
        ({"x": np.ones(3)}, "x must have 2 dimensions"),
        ({"x": np.ones((2, 2)), "y": np.zeros(3)}, "y must have a label for each of the 2 rows"),
        ({"x": np.ones((1, 2)), "y": np.array(["cat"])}, "y must be whole numbers from 0, got 'cat'"),
        ({"x": np.full((1, 2), np.nan)}, "x must be finite"),
        ({"x": np.array([["a"]])}, "x must hold numbers"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path, arrays, message):
    path = tmp_path / "table.npz"
    np.savez(path, **arrays)
    assert message in refusal(path)


def test_a_label_column_of_an_npz_is_a_misunderstanding(tmp_path):
    path = tmp_path / "table.npz"
    np.savez(path, x=np.ones((1, 2)), y=[0])
    assert "in an NPZ file the labels are y" in refusal(path, label="digit")


class Trap:
    """Unpickling it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_nothing_in_an_npz_is_run(tmp_path):
    path, sprung = tmp_path / "table.npz", tmp_path / "sprung"
    np.savez(path, x=np.array([[Trap(sprung)]], dtype=object))
    assert "allow_pickle=False" in refusal(path)
    assert not sprung.exists()


def test_a_single_array_is_refused_with_advice(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.ones((2, 2)))
    assert "numpy.savez" in refusal(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_npz_is_refused_whatever_the_damage(tmp_path, save):
    rng = np.random.default_rng(0)
    path = tmp_path / "table.npz"
    x, y = rng.random((5, 3)), np.arange(5)
    save(path, x=x, y=y)
    whole = path.read_bytes()
    refused = 0
    for trial in range(400):
        damaged = bytearray(whole)
        if trial % 2:
            damaged = damaged[: rng.integers(4, len(whole))]
        else:
            damaged[rng.integers(4, len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            data = load_table(path)
            assert np.array_equal(data.x, x)  # bits that carry no value, such as a date
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 250


# ---------------------------------------------------------------------------------------------- pipes


@pytest.mark.parametrize("rows", [1, 20_000], ids=["shorter than the magic number", "longer than a buffer"])
def test_a_table_from_a_pipe_is_read_whole(tmp_path, rows):
    with through_a_pipe(tmp_path / "pipe", b"1,0\n" * rows) as path:
        data = load_table(path)
    assert data.x.shape == (rows, 1)
    assert len(data.y) == rows


def test_arrays_from_a_pipe_are_read_whole(tmp_path):
    x = np.arange(20_000, dtype=np.float32).reshape(10_000, 2)
    packed = io.BytesIO()
    np.savez_compressed(packed, x=x, y=np.arange(10_000) % 3)
    with through_a_pipe(tmp_path / "pipe", packed.getvalue()) as path:
        np.testing.assert_array_equal(load_table(path).x, x)
