"""Refresher: one thread of low priority that reads and renders for all pages, within a share of a core."""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from enum import Enum, auto
from typing import Any, TypeVar

Made = TypeVar("Made")

# A sweep on the same machine comes first.
_NICENESS = 10


class Lane(Enum):
    """Lane: a queue of work that may take a share of one core."""

    FIRST = auto()
    """Work that a user waits for, as the first page of a run."""

    QUICK = auto()
    """Table of the trials and their curves, which change with each epoch."""

    SLOW = auto()
    """All other figures."""


_SHARES = {Lane.FIRST: 1.0, Lane.QUICK: 0.05, Lane.SLOW: 0.03}
_SAVED_SECONDS = 10.0


class Refresher:
    """Refresher: does one piece of work at a time, the oldest of the first lane that is due.

    After a piece that took `used` seconds of the processor its lane rests, so that it takes no more than its share. A
    lane without work saves some seconds of rest, so that the first use of a library delays no page.
    """

    def __init__(self) -> None:
        self._queues: dict[Lane, deque[tuple[Callable[[], Any], Future[Any]]]] = {lane: deque() for lane in Lane}
        self._due = dict.fromkeys(Lane, 0.0)
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="refresher", daemon=True).start()

    def ask(self, lane: Lane, work: Callable[[], Made]) -> Future[Made]:
        """Add a piece of work; the future has its result, or the exception that it raised."""
        done: Future[Made] = Future()
        with self._changed:
            self._queues[lane].append((work, done))
            self._changed.notify()
        return done

    def _run(self) -> None:
        if sys.platform == "linux":  # elsewhere a thread has no priority of its own
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while True:
            lane, work, done = self._next()
            before = time.process_time()
            try:
                done.set_result(work())
            except Exception as error:  # raised again where the result is read
                done.set_exception(error)
            rest = (time.process_time() - before) / _SHARES[lane]
            self._due[lane] = max(self._due[lane], time.monotonic() - _SAVED_SECONDS) + rest

    def _next(self) -> tuple[Lane, Callable[[], Any], Future[Any]]:
        """Wait for a piece of work that is due, and take it from its queue."""
        with self._changed:
            while True:
                waiting = [lane for lane in Lane if self._queues[lane]]
                now = time.monotonic()
                for lane in waiting:
                    if self._due[lane] <= now:
                        return lane, *self._queues[lane].popleft()
                self._changed.wait(min((self._due[lane] for lane in waiting), default=now + 3600) - now)
