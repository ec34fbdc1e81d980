"""Child processes: one function applied to many arguments on all cores, with the results in order."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import forkserver, resource_tracker
from threading import Thread
from typing import TypeVar

_Argument = TypeVar("_Argument")
_Result = TypeVar("_Result")

IN_FLIGHT = 2
"""Number of arguments per process that are given out before their results are used."""


def start_fork_server(module: str) -> None:
    """Start the process that children are forked from; it imports `module` meanwhile. Does nothing where it runs.

    A plain fork of this process would copy locks that its threads hold. SIGINT stays blocked in the server and in all
    of its children: Ctrl-C reaches this process alone, which ends them.
    """
    multiprocessing.set_forkserver_preload([module])
    resource_tracker.ensure_running()  # the server would start it, and unblock SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def map_in_processes(
    function: Callable[[_Argument], _Result], arguments: Iterable[_Argument], workers: int
) -> Iterator[_Result]:
    """Yield the results of a function of a module, in order, computed in child processes.

    At most IN_FLIGHT arguments per process are taken in advance. Raises what the function raises, and
    BrokenProcessPool where a child dies. The children end with this process, also where it is killed.
    """
    remaining = iter(arguments)
    context = multiprocessing.get_context("forkserver")
    start_fork_server(function.__module__)
    pool = ProcessPoolExecutor(workers, context, initializer=_end_with_parent)
    try:
        coming = deque(pool.submit(function, each) for each in islice(remaining, IN_FLIGHT * workers))
        while coming:
            result = coming.popleft().result()
            coming.extend(pool.submit(function, each) for each in islice(remaining, 1))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    Thread(target=_wait_for_end_of_parent, daemon=True).start()


def _wait_for_end_of_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
