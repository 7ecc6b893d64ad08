# SPDX-License-Identifier: MIT
"""On a machine with an NVIDIA card: the tests there, compute-sanitizer, and how fast.

`make cuda` runs it; it writes docs/evidence/results/cuda_bench.json, and the table is quoted. It stops at the first
test that fails: a wrong result has no speed.

    1  tests        those of the simulator, on the card
    2  sanitizer    memcheck and racecheck, where the toolkit's compute-sanitizer is on the path or in CUDA_HOME
    3  benchmark    training steps, losses and products beside PyTorch, torch.compile, CuPy and JAX, each where it is
                    installed; results compared first, then all take turns in one process, and the median counts
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from minidistill.experiments.bench.cases import MOMENTUM, RATE, SOFT, LossGradient, Product, Training, Work
from minidistill.experiments.bench.groups import SMALL
from minidistill.experiments.bench.jax_adapter import jax_loss, jax_training
from minidistill.experiments.bench.ours import minidistill_training, numpy_loss, numpy_training, product
from minidistill.experiments.bench.timing import check_equal, interleaved
from minidistill.experiments.bench.torch_adapter import torch_loss, torch_network
from minidistill.kernels import load_backend

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "evidence" / "results" / "cuda_bench.json"
LARGEST = (784, 1200, 1200, 10)
CASES = [
    Training(SMALL, 32, steps=500), Training((64, 128, 10), 64, steps=250), Training((784, 30, 30, 10), 128, steps=60),
    Training((784, 800, 800, 10), 128, steps=20), Training(LARGEST, 128, steps=20), Training(LARGEST, 1024, steps=10),
    LossGradient(1024, 1000), LossGradient(4096, 32768),
    Product(1024, 1024, 1024), Product(2048, 2048, 2048), Product(4096, 4096, 4096),
]  # fmt: skip

# ---------------------------------------------------------------------------------------------- 1  tests, 2  sanitizer


def run_tests(*before: str, only: str = "") -> None:
    """The tests of the card, under the program `before`."""
    found = (ROOT / "tests" / "kernels" / "cuda").glob("test_*.py")
    tests = sorted(str(path) for path in found if path.stem != "test_ptx")
    command = [*before, sys.executable, "-m", "pytest", "-m", "cuda", "-k", only, *tests]
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "0"}
    subprocess.run(command, check=True, cwd=ROOT, env=environment)


def sanitize() -> list[str]:
    """What compute-sanitizer looked for, and did not find."""
    toolkit = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "bin" / "compute-sanitizer"
    sanitizer = shutil.which("compute-sanitizer") or (str(toolkit) if toolkit.is_file() else None)
    if sanitizer is None:
        print("compute-sanitizer is not installed: nobody looks for races", file=sys.stderr)
        return []
    for tool in ("memcheck", "racecheck"):
        run_tests(sanitizer, "--tool", tool, "--error-exitcode", "1", only="float32 or launch or tile")
    return ["memcheck", "racecheck"]


# ---------------------------------------------------------------------------------------------- 3  ways to do a case


def ours(case: Any) -> Work:
    cuda = load_backend("cuda")
    from minidistill.kernels.cuda.device import cuda as device, to_gpu

    if isinstance(case, Training):
        return minidistill_training(case, 1, "cuda")
    if isinstance(case, LossGradient):
        s, y, t = map(to_gpu, case.data)
        run = keeping(lambda: cuda.distillation_loss(s, t, y, SOFT.temperature, SOFT.alpha), device.synchronize)
        return Work(run, lambda: [run.kept[0], run.kept[1].copy_to_host()])
    A, B = map(to_gpu, case.data)
    run = keeping(lambda: cuda.product(A, B), device.synchronize)
    return Work(run, lambda: [run.kept.copy_to_host()])


class keeping:  # noqa: N801  (a function with a memory)
    """A call that keeps what came out, and returns when the card is done."""

    def __init__(self, call: Callable[[], Any], synchronize: Callable[[], Any]) -> None:
        self.call, self.synchronize, self.kept = call, synchronize, None

    def __call__(self) -> None:
        self.kept = self.call()
        self.synchronize()


def pytorch(case: Any, compiled: bool = False) -> Work:
    torch = import_module("torch")
    torch.backends.cuda.matmul.allow_tf32 = False  # products of float32 are of float32
    wrapped = torch.compile if compiled else lambda function: function
    synchronize = torch.cuda.synchronize
    if isinstance(case, Training):
        return pytorch_training(torch, case, wrapped)
    if isinstance(case, LossGradient):
        s, y, t = (torch.from_numpy(array).cuda() for array in case.data)
        s.requires_grad_()
        loss = wrapped(torch_loss(torch, True))

        def both() -> Any:
            value = loss(s, t, y)
            return value, torch.autograd.grad(value, s)[0]

        run = keeping(both, synchronize)
        return Work(run, lambda: [run.kept[0].item(), run.kept[1].cpu().numpy()])
    A, B = (torch.from_numpy(array).cuda() for array in case.data)
    multiply = wrapped(lambda: A @ B)
    run = keeping(multiply, synchronize)
    return Work(run, lambda: [run.kept.cpu().numpy()])


def pytorch_training(torch: Any, case: Training, wrapped: Callable[[Any], Any]) -> Work:
    model, weights = torch_network(torch, case.network())
    model, loss = model.cuda(), torch_loss(torch, False)
    optimizer = torch.optim.SGD(model.parameters(), RATE, MOMENTUM, fused=True)
    batches = case.batches(lambda part: torch.from_numpy(part).cuda())
    value = wrapped(lambda x, t, y: loss(model(x), t, y))

    def run() -> None:
        for x, y, t in batches:
            optimizer.zero_grad()
            value(x, t, y).backward()
            optimizer.step()
        torch.cuda.synchronize()

    def reset() -> None:
        weights()
        optimizer.state.clear()

    return Work.training(run, lambda: [p.detach().cpu().numpy().T for p in model.parameters()], reset)


def cupy(case: Any) -> Work:
    """CuPy has no autograd: products, and the loss written in its array functions."""
    xp = import_module("cupy")
    synchronize = xp.cuda.get_current_stream().synchronize
    if isinstance(case, Product):
        A, B = map(xp.asarray, case.data)
        run = keeping(lambda: A @ B, synchronize)
        return Work(run, lambda: [xp.asnumpy(run.kept)])
    s, y, t = map(xp.asarray, case.data)
    T, alpha, rows = SOFT.temperature, SOFT.alpha, xp.arange(len(s))

    def log_softmax(z: Any) -> Any:
        z = z - z.max(axis=1, keepdims=True)
        return z - xp.log(xp.exp(z).sum(axis=1, keepdims=True))

    def both() -> Any:
        log_q, log_q_T, log_p = log_softmax(s), log_softmax(s / T), log_softmax(t / T)
        p = xp.exp(log_p)
        value = -(1 - alpha) * log_q[rows, y].mean() + alpha * T * T * (p * (log_p - log_q_T)).sum(axis=1).mean()
        ds = (1 - alpha) * xp.exp(log_q) + alpha * T * (xp.exp(log_q_T) - p)
        ds[rows, y] -= 1 - alpha
        return value, ds / len(s)

    run = keeping(both, synchronize)
    return Work(run, lambda: [float(run.kept[0]), xp.asnumpy(run.kept[1])])


def jax(case: Any) -> Work:
    found = import_module("jax")
    found.config.update("jax_default_matmul_precision", "highest")  # no TF32
    ready = found.block_until_ready
    if isinstance(case, Training):
        return jax_training(case, 1, scan=True)
    if isinstance(case, Product):
        A, B = map(found.device_put, case.data)
        multiply = found.jit(lambda A, B: A @ B)
        run = keeping(lambda: ready(multiply(A, B)), lambda: None)
        return Work(run, lambda: [np.asarray(run.kept)])
    s, y, t = map(found.device_put, case.data)
    both = found.jit(found.value_and_grad(jax_loss(found, True)))
    run = keeping(lambda: ready(both(s, t, y)), lambda: None)
    return Work(run, lambda: [np.asarray(part) for part in run.kept])


def reference(case: Any) -> Work:
    """NumPy, with which results are compared."""
    if isinstance(case, Training):
        return numpy_training(case, 1)
    return numpy_loss(case, 1) if isinstance(case, LossGradient) else product(case, 1)


LIBRARIES: dict[str, Callable[[Any], Work]] = {
    "minidistill": ours,
    "PyTorch": pytorch,
    "torch.compile": lambda case: pytorch(case, compiled=True),
    "CuPy": cupy,
    "JAX": jax,
}


def timed(case: Any) -> list[dict[str, Any]]:
    """Seconds of each library that is installed, a step or a call, all compared with NumPy before."""
    works = {}
    for name, make in LIBRARIES.items():
        if isinstance(case, Training) and name == "CuPy":
            continue  # it has no networks
        try:
            works[name] = make(case)
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    compared = {"NumPy": reference(case), **works}
    for work in compared.values():
        work.run()
    check_equal(case, compared)
    times = interleaved(works, settle=lambda: None)
    return [
        {"case": str(case), "library": name, "seconds": median(seconds) / case.steps}
        for name, seconds in times.items()
    ]


def copy_bandwidth() -> float:
    """Bytes a second that the card copies from its memory to its memory, both ways counted."""
    torch = import_module("torch")
    a = torch.empty(2**28, device="cuda")
    b = torch.empty_like(a)
    run = keeping(lambda: b.copy_(a), torch.cuda.synchronize)
    return float(2 * a.nbytes / median(interleaved({"copy": Work(run, list)}, settle=lambda: None)["copy"]))


def main() -> None:
    try:
        machine = load_backend("cuda").find_gpu()
    except ImportError as error:
        sys.exit(str(error))
    run_tests()
    checked = sanitize()
    rows = [row for case in CASES for row in timed(case)]
    packages = ("minidistill", "numba", "numba-cuda", "torch", "cupy-cuda13x", "jax")
    installed = {d.metadata["Name"] for d in importlib.metadata.distributions()}
    found = {
        "settings": {"command": "python tools/measure/cuda_bench.py"},
        "machine": {**machine, "copy_bytes_a_second": copy_bandwidth()},
        "versions": {name: importlib.metadata.version(name) for name in packages if name in installed},
        "sanitizer": checked,
        "rows": rows,
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
