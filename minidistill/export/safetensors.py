# SPDX-License-Identifier: MIT
"""safetensors, out and in: arrays by name and nothing that could run (https://github.com/huggingface/safetensors).

Names and shapes are those of a PyTorch nn.Sequential's state_dict: "0.weight" (O,I), "0.bias" (O,), "2.weight", ...;
the activation goes along as metadata.
"""

import os
from typing import Any

from ..network import MLP
from ..support.files import replacing
from ..support.text import brief_errors
from .layers import required
from .torch import from_arrays, state_arrays

ACTIVATION_KEY = "activation"  # of the metadata
MOST_HEADER_BYTES = 2**20
NUMBERS = {"F32": "float32", "F64": "float64"}


def to_safetensors(network: MLP, path: str | os.PathLike[str]) -> None:
    """Writes the network as one safetensors file, whole or not there; needs the package safetensors (extra `export`).

    Weights keep their dtype. Raises ValueError for weights that are not finite, OSError where the file cannot be
    written, ImportError without safetensors.
    """
    arrays = state_arrays(network)
    numpy = required("safetensors.numpy", "a safetensors file")
    content = numpy.save(arrays, {"format": "pt", ACTIVATION_KEY: network.activation})
    with replacing(path) as stream:
        stream.write(content)


@brief_errors()
def from_safetensors(path: str | os.PathLike[str], activation: str | None = None, dtype: Any = None) -> MLP:
    """The MLP in a safetensors file, from its linear layers' weights (O,I) and biases (O,); needs safetensors.

    The layers' names must be numbered, as in "0.weight", "net.2.bias" or "fc1.weight", and the numbers are their order.

    activation  of the hidden layers, where the file does not say it: "relu", "tanh" or "gelu" (the one of tanh)
    dtype       of the network, "float32" or "float64"; None for that of the weights

    Raises ValueError, naming the file and the array, for all that is no linear layer, for an `activation` that is
    missing or is not that of the file, and for a file that is no safetensors or is damaged; FileNotFoundError for none;
    ImportError without safetensors.
    """
    source = os.fspath(path)
    safetensors = required("safetensors", "a safetensors file")
    with open(source, "rb") as stream:
        header = int.from_bytes(stream.read(8), "little")
    try:
        if header > MOST_HEADER_BYTES:
            raise safetensors.SafetensorError(f"a header of {header:,} bytes, at most {MOST_HEADER_BYTES:,} are read")
        with safetensors.safe_open(source, framework="numpy") as file:
            metadata = file.metadata() or {}
            codes = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118  it is no dictionary
            arrays = {name: file.get_tensor(name) for name, code in codes.items() if code in NUMBERS}
    except Exception as error:  # the bytes are arbitrary: the parser may raise nearly anything
        raise ValueError(f"{source} is not a safetensors file, or is damaged: {error}") from None
    for name, code in codes.items():
        if code not in NUMBERS:
            raise ValueError(f"{source}: {name} must be of {' or '.join(NUMBERS)}, got {code}")
    said = metadata.get(ACTIVATION_KEY)
    if None not in (said, activation) and said != activation:
        raise ValueError(f"activation must be {said!r}, as {source} says, got {activation!r}")
    return from_arrays(arrays, source, activation or said, dtype)
