# SPDX-License-Identifier: MIT
"""Commands that convert networks to and from the formats of other programs: export and import."""

import argparse
import os
from typing import Any

from .options import MODEL_HELP, Option, command
from .printing import error_prefix, print_result
from .reading import read_network

EXPORT_FORMATS = ("c", "onnx", "safetensors", "pt")
IMPORT_FORMATS = ("onnx", "safetensors", "pt")


@command("write a network for other programs", """\
A C file has the weights and one function, and needs nothing but a compiler; ONNX and safetensors need the extra
minidistill[export], PyTorch's .pt needs torch. All but C can be imported again, without dropout and seed. A network
made by `quantize` becomes C only, with weights of a byte or half a byte and the same logits to the last bit.""",
    Option("model", help=MODEL_HELP),
    Option("--out", required=True, metavar="FILE", help="a .c, .onnx, .safetensors or .pt file"),
    Option("--format", choices=EXPORT_FORMATS, help="where the suffix does not state it"),
    Option("--name", help="what the names in a C file begin with (default mlp: mlp_predict)"),
)  # fmt: skip
def export(options: argparse.Namespace) -> None:
    from .. import export as formats

    name = _format(options, options.out, EXPORT_FORMATS)
    if options.name is not None and name != "c":
        raise ValueError(f"--name is for the functions of a C file, not for {name}")
    write = getattr(formats, f"to_{name}")
    network = read_network("model", options.model)
    write(network, options.out, **({} if options.name is None else {"name": options.name}))
    _print_file(options, network, name)


@command("read a network that another program trained", """\
ONNX must be a chain of Gemm, or MatMul and Add, and one activation; safetensors and .pt must hold the weights of linear
layers with numbered names, as a state_dict of PyTorch's nn.Sequential does. Nothing in a file is run. The network can
then serve as a teacher, be fine-tuned, be evaluated and be exported.""",
    Option("file", help="an .onnx, .safetensors or .pt file"),
    Option("--out", required=True, metavar="FILE", help="where the network goes, an .npz file"),
    Option("--format", choices=IMPORT_FORMATS, help="where the suffix does not state it"),
    Option("--activation", choices=("relu", "tanh", "gelu"), help="of hidden layers, where a file does not state it"),
    Option("--dtype", choices=("float32", "float64"), help="of the weights (default: as in the file)"),
)  # fmt: skip
def import_(options: argparse.Namespace) -> None:
    from .. import export as formats

    name = _format(options, options.file, IMPORT_FORMATS)
    if name == "onnx" and options.activation is not None:
        raise ValueError(f"--activation is for files that do not state it, and onnx does: {options.file}")
    stated = {} if options.activation is None else {"activation": options.activation}
    with error_prefix("file"):
        network = getattr(formats, f"from_{name}")(options.file, dtype=options.dtype, **stated)
    network.save(options.out)
    _print_file(options, network, name)


def _format(options: argparse.Namespace, path: str, formats: tuple[str, ...]) -> str:
    """The format that --format names, or else the suffix of the path."""
    name = options.format or os.path.splitext(path)[1].removeprefix(".")
    if name not in formats:
        raise ValueError(f"{path} should end in {', '.join('.' + known for known in formats)}, or --format name one of "
                         "them")  # fmt: skip
    return str(name)


def _print_file(options: argparse.Namespace, network: Any, name: str) -> None:
    size = os.path.getsize(options.out)
    result = {"network": repr(network), "format": name, "out": options.out, "bytes": size}
    print_result(options, result, f"{network}\nsaved {options.out} ({size:,} bytes)")
