# SPDX-License-Identifier: MIT
"""safetensors: out and in again is the same network; a file that lies is refused."""

import json
import re
import struct
import sys

import numpy as np
import pytest

from minidistill import MLP
from minidistill.export import from_safetensors, to_safetensors

pytest.importorskip("safetensors")
from safetensors.numpy import load_file, save_file


def network(activation="relu", sizes=(5, 7, 6, 3), dtype="float32"):
    made = MLP(sizes, activation, dropout=0.1, dtype=dtype)
    made.parameters += np.random.default_rng(1).standard_normal(made.num_parameters).astype(dtype) / 10
    return made


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_out_and_in_again_is_the_same_network(tmp_path, activation, dtype):
    net = network(activation, dtype=dtype)
    to_safetensors(net, tmp_path / "net.safetensors")
    back = from_safetensors(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(back.parameters, net.parameters)
    assert (back.sizes, back.activation, back.dtype) == (net.sizes, activation, net.dtype)
    assert back.dropout == (0, 0, 0)  # of training, and so not in the file


def test_names_and_shapes_are_those_of_a_sequential(tmp_path):
    net = network()
    to_safetensors(net, tmp_path / "net.safetensors")
    arrays = load_file(tmp_path / "net.safetensors")
    assert sorted(arrays) == ["0.bias", "0.weight", "2.bias", "2.weight", "4.bias", "4.weight"]
    np.testing.assert_array_equal(arrays["2.weight"], net.weights[1].T)
    np.testing.assert_array_equal(arrays["4.bias"], net.biases[2])


@pytest.mark.parametrize("names", [("0", "2", "4"), ("net.1", "net.3", "net.10"), ("fc1", "fc2", "fc3")], ids=str)
def test_the_numbers_in_the_names_are_the_order(tmp_path, names):
    net = network("tanh")
    arrays = {f"{name}.weight": W.T.copy() for name, W in zip(names, net.weights, strict=True)}
    arrays |= {f"{name}.bias": b for name, b in zip(names, net.biases, strict=True)}
    save_file(dict(reversed(arrays.items())), tmp_path / "net.safetensors")
    back = from_safetensors(tmp_path / "net.safetensors", "tanh")
    np.testing.assert_array_equal(back.parameters, net.parameters)


def test_a_layer_without_a_bias_has_zeros(tmp_path):
    save_file({"0.weight": np.ones((2, 3), np.float32)}, tmp_path / "net.safetensors")
    assert from_safetensors(tmp_path / "net.safetensors").biases[0].tolist() == [0, 0]


def test_the_activation_must_be_told_where_the_file_does_not_and_must_not_contradict_it(tmp_path):
    to_safetensors(network("tanh"), tmp_path / "ours")
    save_file(load_file(tmp_path / "ours"), tmp_path / "bare")
    assert from_safetensors(tmp_path / "bare", "gelu").activation == "gelu"
    with pytest.raises(ValueError, match="bare does not say the activation of its hidden layers: activation must be"):
        from_safetensors(tmp_path / "bare")
    with pytest.raises(ValueError, match="activation must be 'tanh', as .*ours says, got 'relu'"):
        from_safetensors(tmp_path / "ours", "relu")
    with pytest.raises(ValueError, match="bare: the activation of its hidden layers must be 'relu' or .*, got 'silu'"):
        from_safetensors(tmp_path / "bare", "silu")


# ---------------------------------------------------------------------------------------------- what is refused

W, B = np.ones((4, 3), np.float32), np.ones(4, np.float32)


def refusal(path):
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        from_safetensors(path, "relu")
    message = str(caught.value)
    assert message.startswith(str(path))
    return message


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"0.weight": W, "1.running_mean": B}, "'1.running_mean' is no numbered linear layer's"),
        ({"inner.weight": W, "outer.weight": W}, "'inner.weight' is no numbered linear layer's"),
        ({"a.0.weight": W, "b.0.weight": W}, "linear layers of one numbered sequence, it has: 'a.', 'b.'"),
        ({"0.weight": W, "1.weight": B, "1.bias": B}, "1 is no linear layer: its weight must be (O, I), got (4,)"),
        ({"0.bias": B}, "layer 0 is no linear layer: its weight must be (O, I), got none"),
        ({"0.weight": W, "0.bias": B[:3]}, "layer 0 has weights (3, 4) and biases (3,)"),
        ({"0.weight": W, "2.weight": W}, "layer 0 gives 4 numbers, but layer 2 takes 3"),
        ({"0.weight": W.astype(np.float16)}, "0.weight must be of F32 or F64, got F16"),
        ({"0.weight": W.astype(np.int64)}, "0.weight must be of F32 or F64, got I64"),
        ({"0.weight": W * np.float32(np.nan)}, "the weights of layer 0 must be finite, got nan at row 0, column 0"),
        ({}, "linear layers of one numbered sequence, it has: none"),
    ],
)
def test_what_is_no_chain_of_linear_layers_is_refused_by_name(tmp_path, arrays, said):
    save_file(arrays, tmp_path / "net.safetensors")
    assert said in refusal(tmp_path / "net.safetensors")


def lying(header, data=bytes(64), promised=None):
    """A safetensors file whose header says what it likes, even of its own length."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if promised is None else promised) + text + data


def entry(start, end, dtype="F32", shape=(2, 2)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


LIES = {
    "past the end": lying({"0.weight": entry(0, 16)}, bytes(15)),
    "data left over": lying({"0.weight": entry(0, 16)}, bytes(17)),
    "overlapping": lying({"0.weight": entry(0, 16), "0.bias": entry(8, 16, shape=(2,))}, bytes(16)),
    "backwards": lying({"0.weight": entry(16, 0)}, bytes(16)),
    "a shape of other size": lying({"0.weight": entry(0, 16, shape=(2, 3))}, bytes(16)),
    "a shape beyond all memory": lying({"0.weight": entry(0, 16, shape=(2**40, 2**40))}, bytes(16)),
    "a negative shape": lying({"0.weight": entry(0, 16, shape=(-2, -2))}, bytes(16)),
    "an unknown dtype": lying({"0.weight": entry(0, 16, dtype="F31")}, bytes(16)),
    "no JSON": lying(b"{" * 40),
    "JSON of another kind": lying([1, 2, 3]),
    "a header past the end": lying({"0.weight": entry(0, 16)}, promised=1000),
    "a header of 2^63 bytes": lying({"0.weight": entry(0, 16)}, promised=2**63),
    "a header of 90 megabytes": lying({"0.weight": entry(0, 16)}, promised=90 * 10**6),
    "nothing": b"",
    "five bytes": b"12345",
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_refused(tmp_path, lie):
    (tmp_path / "net.safetensors").write_bytes(LIES[lie])
    assert "is not a safetensors file, or is damaged" in refusal(tmp_path / "net.safetensors")


def test_cut_at_any_byte_a_file_is_refused(tmp_path):
    path = tmp_path / "net.safetensors"
    to_safetensors(network(sizes=(2, 3, 2)), path)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        refusal(path)


def test_files_that_are_not_there_or_cannot_be_written_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        from_safetensors(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="cannot write .*nowhere"):
        to_safetensors(network(), tmp_path / "nowhere" / "x")


def test_weights_that_are_not_finite_are_refused_and_nothing_written(tmp_path):
    net = network()
    net.weights[1][0, 0] = np.inf
    with pytest.raises(ValueError, match="parameters must be finite, got inf"):
        to_safetensors(net, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_the_extra_to_install_is_named(tmp_path, monkeypatch):
    for module in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, module, None)
    said = re.escape("a safetensors file needs safetensors: pip install 'minidistill[export]'")
    for call in (lambda: to_safetensors(network(), tmp_path / "x"), lambda: from_safetensors(tmp_path / "x")):
        with pytest.raises(ImportError, match=said):
            call()


def test_an_error_about_a_file_is_short_and_controls_no_terminal(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    numpy.save_file({"\x1b[31m" + "a" * 10_000: np.ones((2, 2), np.float32)}, tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="m.safetensors") as caught:
        from_safetensors(tmp_path / "m.safetensors", activation="relu")
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) <= 510
