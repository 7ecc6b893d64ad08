# SPDX-License-Identifier: MIT
"""Which module does the arithmetic: chosen by argument, by call, by variable; NumPy where numba cannot start."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import minidistill
from minidistill import MLP, SGD, Adam, kernels, ops
from minidistill.cli import main

pytest.importorskip("numba")


def names_of(module):
    functions = {name: value for name, value in vars(module).items() if callable(value)}
    return {name for name, value in functions.items() if value.__module__ == module.__name__}


def in_a_new_process(code, **variables):
    environment = {**os.environ, **variables}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_a_backend_exports_the_names_of_ops():
    compiled = kernels.load_backend("cpu")
    assert [name for name in names_of(ops) if not callable(getattr(compiled, name, None))] == []


@pytest.mark.parametrize("shape", [0, 1, 37, (2, 45)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_aligned_zeros_begin_with_a_cache_line(shape, dtype):
    zeros = kernels.aligned_zeros(shape, dtype)
    np.testing.assert_array_equal(zeros, np.zeros(shape, dtype), strict=True)
    assert zeros.ctypes.data % kernels.CACHE_LINE == 0


def test_what_training_works_on_begins_with_a_cache_line():
    network = MLP((5, 7, 3), backend="cpu")
    state = SGD().initial_state(network.parameters), Adam().initial_state(network.parameters)
    for array in (network.parameters, network.gradients, *state, network.passes.idle[0].arrays[1]):
        assert array.ctypes.data % kernels.CACHE_LINE == 0


def test_the_argument_goes_before_what_was_chosen():
    assert MLP((3, 2)).ops is ops
    assert MLP((3, 2), backend="cpu").ops is kernels.load_backend("cpu")


def test_use_backend_rules_the_networks_that_are_made_from_then_on():
    before = MLP((3, 2))
    minidistill.use_backend("cpu")
    try:
        assert MLP((3, 2)).ops is kernels.load_backend("cpu")
        assert before.ops is ops
    finally:
        minidistill.use_backend("numpy")


def test_one_thread_is_enough_for_a_while():
    import numba

    before = numba.get_num_threads()
    with pytest.raises(KeyError), kernels.one_thread("cpu"):
        assert numba.get_num_threads() == 1
        raise KeyError
    assert numba.get_num_threads() == before


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="backend must be one of 'numpy', 'cpu', 'cuda', 'auto', got 'abacus'"):
        minidistill.use_backend("abacus")
    assert kernels.default_backend() == "numpy"


def test_the_variable_names_the_default():
    code = "import minidistill; print(minidistill.MLP((3, 2)).ops.__name__)"
    assert in_a_new_process(code, MINIDISTILL_BACKEND="numpy").stdout.strip() == "minidistill.ops"
    assert in_a_new_process(code, MINIDISTILL_BACKEND="cpu").stdout.strip() == "minidistill.kernels.cpu"
    assert in_a_new_process(code, MINIDISTILL_BACKEND="").stdout.strip() == "minidistill.kernels.cpu"
    assert "MINIDISTILL_BACKEND must be one of" in in_a_new_process(code, MINIDISTILL_BACKEND="abacus").stderr


def test_where_numba_is_missing_numpy_serves_and_one_warning_says_so():
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import minidistill as m\n"
        "print([m.MLP((3, 2)).ops.__name__ for _ in range(3)])\n"
        "m.MLP((3, 2), backend='cpu')"
    )
    done = in_a_new_process(code)
    assert done.stdout.count("minidistill.ops") == 3
    assert done.stderr.count("numba cannot start, so NumPy does the arithmetic") == 1
    assert "ImportError: backend 'cpu' cannot start" in done.stderr


def test_info_tells_what_does_the_arithmetic(capsys):
    assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["numpy"] == np.__version__
    assert found["backend"] == "numpy"
    assert found["simd_width_bytes"] in (16, 32, 64)
    assert found["threads"] >= 1
    assert "minidistill" in found["cache_folder"]


def test_auto_takes_what_serves_without_a_card_and_one_warning_says_why():
    code = (
        "import sys; sys.modules['numba_cuda'] = None\n"
        "import minidistill as m\n"
        "print([m.MLP((3, 2), backend='auto').backend for _ in range(3)])\n"
        "m.use_backend('auto'); print(m.MLP((3, 2)).backend)\n"
        "m.MLP((3, 2), backend='cuda')"
    )
    done = in_a_new_process(code)
    assert done.stdout.split("\n")[:2] == ["['cpu', 'cpu', 'cpu']", "cpu"]
    assert done.stderr.count("backend 'auto' takes 'cpu', for 'cuda' cannot start: numba-cuda is not installed") == 1
    assert "ImportError: backend 'cuda' cannot start: numba-cuda is not installed: pip install" in done.stderr


def test_the_card_is_not_looked_for_until_it_is_asked_for():
    code = "import sys, minidistill as m; m.MLP((3, 2), backend='cpu'); print('numba.cuda.cudadrv' in sys.modules)"
    assert in_a_new_process(code).stdout.strip() == "False"


def test_each_command_takes_a_backend(capsys):
    code = "from minidistill.cli import main; main(['info', '--backend', 'numpy', '--json'])"
    assert json.loads(in_a_new_process(code, MINIDISTILL_BACKEND="cpu").stdout)["backend"] == "numpy"
    assert main(["info", "--backend", "abacus"]) == 2
    assert "backend must be one of 'numpy', 'cpu', 'cuda', 'auto', got 'abacus'" in capsys.readouterr().err


def test_info_tells_of_the_card_or_what_is_missing_for_one(capsys):
    main(["info", "--json"])
    assert json.loads(capsys.readouterr().out)["gpu"]
