# SPDX-License-Identifier: MIT
"""The engine room: which module does the arithmetic.

A backend is a module: it exports the function names of `minidistill.ops` with the same arguments, and the code above
cannot tell which one it has.

    "numpy"   `minidistill.ops` itself
    "cpu"     kernels/cpu/: compiled by numba, with whole passes and whole epochs in one call
    "cuda"    kernels/cuda/: on an NVIDIA card, by numba-cuda, which `pip install 'minidistill[cuda]'` brings
    "auto"    "cuda" where that can start; else the one that serves without it, and one warning says why

The default is the one that `use_backend` chose, else the one that the environment variable MINIDISTILL_BACKEND names,
else "cpu". Where numba is missing or cannot start, NumPy serves instead, and one warning says so.

README.md beside this file says in which order to read the kernels.
"""

import importlib.util
import os
import platform
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

import numpy

from .. import ops
from ..support.checks import check_choice
from .memory import CACHE_LINE, aligned_zeros  # noqa: F401  (public here)
from .protocols import Compilable, Epochs, IntegerNetwork, IntegerPasses, Network, Passes

BACKENDS = ("numpy", "cpu", "cuda")
CHOICES = (*BACKENDS, "auto")
VARIABLE = "MINIDISTILL_BACKEND"

_chosen: str | None = None


def use_backend(name: str | None) -> None:
    """Makes `name` the backend of the networks that are made from now on; None goes back to the default.

    Raises ValueError for a name that is none, ImportError where that backend cannot start here.
    """
    global _chosen
    if name is not None:
        name = resolved(name)
        load_backend(name)
    _chosen = name


def default_backend() -> str:
    """The name of the backend that a network gets unless told otherwise."""
    if _chosen is not None:
        return _chosen
    named = os.environ.get(VARIABLE)
    return _without_auto(check_choice(VARIABLE, named, CHOICES)) if named else _without_gpu()


def resolved(name: str | None) -> str:
    """The backend that a name stands for: None is the default, "auto" the card where there is one."""
    return default_backend() if name is None else _without_auto(check_choice("backend", name, CHOICES))


def load_backend(name: str | None = None) -> ModuleType:
    """The module behind a backend's name, by default behind the default's."""
    name = resolved(name)
    if name == "numpy":
        return ops
    module = _compiled() if name == "cpu" else _cuda()
    if isinstance(module, Exception):
        raise ImportError(f"backend {name!r} cannot start: {module}") from module
    return module


def _without_gpu() -> str:
    return "cpu" if isinstance(_compiled(), ModuleType) else "numpy"


def _without_auto(name: str) -> str:
    return _automatic() if name == "auto" else name


@cache
def _automatic() -> str:
    """What "auto" is here, told once where it is not the card."""
    error = _cuda()
    if isinstance(error, ModuleType):
        return "cuda"
    serves = _without_gpu()
    warnings.warn(f"backend 'auto' takes {serves!r}, for 'cuda' cannot start: {error}", RuntimeWarning, stacklevel=4)
    return serves


@cache
def _cuda() -> ModuleType | Exception:
    """kernels/cuda/, imported when it is first asked for; or what keeps it from starting."""
    if importlib.util.find_spec("numba_cuda") is None:  # numba's own numba.cuda is not kept up any more
        return ImportError("numba-cuda is not installed: pip install 'minidistill[cuda]'")
    try:
        from . import cuda

        cuda.find_gpu()
    except Exception as error:  # numba-cuda, the driver or the card is missing, or too old
        return error
    return cuda


@cache
def _compiled() -> ModuleType | Exception:
    """kernels/cpu/, imported when it is first asked for; or what keeps it from starting, told once."""
    try:
        from . import cpu
    except Exception as error:  # numba is missing, or too old, or does not know this machine
        warnings.warn(f"numba cannot start, so NumPy does the arithmetic: {error}", RuntimeWarning, stacklevel=2)
        return error
    return cpu


def _passes_of(network: Network | IntegerNetwork) -> Any:
    """The module with the compiled passes of the network's backend; None where that has no more than ops.py."""
    if load_backend(network.backend) is ops:
        return None
    return importlib.import_module(f".{network.backend}.passes", __name__)


def compiled_passes(network: Network) -> Passes | None:
    """The network's passes in one call each, where its backend has more than the functions of ops.py; else None."""
    module = _passes_of(network)
    passes: Passes | None = module and module.Passes(network)
    return passes


def compiled_epochs(
    network: Network, loss: Compilable, optimizer: Compilable, batch_size: int, labels: Any, targets: Any
) -> Epochs | None:
    """Epochs in one call each, where loss and optimizer have constants and the loss has what it needs; else None."""
    constants, rule = loss.compiled(), optimizer.compiled()
    if network.passes is None or constants is None or rule is None:
        return None
    alpha = constants["alpha"]
    has_labels = alpha == 1 or labels is not None
    has_teacher = alpha == 0 or isinstance(targets, numpy.ndarray) or callable(targets)
    if not (has_labels and has_teacher):  # the kernels read them without a check
        return None
    epochs: Epochs = _passes_of(network).Epochs(network, constants, rule, batch_size)
    return epochs


def compiled_integers(network: IntegerNetwork) -> IntegerPasses | None:
    """The pass of a network of integers in one call, where its backend has compiled products of bytes; else None."""
    module = _passes_of(network)
    passes: IntegerPasses | None = module and module.integers(network)
    return passes


@contextmanager
def one_thread(name: str) -> Iterator[None]:
    """Kernels of the backend `name` that this thread calls meanwhile work on it alone; for what runs side by side."""
    if name != "cpu":
        yield  # how many threads a BLAS has is settled when NumPy is imported; a card has no thread of ours
        return
    import numba

    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        yield
    finally:
        numba.set_num_threads(before)


def describe() -> dict[str, Any]:
    """What does the arithmetic here: machine, versions, backend; for "cpu" its vectors, threads and cache too."""
    found: dict[str, Any] = {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "numpy": numpy.__version__,
        "backend": default_backend(),
    }
    gpu = _cuda()
    found.update(gpu.find_gpu() if isinstance(gpu, ModuleType) else {"gpu": f"none: {gpu}"})
    if isinstance(_compiled(), Exception):
        return found
    import numba

    from .cpu.cache import folder
    from .cpu.simd import REGISTER_BYTES

    try:
        place = str(folder())
    except OSError as error:
        place = f"none: {error}"
    found.update(numba=numba.__version__, simd_width_bytes=REGISTER_BYTES, threads=numba.get_num_threads())
    return {**found, "cache_folder": place}
