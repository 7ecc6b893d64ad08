# SPDX-License-Identifier: MIT
"""What the tests of the CUDA backend have in common.

`make test-cuda-sim` runs them in the simulator, a process with NUMBA_ENABLE_CUDASIM=1, and `make cuda` on a card. There
a Python thread runs for each thread of a block, and blocks run one after the other: shapes are tiny, and no race
shows.
"""

import sys
import threading
import time

import numpy as np
import pytest
from agreement import TOLERANCE, assert_same, numbers  # noqa: F401  (for the tests of the card)

from minidistill import MLP, kernels

try:
    kernels.load_backend("cuda")
except ImportError as error:  # the files that import this one are skipped
    pytest.skip(f"neither a card nor its simulator: {error}", allow_module_level=True)

from minidistill.kernels.cuda.device import SIMULATED

both_dtypes = pytest.mark.parametrize("dtype", TOLERANCE)


# A small network on the card and its readable twin, and what they learn from.

SIZES = (5, 6, 4, 3)
ROWS = np.random.default_rng(0).standard_normal((7, 5))
LABELS = np.arange(7) % 3
TEACHER = np.random.default_rng(1).standard_normal((7, 3))


def pair(activation="relu", dropout=0.0, dtype=np.float64, sizes=SIZES):
    return (MLP(sizes, activation, dropout, 3, dtype, backend) for backend in ("cuda", "numpy"))


def close(mine, reference, tolerance=1e-12):
    np.testing.assert_allclose(mine, reference, rtol=tolerance, atol=tolerance)


class Elsewhere:
    """An array of another library, as far as one can see without it: its interface, and that it is kept alive."""

    def __init__(self, array):
        self.kept, self.shape = array, array.shape
        on_card = getattr(array, "__cuda_array_interface__", None)
        self.__cuda_array_interface__ = on_card or array._ary.__array_interface__  # the simulator's card is the host


class AllAtOnce:
    """A kernel of the simulator whose blocks run at the same time, as a card's may, and not one after the other.

    One block is slow: after each wait within a block it sleeps. So what reads before all blocks have written shows, and
    what writes before all have read: not always, but in most runs. On a card it is the kernel itself.
    """

    def __init__(self, kernel, slow):
        self.kernel, self.slow = kernel, slow

    def __getitem__(self, configuration):
        return self.kernel[configuration] if not SIMULATED else lambda *arguments: self.run(configuration, arguments)

    def run(self, configuration, arguments):
        from numba.cuda.simulator import kernel as simulator
        from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray, FakeWithinKernelCUDAArray
        from numba.cuda.simulator.kernelapi import FakeCUDAModule, swapped_cuda_module

        grid, block = ((size, 1, 1) for size in configuration)
        module = FakeCUDAModule(grid, block, 0)
        module._shared = SharedByBlock()
        module.syncthreads = self.wait
        inside = [FakeWithinKernelCUDAArray(a) if isinstance(a, FakeCUDAArray) else a for a in arguments]
        errors = []

        def run_block(number):
            try:
                simulator.BlockManager(self.kernel.fn, grid, block, False).run((number, 0, 0), *inside)
            except Exception as error:
                errors.append(error)

        with simulator._push_kernel_context(module), swapped_cuda_module(self.kernel.fn, module):
            blocks = [threading.Thread(target=run_block, args=(number,)) for number in range(grid[0])]
            for one in blocks:
                one.start()
            for one in blocks:
                one.join()
        assert errors == []


    def wait(self):
        thread = threading.current_thread()
        thread.syncthreads()
        if thread.blockIdx.x == self.slow:
            time.sleep(0.01)


class SharedByBlock:
    """Shared memory of which each block has its own."""

    def __init__(self):
        self.found, self.lock = {}, threading.Lock()

    def array(self, shape, dtype, alignment=None):
        caller = sys._getframe(1)
        place = (threading.current_thread().blockIdx.x, caller.f_code.co_filename, caller.f_lineno)
        with self.lock:
            return self.found.setdefault(place, np.empty(shape, dtype))
