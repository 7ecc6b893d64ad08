# SPDX-License-Identifier: MIT
"""ONNX, out and in: Gemm, activation, Gemm, ..., the format of ONNX Runtime and its like (https://onnx.ai).

Out, a file has one input `x` (N,I) and one output `logits` (N,C), for any number of rows N. In, it is a chain: each
node takes what the one before it gives, and constants.
"""

import os
from typing import Any, NoReturn

import numpy as np

from ..network import MLP
from ..support.files import replacing
from ..support.text import brief_errors
from .layers import Activation, Layer, LinearLayer, Sigmoid, as_network, check_network, required, single_precision

NODES = {"relu": ("Relu", {}), "tanh": ("Tanh", {}), "gelu": ("Gelu", {"approximate": "tanh"})}
OPSET, IR_VERSION = 17, 8          # old ones, for old runtimes
GELU_OPSET, GELU_IR_VERSION = 20, 9  # the first that have Gelu
MOST_BYTES = 2**31 - 1  # of a message of Protocol Buffers
MOST_BESIDE_NUMBERS = 2**20  # bytes of a file that are no weights; they can take eighty times their size in memory
SETTINGS = {"alpha", "beta", "transA", "transB", "axis", "approximate", "ratio", "seed", "value"}  # that are understood
FLOAT, DOUBLE = 1, 11  # of TensorProto.DataType


def to_onnx(network: MLP, path: str | os.PathLike[str]) -> None:
    """Writes the network as one ONNX file, whole or not there; needs the package onnx (extra `export`).

    Weights are float32; those of a float64 network are rounded to the nearest. Raises ValueError for weights that are
    not finite in float32, OSError where the file cannot be written, ImportError without onnx.
    """
    content = onnx_bytes(network)
    with replacing(path) as stream:
        stream.write(content)


def onnx_bytes(network: MLP) -> bytes:
    """The content of the file that `to_onnx` writes; errors as there."""
    check_network(network)
    if 4 * network.num_parameters + MOST_BESIDE_NUMBERS > MOST_BYTES:
        raise ValueError(f"network is too large for an ONNX file: {network.num_parameters:,} parameters of 4 bytes")
    onnx = _library()
    helper, as_tensor = onnx.helper, onnx.numpy_helper.from_array
    node, attributes = NODES[network.activation]
    weights, biases = single_precision(network)
    nodes, constants, a, last = [], [], "x", len(weights) - 1
    for k, (W, b) in enumerate(zip(weights, biases, strict=True)):
        constants += [as_tensor(W, f"W{k}"), as_tensor(b, f"b{k}")]
        z = "logits" if k == last else f"z{k}"
        nodes.append(helper.make_node("Gemm", [a, f"W{k}", f"b{k}"], [z], f"linear{k}"))
        if k < last:
            a = f"a{k}"
            nodes.append(helper.make_node(node, [z], [a], f"{network.activation}{k}", **attributes))
    ends = (("x", network.sizes[0]), ("logits", network.sizes[-1]))
    inputs, outputs = (
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", width])] for name, width in ends
    )
    graph = helper.make_graph(nodes, "mlp", inputs, outputs, constants)
    gelu = network.activation == "gelu" and last > 0
    opset, version = (GELU_OPSET, GELU_IR_VERSION) if gelu else (OPSET, IR_VERSION)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=version, producer_name="minidistill"
    )
    return bytes(model.SerializeToString())


@brief_errors()
def from_onnx(path: str | os.PathLike[str], dtype: Any = None) -> MLP:
    """The MLP in an ONNX file that is a chain of linear layers with one activation between them; needs onnx.

    A linear layer is Gemm or MatMul, with or without an Add behind it; an activation Relu, Tanh or Gelu with
    approximate="tanh". Identity, Dropout (which acts in training only) and Flatten(axis=1) (rows are flat already) are
    passed over. So are Softmax and LogSoftmax over the classes at the end: what stands before them gives the same
    probabilities, and those are the logits. A Sigmoid at the end, behind a single output z, becomes the two logits -z/2
    and z/2.

    dtype  of the network, "float32" or "float64"; None for that of the weights

    Raises ValueError, naming the file and the node, for everything else, and for a file that is no ONNX, is damaged or
    keeps its weights in other files; FileNotFoundError for none; ImportError without onnx.
    """
    source = os.fspath(path)
    return as_network(_Chain(_graph(source), source).layers, source, dtype)


def _library() -> Any:
    return required("onnx", "an ONNX file")


def _graph(source: str) -> Any:
    """The graph in a file, of which nothing is believed yet."""
    onnx = _library()
    with open(source, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > MOST_BYTES:
            raise ValueError(f"{source} is too large for an ONNX file: at most {MOST_BYTES:,} bytes, got {size:,}")
        content = stream.read(size)
    try:
        beside = _bytes_beside_numbers(memoryview(content), "model")
        if beside > MOST_BESIDE_NUMBERS:
            raise ValueError(f"it has more than {MOST_BESIDE_NUMBERS:,} bytes beside its weights")
        graph = onnx.load_model_from_string(content).graph
    except Exception as error:  # the bytes are arbitrary: the parser may raise nearly anything
        raise ValueError(f"{source} is not an ONNX file, or is damaged: {error}") from None
    if not graph.node:
        raise ValueError(f"{source} is not an ONNX file, or is an empty one: it has no nodes")
    return graph


# What Protocol Buffers keep where, as far as it leads to the numbers of a weight: message: {field: message}. The fields
# of a tensor are float_data, raw_data and double_data.
FIELDS: dict[str, dict[int, str]] = {
    "model": {7: "graph"},
    "graph": {1: "node", 5: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor"},
    "tensor": {4: "numbers", 9: "numbers", 10: "numbers"},
}
FIXED_SIZES = {1: 8, 5: 4}  # bytes, of the wire types that have such
VARINT, BYTES = 0, 2        # the other wire types


def _bytes_beside_numbers(message: memoryview, kind: str) -> int:
    """How many bytes of a message are no numbers of a weight, counted no further than MOST_BESIDE_NUMBERS.

    The parser makes an object of every empty field, so a file of nonsense would take a hundred times its size. Raises
    ValueError for what is no message.
    """
    if kind == "numbers":
        return 0
    at, beside = 0, 0
    while at < len(message) and beside <= MOST_BESIDE_NUMBERS:
        start = at
        key, at = _varint(message, at)
        field, wire_type = key >> 3, key & 7
        if wire_type == BYTES:
            size, at = _varint(message, at)
        elif wire_type == VARINT:
            size, (_, at) = 0, _varint(message, at)
        elif wire_type in FIXED_SIZES:
            size = FIXED_SIZES[wire_type]
        else:
            raise ValueError(f"wire type {wire_type}")
        if size > len(message) - at:
            raise ValueError(f"a field of {size} bytes, where {len(message) - at} are left")
        beside += at - start
        inner = FIELDS[kind].get(field) if wire_type == BYTES else None
        beside += size if inner is None else _bytes_beside_numbers(message[at : at + size], inner)
        at += size
    return beside


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """The whole number at that place, seven bits a byte, the lowest first; and the place behind it."""
    number = 0
    for k, byte in enumerate(message[at : at + 10]):
        number |= (byte & 127) << 7 * k
        if byte < 128:
            return number, at + k + 1
    raise ValueError("a number without an end")


class _Chain:
    """Nodes one after the other, each with the one before it as its only input that is no constant."""

    def __init__(self, graph: Any, source: str) -> None:
        self.source = source
        self.layers: list[Layer] = []
        self.place = ""                       # of the node that is taken
        self.attributes: dict[str, Any] = {}  # of that node
        self.before = ""                      # the operator of the node before it
        self.last = ""                        # the place of the node behind which no other may stand
        self.taken: set[str] = set()          # weights: a small file could use a large one thousands of times
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        if graph.sparse_initializer:
            raise ValueError(f"{source} has sparse weights, which an MLP has not")
        inputs = [value.name for value in graph.input if value.name not in self.constants]
        outputs = [value.name for value in graph.output]
        if len(inputs) != 1 or len(outputs) != 1 or "" in inputs:
            raise ValueError(f"{source} must have one input and one output, it has {inputs} and {outputs}")
        self.end = inputs[0]
        with np.errstate(over="ignore", invalid="ignore"):  # what alpha or beta makes infinite or NaN is refused
            for node in graph.node:
                self.take(node)
        if self.end != outputs[0]:
            raise ValueError(f"{source} gives {outputs[0]!r}, but its chain of nodes ends in {self.end!r}")

    def refuse(self, why: str) -> NoReturn:
        raise ValueError(f"{self.source}: {self.place} {why}")

    def take(self, node: Any) -> None:
        """The next node's part in the layers; ValueError for a node that has none."""
        self.place = f"node {node.name or ', '.join(map(str, node.output))!r} ({node.op_type})"
        if len(node.output) != 1 or not node.output[0]:
            self.refuse(f"must give one thing, it gives {list(node.output)}")
        if node.domain not in ("", "ai.onnx"):
            self.refuse(f"is of {node.domain!r}, and only the operators of ONNX itself are known")
        self.attributes = {attribute.name: attribute for attribute in node.attribute}
        if unknown := set(self.attributes) - SETTINGS:
            self.refuse(f"has settings that are not known: {', '.join(sorted(map(str, unknown)))}")
        if node.op_type == "Constant":
            if "value" not in self.attributes:
                self.refuse("must have its value as a tensor")
            self.constants[node.output[0]] = self.attributes["value"].t
            return
        if self.last:
            self.refuse(f"stands behind {self.last}, which must be the last")
        if list(node.input).count(self.end) != 1:
            self.refuse(f"takes {list(node.input)}, and must take {self.end!r}, what the node before it gives")
        inputs = [name for name in node.input if name]
        match node.op_type:
            case "Gemm" if inputs[0] == self.end and len(inputs) in (2, 3):
                self.gemm(*inputs[1:])
            case "MatMul" if inputs[0] == self.end and len(inputs) == 2:
                self.linear(self.weights(inputs[1]))
            case "Add" if len(inputs) == 2 and self.before in ("Gemm", "MatMul"):
                self.bias(inputs[1] if inputs[0] == self.end else inputs[0])
            case "Relu" | "Tanh":
                self.layers.append(Activation(self.place, node.op_type.lower()))
            case "Gelu":
                if self.setting("approximate", b"none") != b"tanh":
                    self.refuse('must have approximate="tanh": an MLP\'s GELU is that one, and not the one of erf')
                self.layers.append(Activation(self.place, "gelu"))
            case "Identity":
                pass
            case "Dropout" if len(inputs) < 3:  # a third input can switch it on
                pass
            case "Flatten" if self.setting("axis", 1) == 1:
                pass
            case "Softmax" | "LogSoftmax" if self.setting("axis", -1) in (1, -1):
                self.last = self.place
            case "Sigmoid":
                self.last = self.place
                self.layers.append(Sigmoid(self.place))
            case "Add":
                self.refuse("must stand behind a Gemm or MatMul, and add a constant")
            case "Gemm" | "MatMul" | "Dropout" | "Flatten" | "Softmax" | "LogSoftmax":
                self.refuse("has inputs or settings that it has not in an MLP")
            case _:
                self.refuse("is no part of an MLP, which has Gemm or MatMul and Add, and Relu, Tanh or Gelu between")
        self.end, self.before = node.output[0], node.op_type

    def setting(self, name: str, usual: Any) -> Any:
        """What an attribute of the node says, of the type of its usual value."""
        if name not in self.attributes:
            return usual
        try:
            value = _library().helper.get_attribute_value(self.attributes[name])
        except Exception as error:  # as above
            self.refuse(f"has {name}, which is damaged: {error}")
        if type(value) is not type(usual):
            self.refuse(f"must have {name} as {type(usual).__name__}, got {value!r}")
        return value

    def gemm(self, B: str, C: str = "") -> None:
        """alpha * x @ B + beta * C, with B transposed where transB says so; the factors go into the weights."""
        if self.setting("transA", 0) != 0:
            self.refuse("must not transpose its rows (transA)")
        W = self.weights(B) if self.setting("transB", 0) == 0 else self.weights(B).T
        self.linear(self.setting("alpha", 1.0) * W)
        if C:
            self.bias(C, self.setting("beta", 1.0))

    def linear(self, W: np.ndarray) -> None:
        self.layers.append(LinearLayer(self.place, W, np.zeros(W.shape[1], W.dtype)))

    def bias(self, name: str, beta: float = 1.0) -> None:
        """What is added to the outputs of the linear layer that was taken last."""
        place, W, b = self.layers.pop()  # type: ignore[misc]
        more = beta * self.array(name, dimensions=(0, 1, 2))
        try:
            bias = np.broadcast_to(more, (1, len(b)))[0]
        except ValueError:
            self.refuse(f"adds {name!r} of shape {more.shape}, and not a number for each of {len(b)} outputs")
        self.layers.append(LinearLayer(place, W, b + bias))

    def weights(self, name: str) -> np.ndarray:
        """The constant of that name, which no other layer has."""
        if name in self.taken:
            self.refuse(f"takes {name!r}, which another has taken: the layers of an MLP share no weights")
        self.taken.add(name)
        return self.array(name)

    def array(self, name: str, dimensions: tuple[int, ...] = (2,)) -> np.ndarray:
        """The constant of that name."""
        if name not in self.constants:
            self.refuse(f"takes {name!r}, which must be a constant")
        tensor = self.constants[name]
        if tensor.data_location != 0 or tensor.external_data:
            self.refuse(f"takes {name!r}, which lies in another file: onnx.save(onnx.load(old), new) makes one of them")
        if tensor.data_type not in (FLOAT, DOUBLE):
            self.refuse(f"takes {name!r}, which must be of float or double (types {FLOAT} and {DOUBLE} of ONNX), "
                        f"got type {tensor.data_type}")  # fmt: skip
        try:
            array: np.ndarray = _library().numpy_helper.to_array(tensor)
        except Exception as error:  # as above
            self.refuse(f"takes {name!r}, which is damaged: {error}")
        if array.size == 0:
            self.refuse(f"takes {name!r}, which is empty: it has shape {array.shape}")
        if array.ndim not in dimensions:
            wanted = " or ".join(map(str, dimensions))
            self.refuse(f"takes {name!r} of shape {array.shape}, wanted {wanted} dimensions")
        return array
