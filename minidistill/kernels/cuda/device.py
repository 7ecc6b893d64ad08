# SPDX-License-Identifier: MIT
"""The card: whether there is one, the formulas compiled for it, and what arrays cross over to it.

The only module that imports numba.cuda; the others of this wing take it from here. With NUMBA_ENABLE_CUDASIM=1 in the
environment the same kernels run in numba's simulator, in Python and with no card: slowly, so blocks are small there.
The simulator gives NaN for the functions of libdevice and knows no warp shuffles: no kernel uses either.
"""

import math
import threading
from functools import cache
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
from numba import config, cuda, types
from numba.cuda.cudadrv import devicearray

from ...support.gpu_arrays import as_numba_array, has_gpu_interface
from .. import rows
from ..threads import exclusive

SIMULATED = bool(config.ENABLE_CUDASIM)
THREADS = 8 if SIMULATED else 256  # of a block; a power of two
WARP = 4 if SIMULATED else 32      # threads of a block that read side by side
OLDEST = (7, 5)                    # compute capability: CUDA 13 compiles for no older card

AT_ONCE = 4                        # numbers that `load_four` reads
ALIGNMENT = None if SIMULATED else 16  # bytes: where shared memory begins that four numbers at once are read from

# A device function is compiled into the kernels that call it. In the simulator a formula is a plain Python function.
formula_on_gpu = (lambda function: function) if SIMULATED else cuda.jit(device=True)


@cache
def formulas(dtype):
    """rows.py for the card, all its constants of this dtype. What a card has an instruction for is not a polynomial."""
    constants = {name: dtype(value) for name, value in vars(rows).items() if isinstance(value, float)}
    words = {name: np.uint64(getattr(rows, name)) for name in ("WORD", "MIX_1", "MIX_2", "SHIFT_15", "SHIFT_16")}
    zero = dtype(0)

    def relu(z):  # max(z, 0) would make of NaN a zero here
        return zero if z < zero else z                             # [ACT-1]

    own = {"exp": math.exp, "exp2": math.exp2, "log": math.log, "tanh": math.tanh, "square_root": math.sqrt}
    return rows.compiled(formula_on_gpu, **constants, **words, **own, relu=formula_on_gpu(relu))


def kernel_and_function(share):
    """`share` twice: `kernel` is launched, and `function` is called by another kernel."""
    return SimpleNamespace(kernel=cuda.jit(share), function=cuda.jit(share, device=True))


if SIMULATED:
    from numba.cuda.simulator.kernel import FakeCUDAKernel

    call, launch = FakeCUDAKernel.__call__, exclusive(FakeCUDAKernel.__call__)

    def call_or_launch(kernel, *arguments):
        """One launch at a time: the simulator replaces a kernel's globals during a launch. Calls within it pass."""
        inside = hasattr(threading.current_thread(), "blockIdx")
        return (call if inside else launch)(kernel, *arguments)

    FakeCUDAKernel.__call__ = call_or_launch

    def load_four(array, i):
        return array[i], array[i + 1], array[i + 2], array[i + 3]
else:
    from llvmlite import ir
    from numba.cuda.core import config as cuda_config
    from numba.cuda.extending import intrinsic

    cuda_config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # a small network has few blocks, and no user could change that

    @intrinsic
    def load_four(typing_context, array, i):
        """array[i], ..., array[i + 3] by one instruction; the first must lie at a multiple of four numbers."""

        def generate(context, builder, signature, arguments):
            number = context.get_data_type(array.dtype)
            place = builder.gep(context.make_array(array)(context, builder, arguments[0]).data, [arguments[1]])
            pointer = builder.bitcast(place, ir.VectorType(number, AT_ONCE).as_pointer(place.type.addrspace))
            four = builder.load(pointer, align=min(16, AT_ONCE * array.dtype.bitwidth // 8))
            lanes = [builder.extract_element(four, ir.Constant(ir.IntType(32), k)) for k in range(AT_ONCE)]
            return context.make_tuple(builder, signature.return_type, lanes)

        return types.UniTuple(array.dtype, AT_ONCE)(array, i), generate


# ------------------------------------------------------------------------------------------------------------- the card


def find_gpu():
    """What the card is, in words. ImportError, with what to do, where there is none that these kernels run on."""
    if SIMULATED:
        if find_spec("numba_cuda") is None:
            raise ImportError("numba's own simulator knows no aligned shared memory: pip install 'minidistill[cuda]'")
        return {"gpu": "numba's simulator", "compute_capability": "none"}
    try:
        device = cuda.current_context().device
    except Exception as error:  # no driver, no card, a card in use by another alone: the driver's own words
        reason = " ".join(str(error).split()).rstrip(" :")
        raise ImportError(f"no usable NVIDIA card or driver, which nvidia-smi would list: {reason}") from error
    found, wanted = (".".join(map(str, pair)) for pair in (device.compute_capability, OLDEST))
    if device.compute_capability < OLDEST:
        raise ImportError(f"the card has compute capability {found}, and {wanted} or newer is wanted")
    name = device.name.decode() if isinstance(device.name, bytes) else device.name
    return {"gpu": name, "compute_capability": found}


def multiprocessors():
    """How many multiprocessors the card has, each of which runs some blocks at a time."""
    return 2 if SIMULATED else cuda.get_current_device().MULTIPROCESSOR_COUNT


def block_count(items, items_a_block=THREADS):
    """Blocks for so many items: no more than keep the card busy, for each goes on with others when it is done."""
    return max(1, min(-(-items // items_a_block), 8 * multiprocessors()))


# --------------------------------------------------------------------------------------------------- arrays that cross


def is_on_gpu(array):
    """Whether an array lives on a card: one of numba (the simulator's too), CuPy, PyTorch or JAX."""
    return has_gpu_interface(array) or devicearray.is_cuda_ndarray(array)


def to_gpu(array, dtype=None, name="an array on the card"):
    """`array` on the card, contiguous and of this dtype. What is there already stays where it is, uncopied."""
    if not is_on_gpu(array):
        array = np.ascontiguousarray(array, dtype)
        return _within_memory(array.nbytes, lambda: cuda.to_device(array))
    array = as_numba_array(array)
    if (dtype is not None and array.dtype != dtype) or not array.is_c_contiguous():
        order = "contiguous" if array.is_c_contiguous() else "not contiguous"
        raise TypeError(f"{name} must be contiguous {np.dtype(dtype or array.dtype)}, got {order} {array.dtype}")
    return array


def flat(array, dtype=None, name="an array on the card"):
    """The numbers of an array on the card, as `to_gpu`; for None an array without any."""
    array = to_gpu(np.zeros(0) if array is None else array, dtype, name)
    return array.reshape(array.size)


def empty(size, dtype):
    """Memory on the card for so many numbers."""
    return _within_memory(size * np.dtype(dtype).itemsize, lambda: cuda.device_array(size, dtype))


def _within_memory(nbytes, make):
    try:
        return make()
    except Exception as error:
        if "OUT_OF_MEMORY" not in str(error):
            raise
        free = cuda.current_context().get_memory_info()[0]
        raise MemoryError(
            f"the card has {free / 2**20:,.0f} MiB free and {nbytes / 2**20:,.0f} more are wanted: "
            "take a smaller batch or network, or backend='cpu'"
        ) from error
