"""Child process of an IsolatedTracker: receives an object, then calls of its methods, and answers each.

Run as `python -m orchestrator.tracking.tracker_host FD [PACKAGE]`, where FD is the descriptor of an open connection.
"""

import contextlib
import importlib
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import psutil

# A client gets this long for its uploads when its driver has been killed, or has forgotten it.
ORPHAN_SECONDS = 20.0


def host(connection: Connection, on_ready: Callable[[], object], on_end: Callable[[], object]) -> int:
    """Serve the calls until the other side asks for the end, or is gone; return the exit code.

    `on_ready` is called when the object is here. `on_end` is called in another thread when no more calls can arrive,
    also while a call hangs.
    """
    calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, calls, on_end), daemon=True).start()
    hosted = calls.get()
    _answer(connection, on_ready)
    while (call := calls.get()) is not None:
        method, arguments = call
        _answer(connection, partial(getattr(hosted, method), *arguments))
    return 0


def _answer(connection: Connection, call: Callable[[], object]) -> None:
    problem: Exception | None = None
    try:
        call()
    except TimeoutError as error:
        problem = TimeoutError(str(error))
    except Exception as error:  # of the client, the network or the disk: the driver explains it
        problem = RuntimeError(f"{type(error).__name__}: {error}")
    with contextlib.suppress(OSError):
        connection.send(problem)


def end_late() -> None:
    """End this process and its children after ORPHAN_SECONDS, should it not have ended by itself."""
    # A client's hook at the end of the process may wait for uploads: this thread lives as long as the hooks run.
    time.sleep(ORPHAN_SECONDS)
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    os._exit(1)


def _receive(connection: Connection, calls: "queue.SimpleQueue[Any]", on_end: Callable[[], object]) -> None:
    with contextlib.suppress(OSError, EOFError):
        while (call := connection.recv()) is not None:
            calls.put(call)
    calls.put(None)
    on_end()


if __name__ == "__main__":
    for package in sys.argv[2:]:
        importlib.import_module(package)
    # From now on trials come first; before, a busy machine would take a minute for the imports.
    sys.exit(host(Connection(int(sys.argv[1])), partial(os.nice, 10), end_late))
