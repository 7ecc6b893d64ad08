# SPDX-License-Identifier: MIT
"""kernels/cuda/device.py: what card there is, what is missing for one, and that its memory ends."""

import numpy as np
import pytest
from gpu_arrays import Elsewhere, numbers

from minidistill import Dataset
from minidistill.kernels.cuda import device as cuda_device
from minidistill.kernels.cuda.device import to_gpu
from minidistill.support.checks import check_rows

pytestmark = pytest.mark.cuda


class Card:
    """A driver's answer to what card there is."""

    name = b"an old card"

    def __init__(self, compute_capability):
        self.compute_capability, self.device = compute_capability, self


def test_the_card_is_named(monkeypatch):
    monkeypatch.setattr(cuda_device, "SIMULATED", False)
    monkeypatch.setattr(cuda_device.cuda, "current_context", lambda: Card((9, 0)))
    assert cuda_device.find_gpu() == {"gpu": "an old card", "compute_capability": "9.0"}


def test_too_old_a_card_is_refused(monkeypatch):
    monkeypatch.setattr(cuda_device, "SIMULATED", False)
    monkeypatch.setattr(cuda_device.cuda, "current_context", lambda: Card((7, 0)))
    with pytest.raises(ImportError, match=r"the card has compute capability 7\.0, and 7\.5 or newer is wanted"):
        cuda_device.find_gpu()


@pytest.mark.skipif(not cuda_device.SIMULATED, reason="a card is there")
def test_a_simulator_that_cannot_run_products_is_refused(monkeypatch):
    monkeypatch.setattr(cuda_device, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"numba's own simulator .*: pip install 'minidistill\[cuda\]'"):
        cuda_device.find_gpu()


def test_no_driver_is_told_in_one_line(monkeypatch):
    def missing():
        raise RuntimeError("Error at driver init:\n\nCUDA driver library cannot be found.")

    monkeypatch.setattr(cuda_device, "SIMULATED", False)
    monkeypatch.setattr(cuda_device.cuda, "current_context", missing)
    with pytest.raises(ImportError, match=r"no usable NVIDIA card or driver.*: Error at driver init: CUDA driver"):
        cuda_device.find_gpu()


def test_memory_that_runs_out_says_what_to_do(monkeypatch):
    def full(*_):
        raise RuntimeError("Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY")

    monkeypatch.setattr(cuda_device.cuda, "device_array", full)
    with pytest.raises(MemoryError, match=r"1 more are wanted: take a smaller batch or network, or backend='cpu'"):
        cuda_device.empty(2**18, np.float32)


def test_where_the_host_computes_an_array_on_the_card_is_copied_to_it():
    x = numbers(0, 3, 2)
    rows = check_rows("x", Elsewhere(to_gpu(x)), columns=2)
    assert isinstance(rows, np.ndarray)
    np.testing.assert_array_equal(rows, x)
    assert Dataset(Elsewhere(to_gpu(x)), Elsewhere(to_gpu(np.arange(3)))).classes == 3


def test_an_array_on_the_card_of_another_dtype_is_refused():
    with pytest.raises(TypeError, match="an array on the card must be contiguous float32, got contiguous float64"):
        to_gpu(to_gpu(numbers(0, 3, dtype=np.float64)), np.float32)
