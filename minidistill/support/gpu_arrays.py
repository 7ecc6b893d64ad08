# SPDX-License-Identifier: MIT
"""Arrays in the memory of a GPU, of CuPy, PyTorch, JAX or numba: how they are recognized, wrapped and copied.

All of these have `__cuda_array_interface__`. numba is imported with the first such array.
"""

from typing import Any

import numpy as np


def has_gpu_interface(values: Any) -> bool:
    """Whether `values` is an array in the memory of a GPU."""
    try:
        return hasattr(values, "__cuda_array_interface__")  # PyTorch's are properties, and raise for what is not
    except Exception:
        return False


def as_numba_array(array: Any) -> Any:
    """Another library's array on the GPU as numba's, in the same memory; numba's own as they are."""
    from numba import config, cuda
    from numba.cuda.cudadrv import devicearray

    if devicearray.is_cuda_ndarray(array):
        return array
    if not config.ENABLE_CUDASIM:  # type: ignore[attr-defined, unused-ignore]
        return cuda.as_cuda_array(array)

    class Host:  # the simulator's GPU is the host's memory, and NumPy knows the same interface by another name
        __array_interface__ = array.__cuda_array_interface__

    return devicearray.FakeCUDAArray(np.asarray(Host()))  # type: ignore[attr-defined, unused-ignore]


def to_host(array: Any) -> np.ndarray:
    """A copy of an array on the GPU in the memory of the host; ImportError where numba cannot reach the GPU."""
    try:
        return np.asarray(as_numba_array(array).copy_to_host())
    except Exception as error:
        raise ImportError(f"an array on the GPU cannot be copied to the host: {error}") from error
