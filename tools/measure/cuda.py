# SPDX-License-Identifier: MIT
"""Compiles every CUDA kernel for the cards of ptx.py, which needs none, and writes docs/evidence/results/cuda.json.

It takes some three minutes: `make ptx` runs it, and quotes the table. What a card does with them in time is measured by
measure_cuda_bench.py.
"""

import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import ptx  # noqa: E402

RESULTS = ROOT / "docs" / "evidence" / "results" / "cuda.json"


def measured() -> dict[str, Any]:
    """A report a kernel and capability, and with what it was compiled."""
    versions = {name: importlib.metadata.version(name) for name in ("numba", "numba-cuda", "nvidia-cuda-nvcc")}
    rows = []
    for name, (kernel, types) in ptx.kernels(np.float32).items():
        for capability in ptx.CAPABILITIES:
            report = ptx.report(kernel, types, capability)._asdict()
            rows.append({"kernel": name, "capability": ".".join(map(str, capability)), **report})
            print(rows[-1])
    settings = {"command": "python tools/measure/cuda.py", "dtype": "float32"}
    return {"settings": settings, "versions": versions, "kernels": rows}


if __name__ == "__main__":
    RESULTS.write_text(json.dumps(measured(), indent=1) + "\n")
