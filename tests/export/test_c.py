# SPDX-License-Identifier: MIT
"""The C file: compiled without a warning and without undefined behaviour, it gives the network's logits."""

import ctypes
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from rounding import assert_logits

from minidistill import MLP, QuantizedMLP, quantize
from minidistill.deployment.quantization import Grid, IntegerLayer
from minidistill.export import c_source, to_c
from minidistill.export.c import PORTION, hexadecimal

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
STRICT = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Wmissing-prototypes", "-Werror"]
SANITIZED = ["-O1", "-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover"]
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


def roundings(inputs):
    """Of one term of a sum in the C file, which adds up portions: the product, a portion, all portions and the bias."""
    return min(inputs, PORTION) + -(-inputs // PORTION) + 1


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


def object_bytes(net, folder, *flags):
    """What the file takes once it is compiled: weights, tables and code."""
    to_c(net, folder / "mlp.c")
    subprocess.run(["gcc", *STRICT, *flags, "-c", "mlp.c"], cwd=folder, check=True)
    said = subprocess.run(["size", "mlp.o"], cwd=folder, capture_output=True, text=True, check=True).stdout
    return sum(map(int, said.splitlines()[1].split()[:3]))


@needs_gcc
@pytest.mark.parametrize("flags", [["-O2"], SANITIZED], ids=["-O2", "sanitized"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("sizes", SHAPES, ids=str)
def test_the_compiled_file_gives_the_logits_and_classes_of_the_network(tmp_path, sizes, activation, flags):
    net, x = network(sizes, activation), rows(20, sizes[0])
    labels, logits = answers(tmp_path, c_source(net), x, *flags)
    assert_logits(logits, net, x, roundings)
    np.testing.assert_array_equal(labels, logits.argmax(axis=1))


@needs_gcc
@pytest.mark.parametrize("sizes", [(64, 32, 10), (65, 7, 3), (784, 30, 30, 10)], ids=str)
def test_where_no_order_of_summation_rounds_the_bits_are_those_of_the_network(tmp_path, sizes):
    random, net = np.random.default_rng(0), MLP(sizes)
    net.parameters[:] = random.integers(-1, 2, net.num_parameters)
    x = random.integers(-1, 2, (20, sizes[0])).astype(np.float32)
    largest = np.abs(x)
    for W, b in zip(net.weights, net.biases, strict=True):
        largest = largest @ np.abs(W) + np.abs(b)
    assert largest.max() < 2**24, "float32 holds every whole number up to there"
    labels, logits = answers(tmp_path, c_source(net), x, "-O2")
    np.testing.assert_array_equal(logits, net.logits(x))
    np.testing.assert_array_equal(labels, net.predict(x))


# ---------------------------------------------------------------------------------------------- whole numbers


def whole(sizes, activation="relu", bits=8, seed=0):
    """An integer network, and rows: like those that it was calibrated on, near halves of steps, and extreme."""
    net = network(sizes, activation, seed)
    integers = quantize(net, rows(40, sizes[0]), bits=bits)
    halves = np.random.default_rng(seed).integers(-300, 300, (8, sizes[0])) / 2 / integers.input_multiplier
    constant = np.repeat([[3e38], [-3e38], [0]], sizes[0], axis=1)
    return integers, np.concatenate([rows(20, sizes[0]), halves, constant]).astype(np.float32)


def assert_the_same_bits(folder, integers, x, *flags):
    labels, logits = answers(folder, c_source(integers), x, *flags)
    assert logits.astype(np.float32).tobytes() == integers.logits(x).tobytes()
    np.testing.assert_array_equal(labels, integers.predict(x))


@needs_gcc
@pytest.mark.parametrize("flags", [["-O0"], ["-O3"], SANITIZED], ids=["-O0", "-O3", "sanitized"])
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@settings(max_examples=3, deadline=None)
@given(st.lists(st.integers(1, 70), min_size=1, max_size=4), st.integers(2, 12), st.integers(0, 99))
def test_the_file_of_an_integer_network_has_its_bits(activation, bits, flags, widths, classes, seed):
    integers, x = whole((*widths, classes), activation, bits, seed)
    with tempfile.TemporaryDirectory() as folder:
        assert_the_same_bits(Path(folder), integers, x, *flags)


AWKWARD_FLAGS = {
    "fused multiply-adds": ["-std=gnu17", "-O3", "-march=native", "-ffp-contract=fast"],
    "sums in another order": ["-O3", "-march=native", "-fassociative-math", "-fno-signed-zeros", "-fno-trapping-math"],
    "numbers kept in 80 bits": ["-O3", "-mfpmath=387"],
    "bytes that have no sign": ["-O2", "-funsigned-char"],
}


@needs_gcc
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("flags", AWKWARD_FLAGS.values(), ids=AWKWARD_FLAGS)
def test_no_flag_that_changes_how_floats_are_rounded_changes_a_bit(tmp_path, flags, activation):
    if "-mfpmath=387" in flags and platform.machine() != "x86_64":
        pytest.skip("needs the x87 unit")
    integers, x = whole((65, 40, 30, 10), activation)
    assert_the_same_bits(tmp_path, integers, np.concatenate([x, rows(2000, 65)]), *flags)


@needs_gcc
@pytest.mark.parametrize("zero", [0, 7, 128, 255])
def test_every_code_and_the_halves_between_them_are_rounded_as_the_definition_does(tmp_path, zero):
    """A network that shows the codes: of the inputs, and after a multiplier of a half, of a hidden layer."""
    eye, ones = np.eye(3, dtype=np.int8), np.ones(3, np.uint8)
    hidden = IntegerLayer(eye, np.full(3, -zero, np.int32), ones, np.float32(0.5), 128 - zero // 2)
    last = IntegerLayer(np.array([[1, 3, 2]] * 3, np.int8), np.zeros(3, np.int32), ones, np.float32(1))
    integers = QuantizedMLP((3, 3, 3), "relu", 8, [hidden, last], [Grid(0.5, zero), Grid(1.0, 0)])
    between = np.arange(-300, 300, 0.25, np.float32) / 2
    x = np.concatenate([between, np.nextafter(between, np.float32(9e9)), np.nextafter(between, np.float32(-9e9))])
    x = np.stack([x, x[::-1], np.zeros_like(x)], axis=1)
    assert_the_same_bits(tmp_path, integers, x, "-O3")


@needs_gcc
def test_sums_as_large_as_they_may_become_do_not_overflow(tmp_path):
    I, most = 1 << 14, 1 << 29
    layer = IntegerLayer(np.full((I, 2), 127, np.int8) * np.array([1, -1], np.int8), np.array([most, -most], np.int32),
                         np.array([255, 1], np.uint8), np.float32(1e-3))  # fmt: skip
    integers = QuantizedMLP((I, 2), "relu", 8, [layer], [Grid(1.0, 0)])
    assert_the_same_bits(tmp_path, integers, np.full((1, I), 300, np.float32), *SANITIZED)


@needs_gcc
@pytest.mark.skipif(shutil.which("size") is None, reason="needs size, of binutils")
def test_the_object_file_of_8_bits_has_a_quarter_of_the_bytes_and_that_of_4_bits_half_of_those(tmp_path):
    net = network((784, 30, 30, 10))
    eight, four = (object_bytes(quantize(net, rows(40, 784), bits), tmp_path, "-Os") for bits in (8, 4))
    assert eight < 0.27 * object_bytes(net, tmp_path, "-Os")
    assert four < 0.54 * eight


def test_the_file_of_whole_numbers_says_how_to_use_it_and_needs_no_library(tmp_path):
    integers, _ = whole((64, 32, 10), "tanh", bits=4)
    to_c(integers, tmp_path / "digits.c", "digits")
    text = (tmp_path / "digits.c").read_text()
    assert text == c_source(integers, "digits")
    assert "64-32-10, tanh: 2410 weights of 4 bits" in text
    assert "gcc -std=c99 -O3 -c digits.c\n" in text
    assert "int digits_predict(const float x[64], float logits[10]);" in text
    assert re.findall("#include.*", text) == ["#include <stdint.h>"]


def test_an_integer_network_that_c_cannot_have_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(ValueError, match="network must be calibrated to become C: give `quantize` rows"):
        to_c(quantize(network((3, 2))), tmp_path / "x.c")
    layer = IntegerLayer(np.ones((3, 2), np.int8), np.zeros(2, np.int32), np.full(2, 9, np.uint8), np.float32(1e38))
    for grid, said in ((Grid(1.0, 0), "multipliers of layer 0"), (Grid(1e-300, 0), "multiplier of the inputs")):
        with pytest.raises(ValueError, match=f"{said} must be finite, got inf"):
            to_c(QuantizedMLP((3, 2), "relu", 8, [layer], [grid]), tmp_path / "x.c")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------------- both


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
    assert_logits(logits, single, x, roundings)


@needs_gcc
def test_two_networks_of_different_names_fit_in_one_program(tmp_path):
    nets = {"mlp": network((3, 4, 2), "tanh"), "gelu": network((3, 4, 2), "gelu"), "whole": whole((3, 4, 2))[0]}
    source = "".join(c_source(net, name) for name, net in nets.items())
    answers(tmp_path, source, rows(2, 3), "-O2")  # all are declared, so nothing is unused


@needs_gcc
def test_the_file_can_be_called_from_python_by_ctypes(tmp_path):
    net, x = network((4, 6, 3), "gelu"), rows(5, 4)
    to_c(net, tmp_path / "net.c", "net")
    command = ["gcc", *STRICT, "-O3", "-shared", "-fPIC", "net.c", "-o", "net.so", "-lm"]
    subprocess.run(command, cwd=tmp_path, check=True)
    predict = ctypes.CDLL(str(tmp_path / "net.so")).net_predict
    logits = (ctypes.c_float * 3)()
    for row in x:
        label = predict((ctypes.c_float * 4)(*row.tolist()), logits)
        assert label == np.argmax(logits)
        assert_logits(np.array([logits]), net, row[None], roundings)


@needs_gcc
@pytest.mark.skipif(shutil.which("size") is None, reason="needs size, of binutils")
@pytest.mark.parametrize("sizes", [(64, 32, 10), (784, 30, 30, 10), (64, *[32] * 6, 10)], ids=str)
@pytest.mark.parametrize("flags", [["-O3"], ["-Os"]], ids=" ".join)
def test_code_and_data_beside_the_weights_are_under_ten_kibibytes(tmp_path, sizes, flags):
    net = network(sizes, "gelu")
    assert 0 < object_bytes(net, tmp_path, *flags) - net.nbytes < 10 * 1024
    integers = quantize(net, rows(40, sizes[0]))
    assert 0 < object_bytes(integers, tmp_path, *flags) - integers.nbytes < 10 * 1024


@needs_gcc
@pytest.mark.compiles
@pytest.mark.one_width
def test_from_c_a_row_takes_under_a_third_of_the_quickest_call_from_python(tmp_path, monkeypatch):
    from measure import export as measure_export
    monkeypatch.setattr(measure_export, "PASSES", 1)
    nanoseconds = measure_export.latencies(network((64, 32, 10)), tmp_path)
    from_python = [took for way, took in nanoseconds.items() if not way.startswith("C")]
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


# ---------------------------------------------------------------------------------------------- the stack


@needs_gcc
@pytest.mark.parametrize("flags", ["-O0", "-O1", "-O2", "-O3", "-Os", "-O3 -march=native -funroll-loops"])
def test_the_stated_stack_is_enough_and_not_far_more(tmp_path, flags):
    for k, sizes in enumerate([*SHAPES, (784, 800, 800, 10), (200, 5, 300, 7)]):
        made = network(sizes, activation=("relu", "tanh", "gelu")[k % 3])
        for model in (made, *(quantize(made, rows(20, sizes[0]), bits=bits) for bits in (4, 8))):
            source = tmp_path / "m.c"
            to_c(model, source)
            (stated,) = map(int, re.findall(r"at most (\d+) bytes of stack", source.read_text()))
            command = ["gcc", "-std=c99", *flags.split(), "-fstack-usage", "-c", source.name]
            subprocess.run(command, cwd=tmp_path, check=True)
            lines = (tmp_path / "m.su").read_text().splitlines()
            used = sum(int(line.split("\t")[1]) for line in lines)  # of all functions: one calls another at most
            assert used <= stated, (sizes, model)
            assert flags != "-O0" or stated - used < 1000, (sizes, model)  # optimized, arrays can be in registers
