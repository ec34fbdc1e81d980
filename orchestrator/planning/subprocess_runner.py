"""Runner: calls functions, each in a fresh process, for its own peak of memory.

SubprocessRunner does so on this machine at little cost: its processes are forked from one that has imported the
packages they need, and nothing else.
"""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Runner(Protocol):
    """Runner: calls functions, each in a fresh process, on the machine that is measured."""

    @property
    def imports(self) -> float:
        """Seconds until a fresh worker has imported the packages that training needs."""

    def __call__(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `function` in its own process; return its result or raise its error, BrokenProcessPool if killed."""


class SubprocessRunner:
    """SubprocessRunner: runs functions of one module, each in a fresh process that has imported it."""

    def __init__(self, module: str) -> None:
        """Start the import of `module` in a process that runs in parallel with the caller."""
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([module])
        self._began = time.perf_counter()
        self._imported = 0.0
        pool = ProcessPoolExecutor(1, self._context)
        self._first = pool.submit(int)
        self._first.add_done_callback(self._note)
        pool.shutdown(wait=False)

    @property
    def imports(self) -> float:
        """Seconds until the first process had imported the module."""
        self._first.result()
        return self._imported

    def __call__(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `function` in its own process; return its result or raise its error, BrokenProcessPool if killed."""
        with ProcessPoolExecutor(1, self._context) as pool:
            return pool.submit(function, *args, **kwargs).result()

    def _note(self, _first: Future[int]) -> None:
        self._imported = time.perf_counter() - self._began
