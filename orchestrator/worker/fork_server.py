"""Fork server: one process per node and run that has imported the packages of training, and forks others from itself.

A fork takes milliseconds and shares the memory of the imports, which take seconds and hundreds of MiB in each process.
The server is single-threaded and touches neither CUDA nor OpenMP: neither survives a fork. A forked process, a child,
reads its settings of threads and devices, and the environment of its worker, after the fork.

Deaths: a child is killed at once when its worker, the raylet or the server dies. The server ends with the raylet, and
`IDLE_SECONDS` after its last child.
"""

import gc
import importlib
import os
import pickle
import select
import signal
import socket
import sys
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from filelock import FileLock

from orchestrator.cluster.session_folder import LOCK_FILE
from orchestrator.worker.raylet_death import die_with_parent

IDLE_SECONDS = 10.0
"""Seconds without a child after which the server ends."""

# Packages of training; those of a task, which a trial imports by name; pandas, which pyarrow imports when it writes.
PRELOADED = ("trainables.loop.train", "trainables.task.classification", "pandas")

# Read by the libraries when they are loaded: without them, each would start a thread.
SINGLE_THREADED = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}


@dataclass(frozen=True)
class ChildSettings:
    """ChildSettings: settings of a worker that its child takes over."""

    environment: dict[str, str]
    folder: str
    """Working directory."""

    target: bytes
    """Pickled object whose methods the worker calls."""


@dataclass(frozen=True)
class CallFailed:
    """CallFailed: answer to a call that has raised an error."""

    traceback: str


@dataclass(frozen=True)
class _Child:
    pid: int
    end: int
    """File descriptor of the process, readable once it has died."""

    connection: socket.socket
    """Connection of the child to its worker. The server only notices its end."""


class ForkServer:
    """ForkServer: forks a child for each connection that it accepts."""

    def __init__(self, listener: socket.socket, path: Path, raylet: int) -> None:
        """Keep the socket, which listens at `path`, and watch the process `raylet`."""
        self._listener = listener
        self._path = path
        self._raylet = os.pidfd_open(raylet)
        self._children: list[_Child] = []
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)
        self._poll.register(self._raylet, select.POLLIN)

    def serve(self) -> None:
        """Fork children until the raylet dies, or none has been needed for some time; then delete the socket."""
        while True:
            ready = {fd for fd, _ in self._poll.poll(None if self._children else IDLE_SECONDS * 1000)}
            if self._raylet in ready:
                for child in self._children:
                    os.kill(child.pid, signal.SIGKILL)
                self._path.unlink(missing_ok=True)
                return
            if not ready and self._has_closed():
                return
            for child in [*self._children]:
                if child.end in ready:
                    self._remove(child)
                elif child.connection.fileno() in ready:
                    self._kill(child)
            if self._listener.fileno() in ready:
                self._fork()

    def _has_closed(self) -> bool:
        """Delete the socket, unless a worker has connected meanwhile."""
        with FileLock(self._path.parent / LOCK_FILE):
            if select.select([self._listener], [], [], 0)[0]:
                return False
            self._path.unlink(missing_ok=True)
            return True

    def _fork(self) -> None:
        connection, _ = self._listener.accept()
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_child(connection, server)
        child = _Child(pid, os.pidfd_open(pid), connection)
        self._poll.register(child.end, select.POLLIN)
        self._poll.register(connection, 0)  # reports the end of the connection alone
        self._children.append(child)

    def _kill(self, child: _Child) -> None:
        """Kill a child whose worker is dead; the kernel may need some time for it."""
        os.kill(child.pid, signal.SIGKILL)
        self._disconnect(child)

    def _remove(self, child: _Child) -> None:
        """Remove a dead child; its worker sees the end of the connection, now that the server has closed it too."""
        os.waitpid(child.pid, 0)
        self._poll.unregister(child.end)
        os.close(child.end)
        self._disconnect(child)
        self._children.remove(child)

    def _disconnect(self, child: _Child) -> None:
        if child.connection.fileno() >= 0:
            self._poll.unregister(child.connection)
            child.connection.close()

    def _become_child(self, connection: socket.socket, server: int) -> NoReturn:
        """Run the calls of a worker in this process, just forked, until its death."""
        try:
            die_with_parent(server)
            self._listener.close()
            os.close(self._raylet)
            for other in self._children:  # their workers would not see the end of their connections
                os.close(other.end)
                other.connection.close()
            run_child(connection)
        except (EOFError, ConnectionError):  # the worker has ended
            pass
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)


def run_child(connection: socket.socket) -> NoReturn:
    """Take over the settings of a worker, send it this process's id, and answer its calls.

    Raises EOFError once the worker has closed the connection.
    """
    _, outputs, _, _ = socket.recv_fds(connection, 1, 2)
    for target, output in enumerate(outputs, start=1):
        os.dup2(output, target)
        os.close(output)
    calls: Connection[Any, Any] = Connection(connection.detach())
    settings: ChildSettings = calls.recv()
    os.environ.clear()
    os.environ.update(settings.environment)
    os.chdir(settings.folder)
    _set_threads()
    target = pickle.loads(settings.target)
    calls.send(os.getpid())
    while True:
        method, arguments = calls.recv()
        try:
            answer = getattr(target, method)(*arguments)
        except Exception:
            # As text: the worker does not import the packages whose exceptions these are.
            answer = CallFailed(traceback.format_exc())
        calls.send(answer)


def _set_threads() -> None:
    """Set the threads of the libraries that are loaded already, as they would have set them when they were loaded."""
    from threadpoolctl import threadpool_limits

    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    threadpool_limits(int(first) if first.isdigit() else len(os.sched_getaffinity(0)))


def preload() -> None:
    """Import the packages of training. Raises RuntimeError where one of them has started a thread."""
    for module in PRELOADED:
        importlib.import_module(module)
    threads = len([*Path("/proc/self/task").iterdir()])
    if threads > 1:
        raise RuntimeError(f"a process that forks must have one thread, got {threads} after the imports of {PRELOADED}")
    # Else a collection in a child would write to the pages of all these objects, and copy them.
    gc.collect()
    gc.freeze()


def run_server(arguments: list[str]) -> None:
    """Serve at a socket that listens already: its file descriptor, its path, and the process id of the raylet."""
    listener, path, raylet = arguments
    if os.fork():
        os._exit(0)  # Ray kills the children of a worker that ends, and other workers need the server
    try:
        server = ForkServer(socket.socket(fileno=int(listener)), Path(path), int(raylet))
        preload()
    except BaseException:
        Path(path).unlink(missing_ok=True)
        raise
    server.serve()
    os._exit(0)  # the packages would print what they leak


if __name__ == "__main__":
    # By the module's own name, under which its classes are pickled.
    importlib.import_module("orchestrator.worker.fork_server").run_server(sys.argv[1:])
