"""Child process of an IsolatedTracker: receives an object, then calls of its methods, and answers each.

Run as `python -m orchestrator.tracking.tracker_host FD`, where FD is the descriptor of an open connection.
"""

import contextlib
import os
import queue
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

import psutil

# A client gets this long for its uploads when its driver has been killed, or has forgotten it.
ORPHAN_SECONDS = 20.0


def host(connection: Connection) -> int:
    """Serve the calls until the other side asks for the end, or is gone; return the exit code."""
    calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, calls), daemon=True).start()
    hosted = calls.get()
    while (call := calls.get()) is not None:
        method, arguments = call
        problem: Exception | None = None
        try:
            getattr(hosted, method)(*arguments)
        except TimeoutError as error:
            problem = TimeoutError(str(error))
        except Exception as error:  # of the client, the network or the disk: the driver explains it
            problem = RuntimeError(f"{type(error).__name__}: {error}")
        with contextlib.suppress(OSError):
            connection.send(problem)
    return 0


def _receive(connection: Connection, calls: "queue.SimpleQueue[Any]") -> None:
    """Put what arrives into the queue; without a driver, end the process even if a call hangs."""
    with contextlib.suppress(OSError, EOFError):
        while (call := connection.recv()) is not None:
            calls.put(call)
    calls.put(None)
    # A client's hook at the end of the process may wait for uploads: this thread lives as long as the hooks run.
    time.sleep(ORPHAN_SECONDS)
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(host(Connection(int(sys.argv[1]))))
