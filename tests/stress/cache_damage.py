# SPDX-License-Identifier: MIT
"""Flips bits in the files of a kernel cache: a process that loads them must compute right and must not end early."""

import os
import subprocess
import sys

KERNEL = """
import sys
from pathlib import Path
import numpy as np
from numba import njit
from minidistill.kernels.cpu.cache import kept_on_disk

def doubled(x):
    return x * 2 + 1

def hits():
    kernel = kept_on_disk(njit(doubled))
    assert kernel(3) == 7 and kernel(2.5) == 6
    return sum(kernel.stats.cache_hits.values())

found = [hits()]
if len(sys.argv) > 1:
    folder, seed, flips = sys.argv[1:]
    assert hits() == 2
    files = sorted(Path(folder).rglob("*.nbc"))
    random = np.random.default_rng(int(seed))
    found = [len(files)]
    for flip in range(int(flips)):
        file = files[random.integers(len(files))]
        content = bytearray(file.read_bytes())
        content[random.integers(len(content))] ^= 1 << random.integers(8)
        file.write_bytes(content)
        found.append(hits())
print(*found)
"""


def run(folder, *arguments):
    """A process that runs KERNEL, whose cache is in `folder`: from a file, since numba keeps no other functions."""
    program = folder / "kernel.py"
    if not program.exists():
        program.write_text(KERNEL)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder)}
    command = [sys.executable, str(program), *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def flip_bits(folder, flips=100, seed=0):
    """(exit status, files, hits after each flip, errors) of a process that flips a bit and loads the kernel, in turns.

    The kernel has an entry for each of two signatures. The damaged one is compiled again, so one is a hit each time.
    """
    process = run(folder, folder, seed, flips)
    output, errors = process.communicate()
    files, *hits = map(int, output.split() or [0])
    return process.returncode, files, hits, errors


def write_together(folder, processes):
    """Exit statuses and errors of processes that compile and save one kernel at once; the hits of one after them."""
    running = [run(folder) for _ in range(processes)]
    errors = "".join(process.communicate()[1] for process in running)
    last = run(folder)
    return [process.returncode for process in running], errors, int(last.communicate()[0])
