# SPDX-License-Identifier: MIT
"""The C file: compiled without a warning and without undefined behaviour, it gives the network's logits."""

import ctypes
import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from minidistill import MLP
from minidistill.export import c_source, to_c
from minidistill.export.c import hexadecimal

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
STRICT = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Wmissing-prototypes", "-Werror"]
SHAPES = [(3, 2), (64, 32, 10), (65, 7, 3), (1, 1, 2), (4, *[9] * 12, 5), (784, 30, 30, 10)]

ROWS_OF_STDIN = """\
#include <stdio.h>
int main(void)
{
    static float x[mlp_inputs], logits[mlp_classes];
    while (fread(x, sizeof x, 1, stdin) == 1) {
        printf("%d", mlp_predict(x, logits));
        for (int j = 0; j < mlp_classes; j++) printf(" %a", (double)logits[j]);
        printf("\\n");
    }
    return 0;
}
"""


def network(sizes, activation="relu", seed=0, dtype="float32"):
    """One whose biases are no zeros either."""
    made = MLP(sizes, activation, seed=seed, dtype=dtype)
    for b in made.biases:
        b[:] = np.random.default_rng(seed).standard_normal(b.shape) / 10
    return made


def rows(n, columns):
    return np.random.default_rng(1).standard_normal((n, columns)).astype(np.float32)


def answers(folder, source, x, *flags):
    """Classes and logits of the program that the source and ROWS_OF_STDIN make, which must say nothing on stderr."""
    (folder / "mlp.c").write_text(source + ROWS_OF_STDIN)
    command = ["gcc", *STRICT, *flags, str(folder / "mlp.c"), "-o", str(folder / "mlp"), "-lm"]
    compiled = subprocess.run(command, capture_output=True, text=True, check=False)
    assert compiled.returncode == 0, compiled.stderr
    ran = subprocess.run([folder / "mlp"], input=x.tobytes(), capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")
    table = [line.split() for line in ran.stdout.decode().splitlines()]
    logits = [[float.fromhex(logit) for logit in row[1:]] for row in table]
    return np.array([int(row[0]) for row in table]), np.array(logits)


@needs_gcc
@pytest.mark.parametrize("flags", [["-O2"], ["-O1", "-fsanitize=address,undefined"]], ids=["-O2", "sanitized"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("sizes", SHAPES, ids=str)
def test_the_compiled_file_gives_the_logits_and_classes_of_the_network(tmp_path, sizes, activation, flags):
    net, x = network(sizes, activation), rows(20, sizes[0])
    expected = net.logits(x)
    labels, logits = answers(tmp_path, c_source(net), x, *flags)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    np.testing.assert_array_equal(labels, net.predict(x))


@needs_gcc
def test_of_equal_logits_the_first_is_the_class(tmp_path):
    net = MLP((2, 3))
    net.parameters[:] = 0
    net.biases[0][:] = [-1, 2, 2]
    labels, logits = answers(tmp_path, c_source(net), np.zeros((1, 2), np.float32), "-O2")
    assert labels.tolist() == net.predict(np.zeros((1, 2))).tolist() == [1]
    assert logits.tolist() == [[-1, 2, 2]]


@needs_gcc
def test_weights_of_float64_are_rounded_to_the_nearest_float32(tmp_path):
    double, x = network((5, 7, 3), dtype="float64"), rows(20, 5)
    single = MLP((5, 7, 3))
    single.parameters[:] = double.parameters
    source = c_source(double)
    assert "rounded from float64" in source
    assert source.replace(", rounded from float64", "") == c_source(single)
    _, logits = answers(tmp_path, source, x, "-O2")
    np.testing.assert_allclose(logits, double.logits(x), rtol=0, atol=1e-6 * np.abs(logits).max())


@needs_gcc
def test_two_networks_of_different_names_fit_in_one_program(tmp_path):
    source = c_source(network((3, 4, 2), "tanh")) + c_source(network((3, 4, 2), "gelu", seed=1), "other")
    answers(tmp_path, source, rows(2, 3), "-O2")  # "other" is declared, so nothing is unused


@needs_gcc
def test_the_file_can_be_called_from_python_by_ctypes(tmp_path):
    net, x = network((4, 6, 3), "gelu"), rows(5, 4)
    to_c(net, tmp_path / "net.c", "net")
    command = ["gcc", *STRICT, "-O3", "-shared", "-fPIC", "net.c", "-o", "net.so", "-lm"]
    subprocess.run(command, cwd=tmp_path, check=True)
    predict = ctypes.CDLL(str(tmp_path / "net.so")).net_predict
    logits = (ctypes.c_float * 3)()
    for row, expected in zip(x, net.logits(x), strict=True):
        label = predict((ctypes.c_float * 4)(*row.tolist()), logits)
        assert label == expected.argmax()
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@needs_gcc
@pytest.mark.skipif(shutil.which("size") is None, reason="needs size, of binutils")
@pytest.mark.parametrize("sizes", [(64, 32, 10), (784, 30, 30, 10), (64, *[32] * 6, 10)], ids=str)
@pytest.mark.parametrize("flags", [["-O3"], ["-Os"]], ids=" ".join)
def test_code_and_data_beside_the_weights_are_under_ten_kibibytes(tmp_path, sizes, flags):
    net = network(sizes, "gelu")
    to_c(net, tmp_path / "mlp.c")
    subprocess.run(["gcc", *STRICT, *flags, "-c", "mlp.c"], cwd=tmp_path, check=True)
    said = subprocess.run(["size", "mlp.o"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    text, data, bss = map(int, said.splitlines()[1].split()[:3])
    assert 0 < text + data + bss - net.nbytes < 10 * 1024


@needs_gcc
@pytest.mark.compiles
def test_from_c_a_row_takes_under_a_third_of_the_quickest_call_from_python(tmp_path, monkeypatch):
    path = Path(__file__).parent.parent / "docs" / "measure_export.py"
    spec = importlib.util.spec_from_file_location("measure_export", path)
    measure_export = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(measure_export)
    monkeypatch.setattr(measure_export, "ROUNDS", 10)
    nanoseconds = measure_export.latencies(network((64, 32, 10)), tmp_path)
    from_python = [took for way, took in nanoseconds.items() if way not in ("C", "C by ctypes")]
    assert len(from_python) >= 2
    assert nanoseconds["C"] < min(from_python) / 3, nanoseconds


def test_every_float32_is_written_so_that_it_comes_back():
    awkward = [0.0, -0.0, 1.0, -0.1, 1e-45, 3.4028235e38, 1.17549435e-38, 2.0**-30, 1 / 3]
    for number in np.array(awkward, np.float32).tolist():
        text = hexadecimal(number)
        assert re.fullmatch(r"-?0x[01](\.[0-9a-f]+)?p[+-]\d+f", text)
        back = float.fromhex(text.removesuffix("f"))
        assert back == number
        assert np.signbit(back) == np.signbit(number)


def test_the_file_is_the_text_and_says_how_to_use_it(tmp_path):
    net = network((64, 32, 10), "tanh")
    to_c(net, tmp_path / "digits.c", "digits")
    text = (tmp_path / "digits.c").read_text()
    assert text == c_source(net, "digits")
    assert "64-32-10, tanh: 2410 weights" in text
    assert "gcc -std=c99 -O3 -c digits.c, and link with -lm" in text
    assert "int digits_predict(const float x[64], float logits[10]);" in text


def test_only_what_needs_it_asks_for_the_maths_library():
    assert re.findall("#include.*", c_source(network((3, 4, 2), "relu"))) == []
    assert re.findall("#include.*", c_source(network((3, 2), "gelu"))) == []
    assert re.findall("#include.*", c_source(network((3, 4, 2), "tanh"))) == ["#include <math.h>"]
    assert not re.search("malloc|static (?!const|float)", c_source(network((3, 4, 2))))


@pytest.mark.parametrize("name", ["", "2d", "a-b", "a b", "_Net", "é", "x;int y", None, 3])
def test_a_name_that_c_would_not_take_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="name must begin with a letter.*got "):
        to_c(network((3, 2)), tmp_path / "x.c", name)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_network_or_has_no_finite_weights_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(TypeError, match="network must be an MLP, got ndarray"):
        to_c(np.zeros(3), tmp_path / "x.c")
    net = network((3, 2))
    net.weights[0][1, 1] = np.nan
    with pytest.raises(ValueError, match="parameters must be finite, got nan"):
        to_c(net, tmp_path / "x.c")
    large = network((3, 2), dtype="float64")
    large.weights[0][1, 1] = 1e39
    with pytest.raises(ValueError, match="W of layer 0 in float32 must be finite, got inf at row 1, column 1"):
        to_c(large, tmp_path / "x.c")
    assert list(tmp_path.iterdir()) == []


def test_a_place_where_nothing_can_be_written_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="cannot write .*nowhere"):
        to_c(network((3, 2)), tmp_path / "nowhere" / "x.c")
