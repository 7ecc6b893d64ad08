# SPDX-License-Identifier: MIT
"""Compiled kernels on disk: a process that finds them there starts in milliseconds, not after seconds of compiling.

numba can do this, but it looks at one source file only: edit a formula in rows.py, and the kernel of another file
that uses it would be loaded as it was. So the name of our folder holds a hash of all that goes into a kernel: every
source file of kernels/ but those of cuda/, the versions of numba and LLVM, and the processor. What is edited or
upgraded gets a new folder.

A cache must never be in the way. Where no folder can be written, kernels are compiled anew in each process. Machine
code with a flipped bit can end the process, so each entry begins with its hash: a damaged one is compiled again.

It must run nothing that another user wrote: an entry is a pickle. So the folder and the files in it must belong to this
user, and no one else may write there.

And it must never mix things up. A kernel calls its parts by names, and numba tells functions of one name apart, such as
those that matmul.py makes for blocks of one and of two Vectors, by a number that each gets when it is compiled. Numba
counts from 1 in every process: what came from the disk and what was compiled just now would share names, and the linker
would take either for the other. Our counts begin at random, and do not meet.
"""

import functools
import hashlib
import itertools
import os
import pickle
import sys
import warnings
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm
import numba
from numba.core import config
from numba.core.bytecode import FunctionIdentity
from numba.core.caching import CompileResultCacheImpl, FunctionCache, UserProvidedCacheLocator
from numba.core.serialize import dumps

from ...support.files import cache_folder, replacing
from ..threads import guarded
from . import simd

KERNELS = Path(__file__).parent.parent
REMEDY = "set XDG_CACHE_HOME to another folder for caches"

FunctionIdentity._unique_ids = itertools.count(int.from_bytes(os.urandom(6)))


def fingerprint():
    """A short hash of everything that a compiled kernel depends on."""
    sources = sorted(path for path in KERNELS.rglob("*.py") if "cuda" not in path.parts)
    parts = [source.read_bytes() for source in sources]
    parts += [numba.__version__, llvmlite.__version__, sys.version, llvm.get_host_cpu_name(), simd.REGISTER_BYTES]
    parts += [simd.BYTE_PRODUCTS, llvm.get_host_cpu_features().flatten(), config.BOUNDSCHECK, config.OPT]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else str(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def folder():
    """Where these kernels are kept for this machine; NUMBA_CACHE_DIR or XDG_CACHE_HOME choose another parent."""
    parent = os.environ.get("NUMBA_CACHE_DIR", "")  # numba would also read a file in the working folder
    return cache_folder(parent) / fingerprint()


def own_folder():
    """That folder, made if need be, for this user alone; PermissionError where it is another user's."""
    place = folder()
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not place.is_symlink() and _is_ours(place.lstat()):
            place.chmod(0o700)
            return place
    except OSError:
        raise OSError(f"{place} cannot be written: {REMEDY}") from None
    raise PermissionError(f"{place} was made by another user: {REMEDY}")


def _is_ours(status):
    return not hasattr(os, "geteuid") or status.st_uid == os.geteuid()


class OurFolder(CompileResultCacheImpl):
    """numba's choice of a folder: ours or none, for one beside the sources would not know when they change."""

    _locator_classes = (UserProvidedCacheLocator,)


class Entries:
    """The files of one kernel, one for each signature: a hash of the entry's key and content, then the content.

    numba keeps an index beside numbered files. Two processes that write it at once can leave the number of one
    signature with the machine code of another; a file that is named after its key needs no index.
    """

    def __init__(self, folder, name, stamp):
        self.folder, self.name, self.stamp = Path(folder), name, stamp

    def _key_and_path(self, key):
        hashed = hashlib.sha256(repr((self.stamp, key)).encode()).digest()
        return hashed, self.folder / f"{self.name}.{hashed.hex()[:16]}.nbc"

    def load(self, key):
        """The content saved under `key`; None where there is none or it is damaged."""
        hashed, path = self._key_and_path(key)
        try:
            with open(path, "rb") as stream:
                entry = stream.read() if _is_ours(os.fstat(stream.fileno())) else b""
        except OSError:
            return None
        digest, content = entry[:HASH_BYTES], entry[HASH_BYTES:]
        is_whole = digest == hashlib.sha256(hashed + content).digest()
        return pickle.loads(content) if is_whole else None  # a file of this user, see above  # nosec B301

    def save(self, key, data):
        hashed, path = self._key_and_path(key)
        content = dumps(data)
        path.unlink(missing_ok=True)
        with replacing(path) as stream:
            path.parent.joinpath(stream.name).chmod(0o600)
            stream.write(hashlib.sha256(hashed + content).digest() + content)

    def flush(self):
        for path in self.folder.glob(f"{self.name}.*.nbc"):
            path.unlink(missing_ok=True)


HASH_BYTES = hashlib.sha256().digest_size


class KernelCache(FunctionCache):
    """numba's cache with files of our own; nothing that goes wrong with one of them is an error."""

    _impl_class = OurFolder

    def __init__(self, function):
        super().__init__(function)
        locator = self._impl.locator
        self._cache_file = Entries(locator.get_cache_path(), self._impl.filename_base, locator.get_source_stamp())

    def load_overload(self, signature, target_context):
        try:
            return super().load_overload(signature, target_context)
        except Exception:  # an entry of another machine, say, in a shared folder: the kernel is compiled
            return None

    def save_overload(self, signature, data):
        try:
            super().save_overload(signature, data)
        except Exception:  # a full disk, say: the kernel is compiled and works all the same
            pass


@functools.cache
def _warn_once(reason):
    message = f"kernels are compiled in each process anew, which takes about a minute: {reason}"
    warnings.warn(message, RuntimeWarning, stacklevel=3)


def kept_on_disk(kernel):
    """The numba function `kernel`, with its machine code kept in `folder()` if that can be written."""
    before = config.CACHE_DIR
    try:
        config.CACHE_DIR = str(own_folder())
        kernel._cache = KernelCache(kernel.py_func)
    except OSError as error:
        _warn_once(str(error))
    except RuntimeError:  # numba's, where the folder cannot be made
        _warn_once(f"{config.CACHE_DIR} cannot be written: {REMEDY}")
    finally:
        config.CACHE_DIR = before
    return kernel


def kernel(function, **options):
    """`function`, compiled for Python to call: guarded, and with its machine code on disk."""
    return guarded(kept_on_disk(numba.njit(**options)(function)))


parallel_kernel = functools.partial(kernel, parallel=True)
