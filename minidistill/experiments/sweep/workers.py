# SPDX-License-Identifier: MIT
"""The workers that train a sweep's points: local processes, a Dask cluster, or any executor."""

import re
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from queue import SimpleQueue

from ...support.processes import own_processes, usable_cores
from ...support.progress import with_bar
from .point import Common, Point, Setting

Submit = Callable[[Setting], "Future[Point]"]
CONNECTING = 5  # seconds that a Dask scheduler has to answer, and then its workers


@contextmanager
def started_workers(executor: Executor | str | None, common: Common, points: int) -> Iterator[Submit]:
    """What trains points: a function from a setting to the future of its point."""
    if executor is None:
        executor = f"processes:{min(usable_cores(), points)}"
    if isinstance(executor, Executor):
        yield lambda setting: executor.submit(Common.train, common, setting)
        return
    kind, _, rest = executor.partition(":") if isinstance(executor, str) else ("", "", "")
    if kind == "processes" and rest.isdecimal() and int(rest) > 0:
        with own_processes(int(rest), common) as submit:
            yield lambda setting: submit(_train_without_warnings, setting)
    elif kind == "dask" and re.fullmatch(r"//[^/\s]+:\d+", rest):
        with _dask(rest.removeprefix("//"), common) as submit:
            yield submit
    else:
        raise ValueError(
            f"executor must be 'processes:N', 'dask://HOST:PORT' or a concurrent.futures.Executor, got {executor!r}"
        )


@contextmanager
def _dask(address: str, common: Common) -> Iterator[Submit]:
    """The workers of a Dask cluster, to each of which `common` is sent once."""
    try:
        from distributed import Client
    except ImportError:
        raise ImportError("executor 'dask://...' needs Dask: pip install 'minidistill[dask]'") from None
    try:
        host, port = address.rsplit(":", 1)
        with socket.create_connection((host.strip("[]"), port), CONNECTING) as greeting:
            if not greeting.recv(1):  # a scheduler speaks first; for a server that is none, Client would wait for ever
                raise ConnectionResetError("the connection was closed")
        client = Client(f"tcp://{address}", timeout=CONNECTING, set_as_default=False)
    except OSError as error:
        raise ConnectionError(f"executor: no Dask scheduler answers at {address}: {error}") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECTING)
        except TimeoutError:
            raise ConnectionError(f"executor: the Dask scheduler at {address} has no workers") from None
        sent = client.scatter(common, broadcast=True, hash=False)
        pool = client.get_executor(pure=False)
        yield lambda setting: pool.submit(Common.train, sent, setting)


def _train_without_warnings(common: Common, setting: Setting) -> Point:
    """The point at `setting`, in a process of our own: the one that started it has given the warnings."""
    warnings.simplefilter("ignore", UserWarning)
    return common.train(setting)


def train_all(settings: Sequence[Setting], submit: Submit, finish: Callable[[Point], None], bar: bool | None) -> None:
    """Hands out the settings, and takes each point as soon as it is there."""
    waiting, futures = iter(settings), list[Future[Point]]()
    done: SimpleQueue[Future[Point]] = SimpleQueue()
    try:
        for _ in with_bar(range(len(settings)), bar, "point"):
            while done.empty() and (setting := next(waiting, None)) is not None:
                futures.append(submit(setting))
                futures[-1].add_done_callback(done.put)
            finish(done.get().result())
    finally:
        for future in futures:
            future.cancel()
