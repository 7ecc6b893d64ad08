# SPDX-License-Identifier: MIT
"""What all readers share: layers become an MLP where they are one, and are refused with their place where not."""

import re

import numpy as np
import pytest

import minidistill.export
from minidistill import MLP, quantize
from minidistill.export import to_onnx, to_safetensors
from minidistill.export.layers import Activation, Dropout, LinearLayer, Sigmoid, as_network, between, required


def linear(place, inputs, outputs, dtype="float32"):
    W = np.random.default_rng(inputs).standard_normal((inputs, outputs)).astype(dtype)
    return LinearLayer(place, W, np.arange(outputs, dtype=dtype))


FIRST, SECOND, THIRD = linear("one", 3, 4), linear("two", 4, 5), linear("three", 5, 2)
TANH = Activation("act", "tanh")


def test_layers_become_a_network_with_copies_of_their_weights():
    net = as_network([FIRST, TANH, SECOND, TANH, THIRD], "here")
    assert (net.sizes, net.activation, net.dropout, net.dtype) == ((3, 4, 5, 2), "tanh", (0, 0, 0), np.float32)
    for W, b, layer in zip(net.weights, net.biases, (FIRST, SECOND, THIRD), strict=True):
        np.testing.assert_array_equal(W, layer.W)
        np.testing.assert_array_equal(b, layer.b)
        assert not np.shares_memory(W, layer.W)


def test_dropout_goes_to_the_layer_that_it_stands_before():
    net = as_network([Dropout("a", 0.2), FIRST, TANH, SECOND, TANH, Dropout("b", 0.5), THIRD], "here")
    assert net.dropout == (0.2, 0, 0.5)


def test_a_sigmoid_behind_one_output_becomes_two_logits_of_the_same_probability():
    last, x = linear("last", 4, 1), np.ones((2, 3), np.float32)
    hidden = np.tanh(x @ FIRST.W + FIRST.b)
    z = hidden @ last.W + last.b
    net = as_network([FIRST, TANH, last, Sigmoid("end")], "here")
    np.testing.assert_allclose(net.logits(x), np.hstack([-z / 2, z / 2]), rtol=1e-5)
    np.testing.assert_allclose(net.predict_proba(x)[:, 1:], 1 / (1 + np.exp(-z)), rtol=1e-5)


def test_the_dtype_is_the_widest_of_the_weights_or_the_one_asked_for():
    double = linear("two", 4, 2, "float64")
    assert as_network([FIRST, TANH, double], "here").dtype == np.float64
    single = as_network([FIRST, TANH, double], "here", "float32")
    np.testing.assert_array_equal(single.weights[1], double.W.astype(np.float32))
    with pytest.raises(ValueError, match="dtype must be one of 'float32', 'float64', got 'float16'"):
        as_network([FIRST, TANH, double], "here", "float16")


REFUSED = {
    "here has no linear layer": [TANH],
    "here: there is no activation between one and two": [FIRST, SECOND],
    "here mixes activations, where an MLP has one: tanh (act) and relu (other)": [
        FIRST, TANH, SECOND, Activation("other", "relu"), THIRD],
    "here: one gives 4 numbers, but three takes 5": [FIRST, TANH, THIRD],
    "here must end in a linear layer, whose outputs are the logits, got act": [FIRST, TANH],
    "here: an MLP has no Activation behind act: again": [FIRST, TANH, Activation("again", "tanh"), SECOND],
    "here: an MLP has no Activation behind its beginning: act": [TANH, FIRST],
    "here: an MLP has no Dropout behind one: drop": [FIRST, Dropout("drop", 0.5), TANH, SECOND],
    "here: end: a sigmoid must follow a linear layer with a single output": [FIRST, Sigmoid("end")],
    "here: an MLP has no Sigmoid behind one: half": [FIRST, Sigmoid("half"), SECOND],
    "here: last gives a single number": [linear("last", 3, 1)],
    "here: flat has weights (3,) and biases (1,), wanted (I, O) and (O,)": [
        LinearLayer("flat", np.ones(3, np.float32), np.ones(1, np.float32))],
    "here: odd has weights (3, 4) and biases (3,)": [LinearLayer("odd", FIRST.W, FIRST.b[:3])],
    "here: none has weights (0, 4)": [LinearLayer("none", FIRST.W[:0], FIRST.b)],
    "here: the weights of half must be float32 or float64, got float16": [
        LinearLayer("half", FIRST.W.astype(np.float16), FIRST.b)],
    "here: the biases of bad must be finite, got inf at index (0,)": [LinearLayer("bad", FIRST.W, FIRST.b + np.inf)],
}  # fmt: skip


@pytest.mark.parametrize("said", REFUSED)
def test_what_is_no_mlp_is_refused(said):
    with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
        as_network(REFUSED[said], "here")


def test_weights_that_float32_cannot_hold_are_refused_where_it_is_asked_for():
    large = LinearLayer("one", np.full((3, 2), 1e39), np.zeros(2))
    assert as_network([large], "here").dtype == np.float64
    with pytest.raises(ValueError, match="here has weights that are too large for float32"):
        as_network([large], "here", "float32")


@pytest.mark.parametrize("write", [to_onnx, to_safetensors])
def test_whole_numbers_go_into_no_format_of_floats(tmp_path, write):
    with pytest.raises(TypeError, match="must be an MLP, got a QuantizedMLP, which becomes C only: give the MLP"):
        write(quantize(MLP((3, 2)), np.eye(3)), tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_an_activation_is_put_between_layers_and_must_be_known():
    assert [type(layer) for layer in between([FIRST, SECOND, THIRD], "gelu", "here")] == [
        LinearLayer, Activation, LinearLayer, Activation, LinearLayer]  # fmt: skip
    assert between([FIRST], None, "here") == [FIRST]
    with pytest.raises(ValueError, match="here does not say the activation of its hidden layers: .* 'relu' or 'tanh'"):
        between([FIRST, SECOND], None, "here")
    with pytest.raises(ValueError, match="here: the activation .* must be 'relu' or 'tanh' or 'gelu', got 'silu'"):
        between([FIRST, SECOND], "silu", "here")


def test_a_missing_library_is_named_with_the_way_to_install_it():
    with pytest.raises(ImportError, match=r"^a thing needs nowhere_at_all: pip install 'minidistill\[export\]'$"):
        required("nowhere_at_all.inside", "a thing")


def test_the_room_is_opened_by_name_and_knows_no_other():
    on_demand = [name for names in minidistill.export.ON_DEMAND.values() for name in names]
    assert sorted(on_demand) == sorted(minidistill.export.__all__)
    assert all(getattr(minidistill.export, name).__doc__ for name in minidistill.export.__all__)
    with pytest.raises(AttributeError, match="no attribute 'to_fortran'"):
        _ = minidistill.export.to_fortran
    assert isinstance(as_network([FIRST], "here"), MLP)
