# SPDX-License-Identifier: MIT
"""Two processes at once on each kind of file that keeps a state; `python tests/stress/state_files.py ROUNDS` for more.

Each round runs the same job in two processes, which begin after random delays. A job may be refused because the other
process has the file; what the file then holds must be whole, and nothing in it lost.
"""

import gzip
import hashlib
import os
import random
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numba
import numpy as np
from mirror import Mirror
from sweeps import Serial

from minidistill import MLP, Dataset, QualityGate, fit, use_backend
from minidistill.data.download import PublishedFile, fetched
from minidistill.experiments.sweep import sweep
from minidistill.kernels.cpu.cache import kept_on_disk

LONGEST_DELAY = 0.02  # seconds
X = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
DATA = Dataset(X, (X[:, 0] > 0).astype(int))
BATCHES = 5
CONTENT = np.random.default_rng(1).bytes(20_000)
PUBLISHED = PublishedFile("a test", "numbers", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def sign(x):
    return 5 * np.stack([-x[:, 0], x[:, 0]], axis=1)


def update_gate(folder, _):
    gate = QualityGate(sign, sign, 0.9, sample_rate=0.5, classes=2, file=folder / "gate.npz")
    for _ in range(BATCHES):
        gate.update(X)


def gate_is_whole(folder, refused):
    gate = QualityGate(sign, sign, 0.9, sample_rate=0.5, classes=2, file=folder / "gate.npz")
    return refused == 0 and gate.n_seen == 2 * BATCHES * len(X) and gate.n_sampled == gate.n_agreed > 0


def small_sweep(folder):
    options = {"temperatures": (1, 2), "alphas": (0.5, 1.0), "widths": (2,), "seeds": (0,), "epochs": 1}
    return sweep(sign(X), DATA, DATA, file=folder / "sweep.jsonl", executor=Serial(), check_teacher=False, **options)


def run_sweep(folder, _):
    small_sweep(folder)


def sweep_is_whole(folder, refused):
    lines = (folder / "sweep.jsonl").read_bytes().splitlines()
    return refused < 2 and len(lines) == 5 and len(small_sweep(folder).points) == 4


def trained(folder):
    network = MLP((3, 4, 2), backend="numpy")
    fit(network, DATA, epochs=4, checkpoint=None if folder is None else folder / "run.npz")
    return network.parameters


def train(folder, _):
    trained(folder)


def checkpoint_is_whole(folder, refused):
    return refused < 2 and np.array_equal(trained(folder), trained(None))


def download(folder, url):
    assert fetched(PUBLISHED, str(folder / "cache"), (url,)) == CONTENT


def download_is_whole(folder, refused):
    return refused == 0 and fetched(PUBLISHED, str(folder / "cache"), ()) == CONTENT


def double(x):
    return 2 * x


def kernel_results(folder):
    os.environ["NUMBA_CACHE_DIR"] = str(folder / "kernels")
    kernel = kept_on_disk(numba.njit(lambda x: double_kernel(x)))
    return [kernel(np.ones(3, dtype)) for dtype in (np.float32, np.float64)]


double_kernel = numba.njit(double)


def compile_kernel(folder, _):
    assert [result.dtype.name for result in kernel_results(folder)] == ["float32", "float64"]


def kernels_are_whole(folder, refused):
    results = kernel_results(folder)
    return refused == 0 and len(list(folder.rglob("*.nbc"))) == 2 and all((result == 2).all() for result in results)


KINDS = {
    "gate": (update_gate, gate_is_whole),
    "sweep": (run_sweep, sweep_is_whole),
    "checkpoint": (train, checkpoint_is_whole),
    "download": (download, download_is_whole),
    "kernels": (compile_kernel, kernels_are_whole),
}


def refused_after(delay, job, folder, argument):
    """Whether the job was refused because the other process has the file."""
    use_backend("numpy")
    time.sleep(delay)
    try:
        job(folder, argument)
    except BlockingIOError:
        return True
    return False


def broken_rounds(kind, rounds, seed=0):
    """The number of rounds after which a file is not whole."""
    job, is_whole = KINDS[kind]
    delays, broken = random.Random(seed), 0
    with (
        ProcessPoolExecutor(2, get_context("spawn")) as pool,
        Mirror({f"{PUBLISHED.name}.gz": gzip.compress(CONTENT)}) as mirror,
        tempfile.TemporaryDirectory() as folder,
    ):
        for k in range(rounds):
            place = Path(folder) / str(k)
            place.mkdir()
            run = partial(pool.submit, refused_after, job=job, folder=place, argument=mirror.url)
            both = [run(delay=LONGEST_DELAY * delays.random()) for _ in range(2)]
            broken += not is_whole(place, sum(one.result(timeout=120) for one in both))
    return broken


if __name__ == "__main__":
    use_backend("numpy")
    for name in KINDS:
        print(f"{name}: {broken_rounds(name, int(sys.argv[1]))} of {sys.argv[1]} rounds broken")
