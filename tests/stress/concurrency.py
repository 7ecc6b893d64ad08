# SPDX-License-Identifier: MIT
"""Predictions by several threads at once, and pools of processes after training."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np

from minidistill import MLP, Dataset, fit

SIZES = ((8, 4, 3), (64, 32, 10), (64, 512, 512, 10), (784, 30, 30, 10), (784, 400, 10), (20, 300, 200, 100, 5))
ROWS = (1, 40, 300)


def wrong_predictions(backend, calls, threads, sizes=SIZES, rows=ROWS):
    """The number of `calls` predictions by so many threads that are not those of one thread, over all networks."""
    random = np.random.default_rng(0)
    networks = [MLP(widths, seed=k, backend=backend) for k, widths in enumerate(sizes)]
    cases = []
    for network in networks:
        for count in rows:
            x = random.standard_normal((count, network.sizes[0])).astype(np.float32)
            cases.append((network, x, network.logits(x)))
    chosen = [cases[k % len(cases)] for k in range(calls)]

    def is_wrong(case):
        network, x, expected = case
        return not np.array_equal(network.logits(x), expected)

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(is_wrong, chosen))


def trained(backend, widths=(20, 256, 256, 4)):
    random = np.random.default_rng(0)
    x = random.standard_normal((512, widths[0])).astype(np.float32)
    network = MLP(widths, backend=backend)
    fit(network, Dataset(x, random.integers(0, widths[-1], len(x))), epochs=1, batch_size=256)
    return network, x


def predict_and_train(network, x):
    """The logits that a process computes on two threads, and those after one more epoch there."""
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(network.logits, (x, x))
    twin = network.copy(network.backend)
    fit(twin, Dataset(x, np.arange(len(x)) % network.sizes[-1]), epochs=1, batch_size=256)
    return first, second, twin.logits(x)


def wrong_pools(backend, method, tasks=4):
    """The number of results of a pool of processes, started by `method`, that are not those of this process."""
    network, x = trained(backend)
    expected = predict_and_train(network, x)
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, context) as pool:
        futures = [pool.submit(predict_and_train, network, x) for _ in range(tasks)]
        results = [future.result(timeout=120) for future in futures]
    return sum(not np.array_equal(expected, result) for result in results)


def failed_children(backend, children=3):
    """The number of forked processes, of a network that they inherit, that end with an error."""
    network, x = trained(backend)
    expected = network.logits(x)

    def check():
        results = predict_and_train(network, x)
        raise SystemExit(int(not np.array_equal(results[0], expected)))

    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=check) for _ in range(children)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return sum(process.exitcode != 0 for process in processes)
