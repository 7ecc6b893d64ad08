# SPDX-License-Identifier: MIT
"""The engine room: which module does the arithmetic.

A backend is a module: it exports the function names of `minidistill.ops` with the same arguments, and the code above
cannot tell which one it has. Today there is one, "numpy", which is `ops` itself.
"""

from types import ModuleType

from .. import ops
from ..checks import check_choice

BACKENDS = ("numpy",)


def load_backend(name: str = "numpy") -> ModuleType:
    """The module behind a backend's name; ValueError for a name that is none."""
    check_choice("backend", name, BACKENDS)
    return ops
