# SPDX-License-Identifier: MIT
"""PyTorch, out and in: an nn.Sequential of Linear and an activation, or its state_dict.

PyTorch's Linear keeps W as (O,I): x @ W.T + b. Ours is (I,O), so each is transposed on its way.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..network import MLP
from ..support.files import check_unpacked, opened, replacing
from ..support.text import brief_errors
from .layers import Activation, Dropout, Layer, LinearLayer, Sigmoid, as_network, between, check_network, required

INSTALL = "pip install torch"


def to_state_dict(network: MLP) -> dict[str, Any]:
    """The state_dict of an nn.Sequential of Linear, activation, Linear, ...: copies of the weights as torch tensors.

    "0.weight" (O,I), "0.bias" (O,), "2.weight", ..., in the network's dtype; `model.load_state_dict(...)` takes it.
    Raises ValueError for weights that are not finite, ImportError without torch.
    """
    torch = required("torch", "a state_dict", INSTALL)
    return {name: torch.from_numpy(array) for name, array in state_arrays(network).items()}


def state_arrays(network: MLP) -> dict[str, np.ndarray]:
    """The same as arrays of NumPy."""
    check_network(network)
    arrays = {}
    for k, (W, b) in enumerate(zip(network.weights, network.biases, strict=True)):
        arrays[f"{2 * k}.weight"], arrays[f"{2 * k}.bias"] = np.array(W.T, order="C"), b.copy()
    return arrays


def to_pt(network: MLP, path: str | os.PathLike[str]) -> None:
    """Writes the state_dict as `torch.save` does, whole or not there; errors as `to_state_dict`, and OSError."""
    state = to_state_dict(network)
    with replacing(path) as stream:
        required("torch", "a .pt file", INSTALL).save(state, stream)


def from_torch(model: Any, activation: str | None = None, dtype: Any = None) -> MLP:
    """The MLP that an nn.Sequential is, or that a state_dict holds; its weights are copied.

    A Sequential has Linear layers, and between them ReLU, Tanh or GELU(approximate="tanh"), the same one throughout.
    Dropout in front of a Linear becomes the network's. Identity and Flatten() (rows are flat already) are passed over.
    So are Softmax and LogSoftmax over the classes at the end: what stands before them gives the same probabilities, and
    those are the logits. A Sigmoid at the end, behind a single output z, becomes the two logits -z/2 and z/2.

    A state_dict does not say what stands between its Linear layers: that is `activation`. Its names must be numbered,
    as in "0.weight", "net.2.bias" or "fc1.weight", and the numbers are the order of the layers.

    activation  of the hidden layers of a state_dict: "relu", "tanh" or "gelu" (the one of tanh)
    dtype       of the network, "float32" or "float64"; None for that of the weights

    Raises ValueError, naming the module, for everything else; TypeError for what is neither; ImportError without torch.
    """
    torch = required("torch", "a PyTorch model", INSTALL)
    if isinstance(model, Mapping):
        return from_arrays(_as_arrays(model, "model"), "model", activation, dtype)
    if not _is_sequential(torch.nn, model):
        raise TypeError(f"model must be an nn.Sequential or a state_dict, got {type(model).__name__}")
    if activation is not None:
        raise ValueError(f"activation is for a state_dict: an nn.Sequential says it itself, got {activation!r}")
    layers, last = [], ""
    for place, module in _modules(torch.nn, model, ""):
        if last:
            raise ValueError(f"model: {place} stands behind {last}, which must be the last")
        if type(module) in (torch.nn.Softmax, torch.nn.LogSoftmax) and module.dim in (1, -1):
            last = place
        else:
            layers += _layers(torch.nn, module, place)
    return as_network(layers, "model", dtype)


def _is_sequential(nn: Any, module: Any) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _modules(nn: Any, model: Any, prefix: str) -> list[tuple[str, Any]]:
    """The modules of a Sequential in order, with those of a Sequential inside it, each with its name."""
    _check_hooks(model, f"its part {prefix.removesuffix('.')}" if prefix else "it")
    found: list[tuple[str, Any]] = []
    for name, module in model._modules.items():  # named_children() leaves out what stands there a second time
        place = f"module {prefix}{name} ({type(module).__name__})"
        if _is_sequential(nn, module):
            found += _modules(nn, module, f"{prefix}{name}.")
        else:
            _check_hooks(module, place)
            found.append((place, module))
    return found


def _check_hooks(module: Any, place: str) -> None:
    if module._forward_hooks or module._forward_pre_hooks:
        raise ValueError(f"model: {place} has hooks, which may change what it computes: remove them first")


def _layers(nn: Any, module: Any, place: str) -> list[Layer]:
    """What a module is in an MLP: a layer, or nothing where it leaves rows as they are."""
    kind = type(module)  # exactly: a subclass may compute anything
    if kind is nn.Linear:
        W = _as_array(module.weight, f"model: {place}")
        b = np.zeros(len(W), W.dtype) if module.bias is None else _as_array(module.bias, f"model: {place}")
        return [LinearLayer(place, W.T, b)]
    if kind is nn.ReLU or kind is nn.Tanh:
        return [Activation(place, kind.__name__.lower())]
    if kind is nn.GELU:
        if module.approximate != "tanh":
            raise ValueError(f'model: {place} must have approximate="tanh": an MLP\'s GELU is that, not that of erf')
        return [Activation(place, "gelu")]
    if kind is nn.Dropout:
        return [Dropout(place, float(module.p))]
    if kind is nn.Sigmoid:
        return [Sigmoid(place)]
    if kind is nn.Identity or (kind is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1)):
        return []
    raise ValueError(f"model: {place} is no part of an MLP, which has Linear, and ReLU, Tanh or GELU between")


@brief_errors()
def from_pt(path: str | os.PathLike[str], activation: str | None = None, dtype: Any = None) -> MLP:
    """The MLP in a state_dict that `torch.save` wrote; nothing in the file is run. Arguments as in `from_torch`.

    Raises ValueError, naming the file, for what is no state_dict of linear layers, is damaged, claims far more than it
    holds, or needs code to be read, as a whole model does; FileNotFoundError for none; ImportError without torch.
    """
    import zipfile

    source = os.fspath(path)
    torch = required("torch", "a .pt file", INSTALL)
    with opened(source) as stream:
        size = stream.seek(0, os.SEEK_END)
        try:
            if zipfile.is_zipfile(stream):
                with zipfile.ZipFile(stream) as archive:
                    check_unpacked("it", sum(entry.file_size for entry in archive.infolist()), size)
            stream.seek(0)
            state = torch.load(stream, map_location="cpu", weights_only=True)
        except Exception as error:  # the bytes are arbitrary: the parsers may raise nearly anything
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(f"{source} is not a state_dict of PyTorch, or is damaged: {first}") from None
    if not isinstance(state, Mapping):
        raise ValueError(f"{source} must hold a state_dict, it holds a {type(state).__name__}")
    tensors = [tensor for tensor in state.values() if isinstance(tensor, torch.Tensor)]
    check_unpacked(source, sum(tensor.numel() * tensor.element_size() for tensor in tensors), size)  # strides may be 0
    return from_arrays(_as_arrays(state, source), source, activation, dtype)


def from_arrays(arrays: Mapping[str, np.ndarray], source: str, activation: str | None, dtype: Any) -> MLP:
    """The MLP of a state_dict's arrays, by the numbers in their names."""
    parts: dict[str, dict[int, dict[str, np.ndarray]]] = {}
    for name, array in arrays.items():
        split = re.fullmatch(r"(.*?)(\d{1,9})\.(weight|bias)", str(name))
        if split is None:
            raise ValueError(f"{source}: {name!r} is no numbered linear layer's, such as '0.weight' or 'fc1.bias'")
        before, number, kind = split.groups()
        layer = parts.setdefault(before, {}).setdefault(int(number), {})
        if kind in layer:
            raise ValueError(f"{source} has two arrays for the {kind} of layer {before}{int(number)}, one is {name!r}")
        layer[kind] = array
    if len(parts) != 1:
        found = ", ".join(map(repr, parts)) or "none"
        raise ValueError(f"{source} must have the linear layers of one numbered sequence, it has: {found}")
    prefix, layers = parts.popitem()
    linears = []
    for number, layer in sorted(layers.items()):
        place = f"layer {prefix}{number}"
        if "weight" not in layer or layer["weight"].ndim != 2:
            shape = layer["weight"].shape if "weight" in layer else "none"
            raise ValueError(f"{source}: {place} is no linear layer: its weight must be (O, I), got {shape}")
        W = layer["weight"].T
        linears.append(LinearLayer(place, W, layer.get("bias", np.zeros(W.shape[1], W.dtype))))
    return as_network(between(linears, activation, source), source, dtype)


def _as_arrays(state: Mapping[str, Any], source: str) -> dict[str, np.ndarray]:
    return {name: _as_array(tensor, f"{source}: {name}") for name, tensor in state.items()}


def _as_array(tensor: Any, place: str) -> np.ndarray:
    """A copy of a tensor's numbers on the CPU."""
    torch = required("torch", "a tensor", INSTALL)
    if not isinstance(tensor, torch.Tensor):
        raise ValueError(f"{place} must be a tensor, got a {type(tensor).__name__}")
    if tensor.dtype not in (torch.float32, torch.float64) or tensor.layout != torch.strided or tensor.is_meta:
        raise ValueError(f"{place} must be a dense tensor of float32 or float64, got {tensor.dtype} ({tensor.layout})")
    return np.array(tensor.detach().cpu().numpy())
