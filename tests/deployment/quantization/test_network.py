# SPDX-License-Identifier: MIT
"""Integer networks are what their definition says, and close to the float ones; their files hold the same bits."""

import pickle

import numpy as np
import pytest
from quantizable import ACTIVATIONS, X, network

from minidistill import MLP, QuantizedMLP, compare, distill, quantize
from minidistill.deployment.quantization import Grid
from minidistill.deployment.quantization.codes import TOP, requantized
from minidistill.deployment.quantization.conversion import activation_table
from minidistill.deployment.quantization.network import accumulated
from minidistill.support.files import read_arrays, write_npz
from minidistill.training.probabilities import class_probabilities

RANDOM = np.random.default_rng(0)


def test_products_are_exact_at_the_outermost_codes_of_the_widest_layer():
    """[Q-8], against int64."""
    q, codes = np.full((2, 1 << 14), 255, np.uint8), np.full((1 << 14, 3), -127, np.int8)
    codes[:, 1] = 127
    bias = np.array([-(1 << 30), 1 << 30, 5], np.int32)
    exact = q.astype(np.int64) @ codes + bias
    found = accumulated(q, codes, bias)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, exact)


def test_halves_are_rounded_to_the_even_code_and_what_is_beyond_is_clipped():
    """[Q-9]"""
    v = np.array([-1e30, -3.5, -2.5, -0.5, 0.5, 1.5, 2.5, 3.4999, 254.5, 255.0, 1e30], np.float32)
    np.testing.assert_array_equal(requantized(v, 0), [0, 0, 0, 0, 0, 2, 2, 3, 254, 255, 255])
    np.testing.assert_array_equal(requantized(v, 3), [0, 0, 1, 3, 3, 5, 5, 6, 255, 255, 255])


def by_hand(quantized, row):
    """The definition for one row in Python's whole numbers, with nothing of NumPy but the roundings of float32."""
    f32 = np.float32

    def code(v, zero):
        return round(min(max(float(v), -zero), 255 - zero)) + zero  # round() takes halves to the even number

    zero = quantized.grids[0].zero
    q = [code(f32(x) * f32(1 / quantized.grids[0].scale), zero) for x in row]
    for layer in quantized.layers:
        outputs = []
        for o in range(layer.codes.shape[1]):
            acc = int(layer.bias[o]) + sum(a * int(w) for a, w in zip(q, layer.codes[:, o], strict=True))
            outputs.append(f32(acc) * (layer.scale * f32(layer.units[o])))
        if layer is quantized.layers[-1]:
            return outputs
        q = [code(v, layer.zero) for v in outputs]
        q = q if layer.table is None else [int(layer.table[u]) for u in q]
    return None


@pytest.mark.parametrize("bits", TOP)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_network_is_its_definition_to_the_last_bit(activation, bits):
    quantized = quantize(network(activation=activation), X, bits)
    np.testing.assert_array_equal(quantized.logits(3 * X[:9]), [by_hand(quantized, row) for row in 3 * X[:9]])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_8_bits_say_nearly_what_the_float_network_says(activation):
    """[Q-10]: zero points and biases are in the sums, or this would be far off."""
    net = network(activation=activation)
    for quantized in (quantize(net, X, method="minmax"), quantize(net)):
        found, exact = quantized.outputs(X), net.outputs(X)
        assert np.abs(found.logits - exact.logits).max() < 0.04 * np.abs(exact.logits).max()
        for h, true in zip(found.hidden, exact.hidden, strict=True):
            assert np.abs(h - true).max() < 0.04 * np.abs(true).max()
        np.testing.assert_array_equal(found.logits, quantized.logits(X))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_measured_row_by_row_a_row_does_not_hang_on_others(activation):
    """[Q-11]"""
    quantized = quantize(network(activation=activation))
    np.testing.assert_array_equal(quantized.logits(X)[7], quantized.logits(X[7:8])[0])
    assert np.isfinite(quantized.logits(np.zeros((1, 6)))).all()


def test_measured_row_by_row_no_row_is_too_large():
    net = network()
    large = X * np.float32(1000) ** RANDOM.uniform(0, 1, (90, 1)).astype(np.float32)
    errors = np.abs(quantize(net).logits(large) - net.logits(large)).max(axis=1)
    assert (errors < 0.02 * np.abs(large).max(axis=1)).all()


def test_a_table_is_the_activation_on_the_grid():
    """[Q-12]"""
    before, after = Grid.over(-4.0, 6.0), Grid.over(-0.2, 6.0)
    table = activation_table("gelu", before, after)
    z = before.values(np.arange(256))
    exact, _ = network().ops.gelu_forward(z.astype(np.float64))
    assert table.shape == (256,) and table.dtype == np.uint8
    np.testing.assert_array_less(np.abs(after.values(table) - exact), 0.51 * after.scale)


def test_a_bias_far_above_the_weights_fits_in_32_bits():
    net = network()
    net.weights[1][:] *= 1e-12
    net.biases[1][:] = 5
    quantized = quantize(net, X)
    assert np.abs(quantized.logits(X) - net.logits(X)).max() < 0.02 * np.abs(net.logits(X)).max()


def test_layers_that_are_dead_or_without_hidden_ones_are_quantised():
    dead = network()
    dead.parameters[:] = 0
    np.testing.assert_array_equal(quantize(dead, X).logits(X), 0)
    flat = network((6, 3))
    assert np.abs(quantize(flat, X).logits(X) - flat.logits(X)).max() < 0.05


def test_the_float_network_stays_as_it_is():
    net = network()
    before = net.parameters.copy()
    quantize(net, X, 4)
    np.testing.assert_array_equal(net.parameters, before)


def test_float64_networks_are_quantised_like_float32_ones():
    single, double = network(), network(dtype=np.float64)
    double.parameters[:] = single.parameters
    found = quantize(double, X, method="minmax").logits(X.astype(np.float64))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, quantize(single, X, method="minmax").logits(X), rtol=1e-3, atol=0.05)


def test_sizes_and_costs_are_those_of_what_is_stored():
    net = network()
    weights, outputs = 6 * 8 + 8 * 5 + 5 * 3, 8 + 5 + 3
    quantized = quantize(net, X)
    assert quantized.nbytes == weights + 5 * outputs + 4 * 3 + 4 + 3
    assert quantize(net, X, 4).nbytes == (3 * 8 + 4 * 5 + 3 * 3) + 5 * outputs + 4 * 3 + 4 + 3
    assert quantize(net).nbytes == weights + 5 * outputs + 4 * 3
    assert quantize(network(activation="gelu"), X).nbytes == quantized.nbytes + 2 * 256
    assert (quantized.num_parameters, quantized.multiply_adds) == (net.num_parameters, net.multiply_adds)


def test_students_of_the_digits_take_at_most_27_percent_of_the_bytes_and_keep_their_accuracy(trained):
    student, training, test = trained
    accuracy = (student.predict(test.x) == test.y).mean()
    for method in ("minmax", "mse"):
        quantized = quantize(student, training.x[:500], method=method)
        assert quantized.nbytes <= 0.27 * student.nbytes
        assert (quantized.predict(test.x) == test.y).mean() >= accuracy - 0.003


def test_compare_takes_it_and_it_may_teach(trained):
    student, training, test = trained
    quantized = quantize(student, training.x[:500])
    report = compare(student, {"8 bits": quantized}, test)
    assert report["8 bits"].bytes == quantized.nbytes
    assert report["8 bits"].agreement > 0.99
    few = training.take(200)
    pupil = MLP((64, 10))
    distill(quantized, pupil, few, epochs=5)
    assert class_probabilities(quantized, test.x[:3]).shape == (3, 10)
    np.testing.assert_array_equal(quantized.predict(test.x), quantized.predict_proba(test.x, 2.0).argmax(axis=1))


# ---------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("calibration", [X, None])
@pytest.mark.parametrize("bits", TOP)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_was_saved_predicts_the_same_bits(tmp_path, activation, bits, calibration):
    quantized = quantize(network((6, 7, 5, 3), activation=activation), calibration, bits)
    quantized.save(tmp_path / "q.npz")
    loaded = QuantizedMLP.load(tmp_path / "q.npz")
    np.testing.assert_array_equal(loaded.logits(X), quantized.logits(X))
    assert repr(loaded) == repr(quantized)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(quantized)).logits(X), quantized.logits(X))


DAMAGE = {
    "sizes": lambda a: a.update(sizes=np.array([6, 8, 5, 4])),
    "no layer": lambda a: a.update(sizes=np.array([6])),
    "too wide": lambda a: a.update(sizes=np.array([6, 8, 1 << 20, 3])),
    "activation": lambda a: a.update(activation=np.array("swish")),
    "bits": lambda a: a.update(bits=np.array(3)),
    "codes": lambda a: a.update(codes=a["codes"][:-1]),
    "dtype": lambda a: a.update(biases=a["biases"].astype(np.float64)),
    "units": lambda a: a["units"].__setitem__(0, 0),
    "scales": lambda a: a["scales"].__setitem__(0, np.nan),
    "negative scale": lambda a: a["scales"].__setitem__(0, -1),
    "zero point": lambda a: a["grids"].__setitem__((0, 1), 300),
    "half a zero point": lambda a: a["grids"].__setitem__((0, 1), 0.5),
    "bias": lambda a: a["biases"].__setitem__(0, (1 << 31) - 1),
    "table": lambda a: a.update(tables=a["tables"][:1]),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_refused(tmp_path, name):
    quantize(network(activation="tanh"), X).save(tmp_path / "q.npz")
    arrays = read_arrays(tmp_path / "q.npz")
    arrays.pop("kind")
    DAMAGE[name](arrays)
    write_npz(tmp_path / "bad.npz", "quantized-network", arrays)
    with pytest.raises(ValueError, match="is not a quantized-network of minidistill, or is damaged"):
        QuantizedMLP.load(tmp_path / "bad.npz")


def test_files_that_are_something_else_are_refused(tmp_path):
    network().save(tmp_path / "float.npz")
    with pytest.raises(ValueError, match="is not a quantized-network"):
        QuantizedMLP.load(tmp_path / "float.npz")
    quantize(network(), X).save(tmp_path / "q.npz")
    with pytest.raises(ValueError, match="is not a network of minidistill"):
        MLP.load(tmp_path / "q.npz")
    whole = (tmp_path / "q.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="damaged"):
        QuantizedMLP.load(tmp_path / "half.npz")
    with pytest.raises(FileNotFoundError):
        QuantizedMLP.load(tmp_path / "none.npz")
