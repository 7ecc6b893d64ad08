# SPDX-License-Identifier: MIT
"""Measures the exported C file beside calls from Python: `python tools/measure/export.py`, under a minute with gcc.

Of one row: the time that a call takes on one thread, the quickest of many rounds, for a program in C, with weights of
floats and of 8 and 4 bits, for C called by ctypes, for `MLP.logits` on both backends, and for ONNX Runtime and PyTorch
where they are installed. And what each C file takes beside its weights, by `size`. Prints the figures and writes
docs/evidence/results/export.json.
"""

import ctypes
import json
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT)]

from minidistill import MLP, QuantizedMLP, quantize  # noqa: E402
from minidistill.experiments.bench.machine import processor, versions  # noqa: E402
from minidistill.export import to_c, to_state_dict  # noqa: E402
from minidistill.export.onnx import onnx_bytes  # noqa: E402

SHAPES = [(64, 32, 10), (784, 30, 30, 10), (64, 512, 512, 10)]
FLAGS = ("-O2", "-O3", "-Os")
TIMED = "-O3"
ROUNDS, PASSES = 10, 4
SECONDS_A_ROUND = 0.005

PROGRAM = """\
#define _POSIX_C_SOURCE 199309L
#include "mlp.c"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
/* The quickest of argv[1] rounds of argv[2] calls, in nanoseconds a call. Each call has another row than the last. */
int main(int count, char **arguments)
{
    static float x[mlp_inputs], logits[mlp_classes];
    const long rounds = atol(arguments[count - 2]), calls = atol(arguments[count - 1]);
    double best = 1e18, sum = 0;
    for (int i = 0; i < mlp_inputs; i++) x[i] = (float)(i % 7 - 3);
    for (long r = 0; r < rounds; r++) {
        struct timespec start, end;
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (long n = 0; n < calls; n++) {
            x[n % mlp_inputs] += 0.001f;
            sum += mlp_predict(x, logits);
        }
        clock_gettime(CLOCK_MONOTONIC, &end);
        const double took = (end.tv_sec - start.tv_sec) * 1e9 + (end.tv_nsec - start.tv_nsec);
        if (took / calls < best) best = took / calls;
    }
    printf("%.3f %g\\n", best, sum);
    return 0;
}
"""


def measure() -> dict[str, Any]:
    """All figures of the page."""
    start = time.perf_counter()
    gcc = subprocess.run(["gcc", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    found: dict[str, Any] = {
        "settings": {"command": "python tools/measure/export.py", "rounds": PASSES * ROUNDS, "flag": TIMED},
        "machine": {"processor": processor(), "gcc": gcc.split()[-1], "versions": versions()},
        "networks": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        for sizes in SHAPES:
            network = MLP(sizes)
            for k, b in enumerate(network.biases):  # of which a compiler leaves zeros and equal ones out
                b[:] = np.random.default_rng(k).standard_normal(b.shape)
            found["networks"].append({
                "sizes": sizes,
                "nanoseconds": latencies(network, Path(folder)),
                "bytes": {form: c_bytes(each, Path(folder)) for form, each in forms(network).items()},
            })  # fmt: skip
    return found | {"seconds": time.perf_counter() - start}


def forms(network: MLP) -> dict[str, MLP | QuantizedMLP]:
    """The networks that become C: itself, and its whole numbers."""
    rows = np.random.default_rng(0).standard_normal((100, network.sizes[0]), np.float32)
    return {"C": network, "C, 8 bits": quantize(network, rows), "C, 4 bits": quantize(network, rows, bits=4)}


def latencies(network: MLP, folder: Path) -> dict[str, float]:
    """Nanoseconds of a call with one row, for each way to make it.

    The ways take turns: what slows the machine for a while must not slow one of them alone.
    """
    calls, best = calls_from_python(network, folder), {}
    for _ in range(PASSES):
        took = {form: quickest_in_c(folder, each) for form, each in forms(network).items()}
        took |= {name: quickest(call) for name, call in calls.items()}
        best = {name: min(best.get(name, float("inf")), seconds) for name, seconds in took.items()}
    return best


def quickest_in_c(folder: Path, network: MLP | QuantizedMLP) -> float:
    to_c(network, folder / "mlp.c")
    (folder / "program.c").write_text(PROGRAM)
    compile_c(folder, TIMED, "program.c", "-o", "program", "-lm")
    calls = max(1, int(SECONDS_A_ROUND * 5e9 / network.multiply_adds))
    command = [folder / "program", str(ROUNDS), str(calls)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0])


def quickest(call: Callable[[], Any]) -> float:
    """As the program does: the best of several rounds."""
    once = timeit.Timer(call)
    calls, took = once.autorange()
    calls = max(1, int(calls * SECONDS_A_ROUND / took))
    return 1e9 * min(once.repeat(ROUNDS, calls)) / calls


def calls_from_python(network: MLP, folder: Path) -> dict[str, Callable[[], Any]]:
    """Each way to ask from Python for the logits of one row, checked to give the same."""
    x = np.random.default_rng(0).standard_normal((1, network.sizes[0]), np.float32)
    compiled, readable = network.copy(backend="cpu"), network.copy(backend="numpy")
    calls: dict[str, Callable[[], Any]] = {
        "C by ctypes": ctypes_call(network, x, folder),
        "MLP.logits": lambda: compiled.logits(x),
        "MLP.logits, numpy": lambda: readable.logits(x),
    }
    with suppress(ImportError):
        calls["ONNX Runtime"] = onnxruntime_call(network, x)
    with suppress(ImportError):
        calls["PyTorch"] = torch_call(network, x)
    expected = readable.logits(x)
    for name, call in calls.items():
        if np.abs(call() - expected).max() > 1e-5 * np.abs(expected).max():
            raise ArithmeticError(f"{name} gives other logits")
    return calls


def ctypes_call(network: MLP, x: np.ndarray, folder: Path) -> Callable[[], Any]:
    to_c(network, folder / "mlp.c")
    library = folder / f"{'-'.join(map(str, network.sizes))}.so"  # a name of its own: what is loaded stays loaded
    compile_c(folder, TIMED, "mlp.c", "-shared", "-fPIC", "-o", library.name, "-lm")
    predict, logits = ctypes.CDLL(str(library)).mlp_predict, np.empty((1, network.sizes[-1]), np.float32)
    pointers = ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(logits.ctypes.data)

    def call() -> np.ndarray:
        predict(*pointers)
        return logits

    return call


def onnxruntime_call(network: MLP, x: np.ndarray) -> Callable[[], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx_bytes(network), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})[0]


def torch_call(network: MLP, x: np.ndarray) -> Callable[[], Any]:
    import torch

    torch.set_num_threads(1)
    modules: list[Any] = []
    for W in network.weights:
        modules += [torch.nn.Linear(*W.shape), torch.nn.ReLU()]
    model = torch.nn.Sequential(*modules[:-1]).eval()
    model.load_state_dict(to_state_dict(network))
    rows = torch.from_numpy(x)
    return torch.inference_mode()(lambda: model(rows).numpy())


def c_bytes(network: MLP | QuantizedMLP, folder: Path) -> dict[str, Any]:
    """Of the file, of the weights, and by `size` what code and data take beside these in the object file."""
    to_c(network, folder / "mlp.c")
    beside = {}
    for flag in FLAGS:
        compile_c(folder, flag, "-c", "mlp.c", "-o", "mlp.o")
        said = subprocess.run(["size", "mlp.o"], cwd=folder, capture_output=True, text=True, check=True).stdout
        beside[flag] = sum(map(int, said.splitlines()[1].split()[:3])) - network.nbytes
    return {"file": (folder / "mlp.c").stat().st_size, "weights": network.nbytes, "beside": beside}


def compile_c(folder: Path, flag: str, *arguments: str) -> None:
    subprocess.run(["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", flag, *arguments], cwd=folder, check=True)


if __name__ == "__main__":
    found = measure()
    print(json.dumps(found, indent=1))
    (ROOT / "docs" / "evidence" / "results" / "export.json").write_text(json.dumps(found, indent=1) + "\n")
