# SPDX-License-Identifier: MIT
"""ONNX: what goes out is what ONNX's own checker, reference and runtime read; what comes in is an MLP or is refused."""

import re
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from rounding import assert_logits, assert_probabilities

from minidistill import MLP, SoftTarget, digits, distill
from minidistill.export import from_onnx, to_onnx
from minidistill.export.onnx import onnx_bytes

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper, reference  # noqa: E402

SHAPES = [(3, 2), (64, 32, 10), (5, 7, 6, 3)]


def network(sizes, activation="relu", dtype="float32"):
    made = MLP(sizes, activation, dtype=dtype)
    made.parameters += np.random.default_rng(1).standard_normal(made.num_parameters).astype(dtype) / 10
    return made


def rows(n, columns):
    return np.random.default_rng(2).standard_normal((n, columns)).astype(np.float32)


# ---------------------------------------------------------------------------------------------- out


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("sizes", SHAPES, ids=str)
def test_checker_reference_and_runtime_read_the_file_for_any_number_of_rows(tmp_path, sizes, activation):
    onnxruntime = pytest.importorskip("onnxruntime")
    net, path = network(sizes, activation), str(tmp_path / "net.onnx")
    to_onnx(net, path)
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    evaluator = reference.ReferenceEvaluator(path)
    for n in (1, 7):
        x = rows(n, sizes[0])
        for run in (session.run, evaluator.run):
            (logits,) = run(["logits"], {"x": x})
            assert logits.dtype == np.float32
            assert_logits(logits, net, x)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("sizes", SHAPES, ids=str)
def test_out_and_in_again_is_the_same_network(tmp_path, sizes, activation):
    net = network(sizes, activation)
    to_onnx(net, tmp_path / "net.onnx")
    back = from_onnx(tmp_path / "net.onnx")
    np.testing.assert_array_equal(back.parameters, net.parameters)
    assert (back.sizes, back.dtype) == (net.sizes, net.dtype)
    assert back.activation == (activation if len(sizes) > 2 else "relu")  # one layer has none


def test_weights_of_float64_are_rounded_to_the_nearest_float32(tmp_path):
    double = network((5, 7, 3), dtype="float64")
    to_onnx(double, tmp_path / "net.onnx")
    np.testing.assert_array_equal(from_onnx(tmp_path / "net.onnx").parameters, double.parameters.astype(np.float32))


@pytest.mark.parametrize(("value", "message"), [(np.nan, "parameters must be finite, got nan"),
                                                (1e39, "b of layer 1 in float32 must be finite")])  # fmt: skip
def test_weights_that_are_not_finite_are_refused_and_nothing_written(tmp_path, value, message):
    net = network((5, 7, 3), dtype="float64")
    net.biases[1][0] = value
    with pytest.raises(ValueError, match=message):
        to_onnx(net, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_no_onnx_file_can_hold_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("minidistill.export.onnx.MOST_BYTES", 2**20 + 4 * 2409)
    with pytest.raises(ValueError, match="network is too large for an ONNX file: 2,410 parameters"):
        to_onnx(network((64, 32, 10)), tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_the_extra_to_install_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    for call in (lambda: to_onnx(network((3, 2)), tmp_path / "x"), lambda: from_onnx(tmp_path / "x")):
        with pytest.raises(ImportError, match=re.escape("an ONNX file needs onnx: pip install 'minidistill[export]'")):
            call()
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------------- in: what others write

W0, B0 = rows(3, 4), rows(1, 4)[0]
W1, B1 = rows(4, 2), rows(1, 2)[0]


def node(kind, inputs, output, **attributes):
    return helper.make_node(kind, inputs.split(), [output], name=f"n-{output}", **attributes)


def written(path, nodes, output, constants=None, inputs=("x",)):
    """An ONNX file of these nodes, with W0, B0, W1, B1 and more as constants."""
    arrays = {"W0": W0, "B0": B0, "W1": W1, "B1": B1, **(constants or {})}
    tensors = [a if isinstance(a, TensorProto) else numpy_helper.from_array(a, name) for name, a in arrays.items()]
    ends = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
            for names in (inputs, [output] if isinstance(output, str) else output))  # fmt: skip
    model = helper.make_model(helper.make_graph(nodes, "g", *ends, tensors))
    path.write_bytes(model.SerializeToString())
    return path


FIRST = node("Gemm", "x W0 B0", "z")
LAST = node("Gemm", "a W1 B1", "logits")
PLAIN = [FIRST, node("Relu", "z", "a"), LAST]
CHAINS = {
    "MatMul and Add": [node("MatMul", "x W0", "m"), node("Add", "m B0", "z"), node("Relu", "z", "a"),
                       node("MatMul", "a W1", "k"), node("Add", "B1 k", "logits")],
    "transB": [node("Gemm", "x W0T B0", "z", transB=1), node("Relu", "z", "a"), LAST],
    "alpha and beta": [node("Gemm", "x W0 B0", "z", alpha=0.5, beta=-2.0), node("Relu", "z", "a"), LAST],
    "no bias": [node("Gemm", "x W0", "z"), node("Relu", "z", "a"), node("MatMul", "a W1", "logits")],
    "a bias of one row": [node("Gemm", "x W0 row", "z"), node("Relu", "z", "a"), LAST],
    "a scalar bias": [node("Gemm", "x W0 scalar", "z"), node("Relu", "z", "a"), LAST],
    "two biases": [node("Gemm", "x W0 B0", "m"), node("Add", "m B0", "z"), node("Relu", "z", "a"), LAST],
    "constants as nodes": [helper.make_node("Constant", [], ["C"], value=numpy_helper.from_array(B0)),
                           node("Gemm", "x W0 C", "z"), node("Relu", "z", "a"), LAST],
    "what does nothing": [node("Flatten", "x", "f", axis=1), node("Identity", "f", "i"), node("Gemm", "i W0 B0", "z"),
                          node("Relu", "z", "r"), node("Dropout", "r", "a"), LAST],
}  # fmt: skip
MORE = {"W0T": np.ascontiguousarray(W0.T), "row": B0[None], "scalar": np.float32(0.25)}


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_as_others_write_it_gives_the_logits_of_onnx_itself(tmp_path, name):
    path, x = written(tmp_path / "net.onnx", CHAINS[name], "logits", MORE), rows(9, 3)
    (expected,) = reference.ReferenceEvaluator(str(path)).run(None, {"x": x})
    assert_logits(expected, from_onnx(path), x)


@pytest.mark.parametrize(("kind", "attributes"), [("Relu", {}), ("Tanh", {}), ("Gelu", {"approximate": "tanh"})])
def test_the_activation_is_that_of_the_file(tmp_path, kind, attributes):
    path, x = written(tmp_path / "net.onnx", [FIRST, node(kind, "z", "a", **attributes), LAST], "logits"), rows(9, 3)
    (expected,) = reference.ReferenceEvaluator(str(path)).run(None, {"x": x})
    assert_logits(expected, from_onnx(path), x)


@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
def test_a_softmax_at_the_end_is_left_out_and_the_probabilities_are_the_same(tmp_path, kind):
    path, x = written(tmp_path / "net.onnx", [*PLAIN, node(kind, "logits", "p", axis=1)], "p"), rows(9, 3)
    (expected,) = reference.ReferenceEvaluator(str(path)).run(None, {"x": x})
    assert_probabilities(expected if kind == "Softmax" else np.exp(expected), from_onnx(path), x)


def test_a_sigmoid_at_the_end_becomes_two_logits_of_the_same_probabilities(tmp_path):
    nodes = [*PLAIN[:2], node("Gemm", "a w b", "k"), node("Sigmoid", "k", "p")]
    path, x = written(tmp_path / "net.onnx", nodes, "p", {"w": W1[:, :1], "b": B1[:1]}), rows(9, 3)
    (expected,) = reference.ReferenceEvaluator(str(path)).run(None, {"x": x})
    assert_probabilities(np.hstack([1 - expected, expected]), from_onnx(path), x)


def test_weights_keep_their_precision_unless_another_is_asked_for(tmp_path):
    double = {name: a.astype(np.float64) / 3 for name, a in (("W0", W0), ("B0", B0), ("W1", W1), ("B1", B1))}
    path = written(tmp_path / "net.onnx", PLAIN, "logits", double)
    assert from_onnx(path).dtype == np.float64
    np.testing.assert_array_equal(from_onnx(path).weights[0], double["W0"])
    np.testing.assert_array_equal(from_onnx(path, "float32").weights[0], double["W0"].astype(np.float32))


@pytest.mark.filterwarnings("ignore:the teacher's accuracy")  # it has seen 50 images
def test_a_network_that_came_in_teaches_and_learns_on(tmp_path):
    train, test = digits()
    teacher = MLP((64, 32, 10))
    distill(teacher.copy(), teacher, train.take(50), SoftTarget(4, 0.0), epochs=5)
    to_onnx(teacher, tmp_path / "teacher.onnx")
    teacher, student = from_onnx(tmp_path / "teacher.onnx"), MLP((64, 8, 10))
    before = (teacher.predict(test.x) == test.y).mean()
    distill(teacher, student, train.take(200), epochs=2)
    distill(teacher.copy(), teacher, train, SoftTarget(4, 0.1), epochs=2)
    assert (teacher.predict(test.x) == test.y).mean() > before


# ---------------------------------------------------------------------------------------------- in: what is refused


def refusal(path, error=ValueError):
    """The message that the file gets, which must name it first."""
    with pytest.raises(error) as caught:
        from_onnx(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    return message


def changed(**replaced):
    """The plain chain with other nodes in it."""
    return [replaced.get(n.output[0], n) for n in PLAIN]


EXTERNAL = TensorProto(name="W0", data_type=1, dims=[3, 4], data_location=TensorProto.EXTERNAL)
EXTERNAL.external_data.add(key="location", value="/etc/passwd")
LYING = TensorProto(name="W0", data_type=1, dims=[2**40, 2**40], raw_data=b"1234")
REFUSED = {
    "node 'n-a' (Sin) is no part of an MLP": (changed(a=node("Sin", "z", "a")), {}),
    "node 'n-a' (Gelu) must have approximate=\"tanh\"": (changed(a=node("Gelu", "z", "a")), {}),
    "node 'n-a' (Relu) is of 'com.microsoft'": (changed(a=node("Relu", "z", "a", domain="com.microsoft")), {}),
    "node 'n-z' (Gemm) must not transpose its rows": (changed(z=node("Gemm", "x W0 B0", "z", transA=1)), {}),
    "node 'n-z' (Gemm) has inputs": (changed(z=node("Gemm", "W0 x B0", "z")), {}),
    "node 'n-z' (Gemm) takes 'nowhere', which must be a constant": (changed(z=node("Gemm", "x nowhere B0", "z")), {}),
    "node 'n-z' (Gemm) takes 'W0' of shape (3, 4, 1), wanted 2": (PLAIN, {"W0": W0[..., None]}),
    "node 'n-z' (Gemm) adds 'B0' of shape (5,), and not a number for each of 4": (PLAIN, {"B0": rows(1, 5)[0]}),
    "node 'n-z' (Gemm) takes 'W0', which must be of float or double": (PLAIN, {"W0": W0.astype(np.float16)}),
    "node 'n-z' (Gemm) takes 'W0', which lies in another file": (PLAIN, {"W0": EXTERNAL}),
    "node 'n-z' (Gemm) takes 'W0', which is damaged": (PLAIN, {"W0": LYING}),
    "node 'n-s' (Add) must stand behind a Gemm or MatMul": ([node("Add", "x B0", "s"), *PLAIN], {}),
    "node 'n-t' (Add) must stand behind a Gemm or MatMul": ([FIRST, node("Add", "z B0", "s"), node("Add", "s B0", "t")],
                                                            {}),
    "node 'n-v' (MatMul) takes 'V', which another has taken": (
        [*PLAIN[:2], node("MatMul", "a V", "u"), node("Relu", "u", "w"), node("MatMul", "w V", "v")],
        {"V": rows(4, 4)}),
    "node 'n-b' (Relu) takes ['z'], and must take 'a'": ([*PLAIN[:2], node("Relu", "z", "b"), LAST], {}),
    "node 'n-q' (Add) takes ['a', 'a'], and must take 'a'": ([*PLAIN[:2], node("Add", "a a", "q"), LAST], {}),
    "node 'n-q' (Relu) stands behind node 'n-p' (Softmax)": ([*PLAIN, node("Softmax", "logits", "p"),
                                                               node("Relu", "p", "q")], {}),
    "node 'n-p' (Softmax) has inputs or settings": ([*PLAIN, node("Softmax", "logits", "p", axis=0)], {}),
    "node 'n-f' (Flatten) has inputs or settings": ([node("Flatten", "x", "f", axis=0)], {}),
    "node 'n-z' (Gemm) must have alpha as float, got 2": (changed(z=node("Gemm", "x W0 B0", "z", alpha=2)), {}),
    "node 'n-d' (Dropout) has settings that are not known: is_test": ([node("Dropout", "x", "d", is_test=0)], {}),
    "node 'c' (Constant) must have its value as a tensor": ([helper.make_node("Constant", [], ["c"])], {}),
    "the weights of node 'n-z' (Gemm) must be finite, got inf": (changed(z=node("Gemm", "x W0 B0", "z", alpha=1e38)),
                                                                 {"W0": np.float32(1e3) * np.ones_like(W0)}),
    "node 'z, mask' (Dropout) must give one thing": ([helper.make_node("Dropout", ["x"], ["z", "mask"])], {}),
    "gives 'logits', but its chain of nodes ends in 'a'": (PLAIN[:2], {}),
    "node 'n-z' (Gemm) gives 4 numbers, but node 'n-logits' (Gemm) takes 5": (PLAIN, {"W1": rows(5, 2)}),
    "no activation between node 'n-z' (Gemm) and node 'n-logits' (Gemm)": ([FIRST, node("Gemm", "z W1 B1", "logits")],
                                                                          {}),
    "mixes activations, where an MLP has one: relu (node 'n-a' (Relu)) and tanh (node 'n-c' (Tanh))": (
        [*PLAIN[:2], node("Gemm", "a V", "v"), node("Tanh", "v", "c"), node("Gemm", "c W1 B1", "logits")],
        {"V": rows(4, 4)}),
    "the weights of node 'n-z' (Gemm) must be finite, got nan at row 1": (PLAIN, {"W0": W0 * [[1], [np.nan], [1]]}),
    "gives a single number": (PLAIN, {"W1": W1[:, :1], "B1": B1[:1]}),
    "must end in a linear layer": ([*PLAIN[:2], node("Gemm", "a W1 B1", "y"), node("Relu", "y", "logits")], {}),
    "a sigmoid must follow a linear layer with a single": ([*PLAIN[:2], node("Gemm", "a W1 B1", "y"),
                                                            node("Sigmoid", "y", "logits")], {}),
    "has no linear layer": ([node("Identity", "x", "logits")], {}),
}  # fmt: skip


@pytest.mark.parametrize("said", REFUSED)
def test_what_is_no_mlp_is_refused_with_the_name_of_the_node(tmp_path, said):
    nodes, constants = REFUSED[said]
    assert said in refusal(written(tmp_path / "net.onnx", nodes, "logits", constants))


def test_several_inputs_or_outputs_are_refused(tmp_path):
    assert "it has ['x', 'y'] and ['logits']" in refusal(written(tmp_path / "a", PLAIN, "logits", inputs=("x", "y")))
    assert "it has ['x'] and ['z', 'logits']" in refusal(written(tmp_path / "b", PLAIN, ["z", "logits"]))


def test_cut_at_any_byte_a_file_is_refused(tmp_path):
    content, path = onnx_bytes(network((3, 4, 2))), tmp_path / "cut.onnx"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        try:
            cut = from_onnx(path)
        except ValueError as error:
            assert str(error).startswith(str(path))
        else:  # what is lost is not of the network, such as the number of the opset
            assert length > len(content) - 10
            np.testing.assert_array_equal(cut.parameters, network((3, 4, 2)).parameters)


def test_no_flipped_bit_is_more_than_a_refusal(tmp_path):
    content, path = onnx_bytes(network((2, 3, 2), "gelu")), tmp_path / "flipped.onnx"
    for bit in range(0, 8 * len(content), 3):  # two or three of each byte
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            from_onnx(path)
        except ValueError as error:
            assert str(error).startswith(str(path))


SIZE = 100 * 10**6
NONSENSE = {
    "random": lambda: np.random.default_rng(0).bytes(SIZE),
    "zeros": lambda: bytes(SIZE),
    "tens": lambda: b"\x0a" * SIZE,
    "empty nodes": lambda: b"\x3a\x80\xc2\xd7\x2f" + b"\x0a\x00" * (SIZE // 2),  # which take 8 GB once parsed
}


@pytest.mark.parametrize("kind", NONSENSE)
def test_a_hundred_megabytes_of_nonsense_take_no_more_than_themselves(tmp_path, kind):
    (tmp_path / "nonsense.onnx").write_bytes(NONSENSE[kind]())
    code = "import resource, sys, onnx\n" \
           "from minidistill.export import from_onnx\n" \
           "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n" \
           "try: from_onnx(sys.argv[1])\n" \
           "except ValueError as error: print(error)\n" \
           "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    command = [sys.executable, "-c", code, str(tmp_path / "nonsense.onnx")]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()
    assert "nonsense.onnx is not an ONNX file, or is damaged" in said[0]
    assert int(said[1]) * 1024 < 2 * SIZE


def test_other_files_are_refused(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    assert "is an empty one: it has no nodes" in refusal(tmp_path / "empty")
    (tmp_path / "text").write_text("weights = 3\n" * 100)
    assert "is not an ONNX file" in refusal(tmp_path / "text")
    (tmp_path / "device").symlink_to("/dev/zero")
    assert "it has no nodes" in refusal(tmp_path / "device")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        from_onnx(tmp_path / "nowhere")


def test_a_file_that_promises_two_gigabytes_is_not_read(tmp_path):
    with open(tmp_path / "large", "wb") as stream:
        stream.truncate(2**31)
    tracemalloc.start()
    try:
        assert "too large for an ONNX file: at most 2,147,483,647 bytes" in refusal(tmp_path / "large")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10**6
