# SPDX-License-Identifier: MIT
"""The points of a sweep are the same wherever they are trained."""

import multiprocessing
import os
import socket
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from sweeps import GRID, TRAINING, VALIDATION, Serial, found

from minidistill import use_backend
from minidistill.experiments.sweep import sweep


@pytest.mark.parametrize("executor", ["processes:2", None])
def test_processes_find_the_same(teacher, serial, executor):
    before = dict(os.environ)
    assert found(sweep(teacher, TRAINING, VALIDATION, executor=executor, **GRID)) == found(serial)
    assert dict(os.environ) == before


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_any_executor_finds_the_same_and_stays_open(teacher, serial, pool):
    options = {"mp_context": multiprocessing.get_context("spawn")} if pool is ProcessPoolExecutor else {}
    with pool(2, **options) as executor:
        assert found(sweep(teacher, TRAINING, VALIDATION, executor=executor, **GRID)) == found(serial)
        assert executor.submit(len, "open").result() == 4


@pytest.mark.compiles
@pytest.mark.one_width
def test_compiled_kernels_find_the_same_in_every_process(teacher):
    import numba

    use_backend("cpu")
    try:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
        here = sweep(teacher, TRAINING, VALIDATION, executor=Serial(), **GRID)
        assert numba.get_num_threads() == numba.config.NUMBA_NUM_THREADS
        assert found(sweep(teacher, TRAINING, VALIDATION, executor="processes:2", **GRID)) == found(here)
        assert here.settings["backend"] == "cpu"
    finally:
        use_backend("numpy")


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    local = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": ":0"}
    with distributed.LocalCluster(protocol="tcp://", **local) as cluster:  # over sockets: all that is sent is pickled
        yield cluster


def test_dask_finds_the_same(teacher, serial, cluster):
    address = cluster.scheduler_address.replace("tcp://", "dask://")
    assert found(sweep(teacher, TRAINING, VALIDATION, executor=address, **GRID)) == found(serial)


def test_an_executor_of_dask_finds_the_same(teacher, serial, cluster):
    with cluster.get_client() as client:
        executor = client.get_executor()
        assert found(sweep(teacher, TRAINING, VALIDATION, executor=executor, **GRID)) == found(serial)


def test_a_cluster_without_workers_is_told_of(teacher, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr("minidistill.experiments.sweep.workers.CONNECTING", 0.3)
    local = {"n_workers": 0, "processes": False, "dashboard_address": ":0", "protocol": "tcp://"}
    with distributed.LocalCluster(**local) as empty, pytest.raises(ConnectionError, match="has no workers"):
        address = empty.scheduler_address.replace("tcp://", "dask://")
        sweep(teacher, TRAINING, VALIDATION, executor=address, **GRID)


@pytest.mark.parametrize("listening", [True, False])
def test_an_address_without_a_scheduler_is_told_of_at_once(teacher, monkeypatch, listening):
    pytest.importorskip("distributed")
    monkeypatch.setattr("minidistill.experiments.sweep.workers.CONNECTING", 0.3)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        if listening:
            mute.listen()
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        start = time.perf_counter()
        with pytest.raises(ConnectionError, match=f"no Dask scheduler answers at {address}"):
            sweep(teacher, TRAINING, VALIDATION, executor=f"dask://{address}", **GRID)
    assert time.perf_counter() - start < 5


def test_without_dask_one_is_told_how_to_get_it(teacher, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install 'minidistill\[dask\]'"):
        sweep(teacher, TRAINING, VALIDATION, executor="dask://127.0.0.1:8786", **GRID)
