# SPDX-License-Identifier: MIT
"""The machine: its peaks in arithmetic and memory bandwidth, its processor, and the libraries' versions and threads."""

import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import metadata

import numpy as np

from ...support.processes import POOLS
from .cases import Product
from .ours import product
from .timing import best

SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # where set, OpenBLAS does without what the processor has


def environment(threads: int) -> dict[str, str]:
    """Of a process in which every library works on that many threads, and at its best."""
    own = dict.fromkeys(POOLS, str(threads)) | {"JAX_PLATFORMS": "cpu"}
    own["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # no pool of compilers beside what is measured
    if threads == 1:
        own["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    return {name: value for name, value in os.environ.items() if name not in SLOWING} | own


SGEMM_SIZE = 1536
SGEMM_CASE = Product(SGEMM_SIZE, SGEMM_SIZE, SGEMM_SIZE)


def sgemm_peak(repeats: int = 8) -> tuple[float, float]:
    """GFLOP/s of NumPy's BLAS on large matrices, the best of some tries; and how many cores it had meanwhile."""
    run = product(SGEMM_CASE, threads=1).run
    used, start = time.process_time(), time.perf_counter()
    seconds = best(run, repeats)
    return 2e-9 * SGEMM_SIZE**3 / seconds, (time.process_time() - used) / (time.perf_counter() - start)


OUT_OF_CACHE = 1 << 26  # bytes


def copy_peak(threads: int, repeats: int = 8) -> float:
    """GB/s, read and written, of copying more than a cache holds, a part on each thread; the best of some tries."""
    target, source = np.zeros(OUT_OF_CACHE, np.uint8), np.ones(OUT_OF_CACHE, np.uint8)
    parts = np.array_split(target, threads), np.array_split(source, threads)
    with ThreadPoolExecutor(threads) as pool:
        return 2e-9 * OUT_OF_CACHE / best(lambda: list(pool.map(np.copyto, *parts)), repeats)


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    with suppress(OSError, StopIteration), open("/proc/cpuinfo") as lines:
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("numpy", "numba", "torch", "jax", "scikit-learn", "onnxruntime"):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
