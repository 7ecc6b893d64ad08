# SPDX-License-Identifier: MIT
"""How many threads kernels run on, in forked processes too, and which layer of numba's they run in."""

import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("numba")

pytestmark = [pytest.mark.compiles, pytest.mark.one_width]

PREDICTS = "import minidistill; print(minidistill.MLP((8, 4), backend='cpu').logits([[0.0] * 8]).shape)"


def in_a_new_process(code, **variables):
    environment = {**os.environ, **variables}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["threads", "tbb"])  # unknown; and not installed
def test_a_threading_layer_that_cannot_start_is_replaced_with_one_warning(name):
    if name == "tbb" and in_a_new_process(PREDICTS, NUMBA_THREADING_LAYER=name).stderr == "":
        pytest.skip("tbb is installed")
    result = in_a_new_process(PREDICTS, NUMBA_THREADING_LAYER=name)
    assert result.stdout == "(1, 4)\n", result.stderr
    assert result.stderr.count("Warning") == 1
    assert f"NUMBA_THREADING_LAYER={name} cannot be used, numba's default layer is used instead" in result.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_uses_one_thread_for_old_and_new_networks_and_for_a_backward_pass_begun_before():
    code = """
import os
import numpy as np
from minidistill import MLP
from minidistill.kernels import threads

network = MLP((64, 256, 256, 10), backend="cpu")
x = np.ones((300, 64), np.float32)
expected, cache = network.forward(x, training=True)
counts = [plan.arrays[0] for plan in (*network.passes.idle, cache.plan)]
child = os.fork()
if child == 0:
    assert [int(count[0]) for count in counts] == [1, 1]
    network.backward(np.ones_like(expected), cache)
    for one in (network, network.copy("cpu")):
        assert np.array_equal(one.forward(x)[0], expected)
    assert threads.usable_threads() == 1
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert threads.usable_threads() >= 1
"""
    result = in_a_new_process(code)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("rows", [3, 400])
def test_top_k_targets_have_the_same_bits_on_any_number_of_threads(rows):
    import numba

    from minidistill.kernels import cpu

    random = np.random.default_rng(0)
    s, indices = random.standard_normal((rows, 50)).astype(np.float32), np.tile([3, 1], (rows, 1))
    results = []
    before = numba.get_num_threads()
    for count in (1, before):
        numba.set_num_threads(count)
        results.append(cpu.top_k_target_forward(s, indices, np.full((rows, 2), -1.0, np.float32), 2.0))
    numba.set_num_threads(before)
    assert results[0][0] == results[1][0]
    np.testing.assert_array_equal(results[0][1], results[1][1])
