# SPDX-License-Identifier: MIT
"""The command info: machine, versions and compute backend."""

import argparse
import contextlib

from .. import __version__
from .options import Option, command
from .printing import log, print_result


@command("print machine, versions and compute backend", """\
Machine, versions, backend, the GPU or what is missing for one, width of the vectors, threads, and the folder where
compiled kernels are kept.""",
    Option("--compile", action="store_true", help="compile the kernels now, and not when first used"),
)  # fmt: skip
def info(options: argparse.Namespace) -> None:
    from ..kernels import describe

    if options.compile:
        log("compiling the kernels for this machine, once ...")
        compile_kernels()
    found = {"minidistill": __version__, **describe()}
    width = max(map(len, found))
    lines = (f"{name.replace('_', ' '):{width}}  {value}" for name, value in found.items())
    print_result(options, found, "\n".join(lines))


def compile_kernels() -> None:
    """Compiles the kernels of training and prediction in float32, in about half a minute; they are kept on disk."""
    import numpy as np

    from ..data import Dataset
    from ..kernels import load_backend
    from ..network import MLP
    from ..training.loop import fit

    with contextlib.suppress(ImportError):  # numba is missing or cannot start, as `info` prints
        load_backend("cpu")
        data = Dataset(np.eye(4, dtype=np.float32), np.arange(4) % 2)
        network = MLP((4, 3, 2), backend="cpu")
        fit(network, data, epochs=1, batch_size=2, validation=data)
        network.predict_proba(data.x)
