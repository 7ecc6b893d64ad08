# SPDX-License-Identifier: MIT
"""Compiled kernels on disk: a process that finds them there starts in milliseconds, not after seconds of compiling.

numba can do this, but it looks at one source file only: edit a formula in rows.py and the kernel of cpu.py that uses it
would be loaded as it was. So the name of our folder holds a hash of all that goes into a kernel: every source file
here but those of the card, the versions of numba and LLVM, and the processor. What is edited or upgraded gets a new
folder.

A cache must never be in the way. Where no folder can be written, kernels are compiled anew in each process; a damaged
entry is compiled again.

And it must never mix things up. A kernel calls its parts by names, and numba tells functions of one name apart, such as
those that matmul.py makes for blocks of one and of two Vectors, by a number that each gets when it is compiled. Numba
counts from 1 in every process: what came from the disk and what was compiled just now would share names, and the linker
would take either for the other. Our counts begin at random, and do not meet.
"""

import functools
import hashlib
import itertools
import os
import sys
import warnings
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm
import numba
from numba.core import config
from numba.core.bytecode import FunctionIdentity
from numba.core.caching import CompileResultCacheImpl, FunctionCache, UserProvidedCacheLocator

from ..files import cache_folder
from . import simd

FunctionIdentity._unique_ids = itertools.count(int.from_bytes(os.urandom(6)))


def fingerprint():
    """A short hash of everything that a compiled kernel depends on."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    parts = [source.read_bytes() for source in sources if not source.stem.startswith(("cuda", "ptx"))]
    parts += [numba.__version__, llvmlite.__version__, sys.version, llvm.get_host_cpu_name(), simd.REGISTER_BYTES]
    parts += [simd.BYTE_PRODUCTS, llvm.get_host_cpu_features().flatten(), config.BOUNDSCHECK, config.OPT]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else str(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def folder():
    """Where these kernels are kept for this machine; NUMBA_CACHE_DIR or XDG_CACHE_HOME choose another parent."""
    return cache_folder(config.CACHE_DIR) / fingerprint()


class OurFolder(CompileResultCacheImpl):
    """numba's choice of a folder: ours or none, for one beside the sources would not know when they change."""

    _locator_classes = (UserProvidedCacheLocator,)


class KernelCache(FunctionCache):
    """numba's cache, except that nothing that goes wrong with a file is an error."""

    _impl_class = OurFolder

    def load_overload(self, signature, target_context):
        try:
            return super().load_overload(signature, target_context)
        except Exception:  # a damaged pickle can raise anything
            self._start_afresh()
            return None

    def save_overload(self, signature, data):
        try:
            super().save_overload(signature, data)
        except Exception:  # a full disk, say: the kernel is compiled and works all the same
            self._start_afresh()

    def _start_afresh(self):
        try:
            self.flush()
        except OSError:
            pass


@functools.cache
def _warn_once(reason):
    message = f"kernels are compiled in each process anew, which takes about a minute: {reason}"
    warnings.warn(message, RuntimeWarning, stacklevel=3)


def kept_on_disk(kernel):
    """The numba function `kernel`, with its machine code kept in `folder()` if that can be written."""
    before = config.CACHE_DIR
    try:
        config.CACHE_DIR = str(folder())
        kernel._cache = KernelCache(kernel.py_func)
    except OSError as error:
        _warn_once(str(error))
    except RuntimeError:  # numba's, where the folder cannot be made
        _warn_once(f"{config.CACHE_DIR} cannot be written: set XDG_CACHE_HOME to another folder for caches")
    finally:
        config.CACHE_DIR = before
    return kernel
