# SPDX-License-Identifier: MIT
"""10,000 predictions by several threads are those of one thread; every pool of processes after training finishes."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import concurrency
import pytest

BACKENDS = ("numpy", pytest.param("cpu", marks=pytest.mark.compiles))
CALLS = {"numpy": 667, "cpu": 2667}  # for each of three numbers of threads: 10,000 in all
IN_WORKQUEUE = "import concurrency; assert concurrency.wrong_predictions('cpu', 300, 8) == 0"
TRAIN_IN_WORKQUEUE = "import concurrency; assert concurrency.wrong_pools('cpu', 'fork') == 0"


@pytest.mark.parametrize("threads", [2, 4, 8])
@pytest.mark.parametrize("backend", BACKENDS)
def test_threads_that_share_a_network_get_the_logits_of_one_thread(backend, threads):
    assert concurrency.wrong_predictions(backend, CALLS[backend], threads) == 0


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@pytest.mark.parametrize("backend", BACKENDS)
def test_pools_of_processes_after_training_finish_with_the_same_bits(backend, method):
    assert concurrency.wrong_pools(backend, method) == 0


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("backend", BACKENDS)
def test_forked_processes_use_a_network_that_they_inherit(backend):
    assert concurrency.failed_children(backend) == 0


@pytest.mark.compiles
@pytest.mark.parametrize("code", [IN_WORKQUEUE, TRAIN_IN_WORKQUEUE])
def test_the_workqueue_layer_takes_calls_by_several_threads(code):
    environment = {**os.environ, "NUMBA_THREADING_LAYER": "workqueue", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "ignore", "-c", code]
    result = subprocess.run(
        command, env=environment, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
