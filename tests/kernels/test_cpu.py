# SPDX-License-Identifier: MIT
"""The CPU backend as a whole: it has the names of ops.py, and its float32 kernels compute in float32."""

import inspect
import os
import re
import subprocess
import sys

import pytest

from minidistill import ops
from minidistill.kernels import cpu

pytestmark = pytest.mark.compiles


def test_every_name_of_ops_is_here_with_the_same_arguments():
    for name, function in vars(ops).items():
        if inspect.isfunction(function) and name != "hash32":
            mine = inspect.signature(getattr(cpu, name)).parameters.values()
            options = [one.name for one in mine if one.kind is not one.KEYWORD_ONLY]  # threads, say, are options
            assert options == list(inspect.signature(function).parameters), name


EVERY_KERNEL = """
import sys

import numpy as np
from minidistill.kernels import cpu
from minidistill.kernels.cpu.cache import KernelCache

rows, z = np.arange(3), np.ones((3, 8), np.float32)
w, parameters = z[0].copy(), np.zeros(76, np.float32)
gradients, state = parameters.copy(), np.zeros((2, 76), np.float32)
plan = cpu.plan((8, 4, 8), "gelu", (0.1, 0.2), batch=3)
cpu.backward(plan, parameters, gradients, z, cpu.forward(plan, parameters, z, True))
cpu.train_steps(plan, parameters, gradients, state, z, rows, 3, [0.1], rows)
cpu.linear_forward(z, np.eye(8, dtype=np.float32), w)
cpu.relu_backward(z, cpu.relu_forward(z)[1])
cpu.dropout_mask((3, 8), 0.5, 0, 0, 0)
cpu.softmax_backward(z, cpu.softmax_forward(z, 4.0)[1])
cpu.distillation_loss(z, z, rows, 4.0, 0.5)
cpu.top_k_target_forward(z, rows[:, None], z[:, :1], 4.0)
cpu.sgd_update(w, w + 1, w.copy(), 0.1)
cpu.clip_norm(w, 1.0)
cpu.max_norm(z, 1.0)
modules = [module for name, module in sys.modules.items() if name.startswith("minidistill.kernels.cpu.")]
everything = [pair for module in modules for pair in vars(module).items()]
kernels = {name: value for name, value in everything if isinstance(getattr(value, "_cache", None), KernelCache)}
print("NOT COMPILED", [name for name, kernel in kernels.items() if not kernel.signatures])
"""
DOUBLE = re.compile(r" = f(add|sub|mul|div|rem)\b.*\bdouble\b|call .*@\"llvm\.\w+\.(v\d+)?f64|call double @")
ON_CONSTANTS = re.compile(r" = f\w+ double [0-9][^%]*$")  # -87.3, say: never computed when the kernel runs


@pytest.fixture(scope="module")
def functions_in_float32(tmp_path_factory):
    """LLVM's code of each function of every float32 kernel, by its name, before one is merged into another.

    It is there only where numba compiles: so that happens in a process that finds nothing on the disk.
    """
    apart = {"NUMBA_DUMP_LLVM": "1", "NUMBA_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))}
    done = subprocess.run(
        [sys.executable, "-c", EVERY_KERNEL], env=os.environ | apart, capture_output=True, text=True, check=True
    )
    assert "NOT COMPILED []" in done.stdout
    parts = re.split(r"-*LLVM DUMP <function descriptor '([^'$]*).*\n", done.stdout)
    functions = {}
    for name, code in zip(parts[1::2], parts[2::2], strict=True):
        functions.setdefault(name, []).extend(code.splitlines())
    return functions


ONCE_A_LAYER_OR_A_STEP = {
    "make_mask": "a rate becomes a threshold of 32 bits, and float32 holds 24",
    "make_update": "1 - beta**step: of the digits of 0.999 that float32 keeps, three are lost when it is taken from 1",
    "int_power_impl.<locals>.int_power": "beta**step, as numba compiles it",
    "np_arange.<locals>.impl": "np.arange finds its length so",
}


@pytest.mark.one_width
def test_float32_kernels_hold_no_double_arithmetic(functions_in_float32):
    """The settings of an optimizer come as doubles and are converted once a step; what is done to rows never is."""
    parts = {"exp", "adam", "make_loss.<locals>.loss_of", "make_product.<locals>.part", "top_k_row", "_train_steps"}
    assert parts <= set(functions_in_float32), "not every function is looked at"
    for name, code in functions_in_float32.items():
        found = [line for line in code if DOUBLE.search(line) and not ON_CONSTANTS.search(line)]
        assert not found or name in ONCE_A_LAYER_OR_A_STEP, f"{name} computes in double: {found[0]}"
    for name in ONCE_A_LAYER_OR_A_STEP:
        assert any(DOUBLE.search(line) for line in functions_in_float32[name]), f"{name} needs no exception"
