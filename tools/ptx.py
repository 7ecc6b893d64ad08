# SPDX-License-Identifier: MIT
"""What the compiler makes of the CUDA kernels, seen without a card: their PTX, and what ptxas says of it.

PTX is the assembler of an imagined card; ptxas turns it into the code of a real one, and tells how many registers a
thread needs, how much shared memory a block, and whether registers ran out (*spills*, which go to slow memory). A
number of 64 bits in a kernel of float32 shows as `.f64`: some literal made it compute in double.
"""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np

from minidistill.kernels.cuda import (
    epochs as cuda_epochs,
    losses as cuda_losses,
    matmul as cuda_matmul,
    rows as cuda_rows,
)
from minidistill.kernels.cuda.device import cuda, formulas, types

CAPABILITIES = ((8, 0), (9, 0))  # A100 and H100

MOST_SHARED = 48 * 1024  # bytes that a block gets on every card without asking
# Registers of a thread, by what a kernel's name begins with. A multiprocessor has 65,536: room for one block of an
# epoch or of a large tile, and for two and more of the others.
MOST_REGISTERS = {"epoch": 255, "matmul": 168, "": 128}


# An epoch takes long to compile. Of the 48 that there are, these have every pair of settings among them.
EPOCHS = (
    ("SHARED", True, "relu", "sgd", False),
    ("SHARED", True, "gelu", "adam", False),
    ("SHARED", False, "tanh", "adam", True),
    ("SHARED", False, "tanh", "sgd", False),
    ("REGISTERS", True, "tanh", "sgd", True),
    ("REGISTERS", True, "gelu", "adam", True),
    ("REGISTERS", False, "relu", "adam", True),
    ("REGISTERS", False, "gelu", "sgd", False),
)  # tile, few classes, activation, optimizer, clipped


class Report(NamedTuple):
    """A kernel, compiled."""

    doubles: int        # instructions of its PTX that compute with 64-bit floats
    wide_loads: int     # loads of four numbers at once
    registers: int      # a thread
    shared_bytes: int   # a block
    stack_bytes: int    # a thread; not zero where an array did not fit into registers
    spill_bytes: int


class _Card:
    """Stands in for the card that numba asks about itself while it compiles device functions."""

    def __init__(self, capability):
        self.compute_capability = capability


def compiled(kernel, types_of_arguments, capability):
    """The PTX of a kernel for a compute capability; no card and no driver are needed."""
    with mock.patch("numba.cuda.dispatcher.get_current_device", return_value=_Card(capability)):
        ptx, _ = cuda.compile_ptx(kernel.py_func, types_of_arguments, cc=capability)
    return ptx


def assembler():
    """Where ptxas is: in the toolkit at CUDA_HOME, in the package that brings it, or on the path; else None."""
    found = [Path(os.environ["CUDA_HOME"]) / "bin" / "ptxas"] if "CUDA_HOME" in os.environ else []
    try:
        import nvidia

        found += [Path(folder) / "cu13" / "bin" / "ptxas" for folder in nvidia.__path__]
    except ImportError:
        pass
    on_path = shutil.which("ptxas")
    return next((str(path) for path in found if path.is_file()), on_path)


def report(kernel, types_of_arguments, capability):
    """What becomes of a kernel on a card of this capability."""
    ptx = compiled(kernel, types_of_arguments, capability)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        architecture = f"-arch=sm_{capability[0]}{capability[1]}"
        command = [assembler(), "-v", architecture, source, "-o", os.devnull]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr

    def largest(pattern):
        return max(map(int, re.findall(pattern, said)), default=0)

    return Report(
        doubles=len(re.findall(r"\.f64\b", ptx)),
        wide_loads=len(re.findall(r"ld\.\w*\.?v4\.\w*32\b", ptx)),
        registers=largest(r"Used (\d+) registers"),
        shared_bytes=largest(r"(\d+) bytes smem"),
        stack_bytes=largest(r"(\d+) bytes stack frame"),
        spill_bytes=largest(r"(\d+) bytes spill (?:stores|loads)"),
    )


def most_registers(name):
    """The limit that a kernel of this name is held to."""
    return next(limit for beginning, limit in MOST_REGISTERS.items() if name.startswith(beginning))


def kernels(dtype):
    """Every kernel of the backend: {name: (kernel, types of its arguments)}."""
    real, whole = types.float32 if dtype is np.float32 else types.float64, types.int64
    reals, wholes = real[::1], whole[::1]
    mask = types.uint64, types.uint32, real
    found = {}

    for activation in ("relu", "tanh", "gelu"):
        of_one, of_two = (getattr(formulas(dtype), name) for name in (activation, f"{activation}_backward"))
        found[f"{activation} forward"] = cuda_rows.kernel_of_one(of_one), (reals, reals)
        found[f"{activation} backward"] = cuda_rows.kernel_of_two(of_two), (reals, reals, reals)
    found["multiply"] = cuda_rows.multiply, (reals, reals, reals)
    found["dropout mask"] = cuda_rows.dropout_kernel(dtype), (reals, whole, *mask)
    for optimizer, settings in ((cuda_rows.SGD, 3), (cuda_rows.ADAM, 4)):
        pair, several = types.UniTuple(real, 2), types.UniTuple(real, settings)
        kernel = cuda_rows.update_kernel(dtype, optimizer)
        found[f"{optimizer} update"] = kernel, (reals, reals, reals, reals, real, pair, several)
    sums, clip = cuda_rows.column_sums(dtype, cuda_matmul.store), cuda_rows.clip_functions(dtype)
    found["column sums"] = sums.kernel, (whole, whole, reals, types.Tuple((reals,)))
    found["max norm"] = cuda_rows.column_norms(dtype).kernel, (whole, whole, reals, real)
    found["clip norm, squares"] = clip.squares.kernel, (reals, reals)
    found["clip norm, scale"] = clip.scale, (reals, reals, real)
    for few, name in ((True, "few classes"), (False, "many classes")):
        arrays = (reals, reals, reals, wholes, wholes, reals, reals)
        kernel = cuda_losses.loss_function(dtype, few).kernel
        found[f"loss, {name}"] = kernel, (whole, whole, *arrays, real, real, real, real, real)
    arrays = (reals, wholes, reals, real, real, reals, reals)
    found["loss, top k"] = cuda_losses.top_k_kernel(dtype), (whole, whole, *arrays)
    for logarithm, name in ((False, "softmax"), (True, "log-softmax")):
        of = cuda_losses.softmax_kernels(dtype, logarithm)
        found[f"{name} forward"] = of.forward, (whole, reals, real, reals)
        found[f"{name} backward"] = of.backward, (whole, reals, reals, real, reals)
    layouts = {"A @ B": (False, False), "A.T @ B": (True, False), "A @ B.T": (False, True)}
    matrix = types.Array(real, 2, "C")
    found["matmul, naive"] = cuda_matmul.naive, (matrix, matrix, matrix)
    found["matmul, coalesced"] = cuda_matmul.coalesced, (matrix, matrix, matrix)
    numbers = whole, whole, whole, reals, reals, types.boolean, types.boolean
    for rung in ("SHARED", "REGISTERS", "VECTORS"):
        for layout, turned in layouts.items():
            tile = getattr(cuda_matmul, rung)
            kernel = cuda_matmul.product_function(dtype, tile, *turned, cuda_matmul.store).kernel
            found[f"matmul, {rung.lower()}, {layout}"] = kernel, (*numbers, types.Tuple((reals,)))
    # with what finishes a product, in the largest tile that it is used with
    forward, backward = cuda_matmul.finish_forward, cuda_matmul.finish_backward
    finishes = {
        "vectors, forward, logits": ((False, False), forward(dtype, None), (reals, reals)),
        "vectors, backward, inputs": ((False, True), backward(dtype, None), (reals, reals, *mask)),
        "registers, forward, relu": ((False, False), forward(dtype, "relu"), (reals, reals, reals, *mask)),
        "registers, backward, relu": ((False, True), backward(dtype, "relu"), (reals, reals, *mask)),
        "registers, forward, tanh": ((False, False), forward(dtype, "tanh"), (reals, reals, reals, *mask)),
        "registers, backward, tanh": ((False, True), backward(dtype, "tanh"), (reals, reals, *mask)),
        "registers, forward, gelu": ((False, False), forward(dtype, "gelu"), (reals, reals, reals, *mask)),
        "registers, backward, gelu": ((False, True), backward(dtype, "gelu"), (reals, reals, *mask)),
    }
    for name, (turned, finish, to) in finishes.items():
        tile = cuda_matmul.VECTORS if name.startswith("vectors") else cuda_matmul.REGISTERS
        kernel = cuda_matmul.product_function(dtype, tile, *turned, finish).kernel
        found[f"matmul, {name}"] = kernel, (*numbers, types.Tuple(to))
    for tile, few, activation, optimizer, clipped in EPOCHS:
        kernel = cuda_epochs.epoch_kernel(dtype, activation, optimizer, getattr(cuda_matmul, tile), few, clipped)
        name = f"epoch, {tile.lower()}, {'few' if few else 'many'} classes, {activation}, {optimizer}"
        found[name + ", clipped" * clipped] = kernel, cuda_epochs.signature(dtype, optimizer)
    return found
