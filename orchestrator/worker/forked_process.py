"""ForkedProcess: process of a worker that computes, forked from the fork server of the node."""

import logging
import os
import signal
import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import ray
from filelock import FileLock

from orchestrator.cluster.session_folder import LOCK_FILE, user_folder
from orchestrator.worker import fork_server
from orchestrator.worker.fork_server import SINGLE_THREADED, CallFailed, ChildSettings
from orchestrator.worker.raylet_death import raylet_pid
from search_spaces.errors import ThawError

log = logging.getLogger("orchestrator")

FORK_SECONDS = 300.0
"""Seconds for a fork server to import its packages, and to fork."""


class ForkedProcess:
    """ForkedProcess: calls methods of an object there. It dies with this process, and this process with it."""

    def __init__(self, connection: "Connection[Any, Any]", pid: int) -> None:
        self._connection = connection
        self.pid = pid

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method; raises RuntimeError with the traceback of an error in it."""
        try:
            self._connection.send((method, arguments))
            answer = self._connection.recv()
        except (EOFError, OSError):
            # Ray and Tune know the death of a worker only, and start it again.
            log.error("process %d, in which this worker computes, has died", self.pid)
            os.kill(os.getpid(), signal.SIGKILL)
            raise
        if isinstance(answer, CallFailed):
            raise RuntimeError(answer.traceback)
        return answer

    def dismiss(self) -> None:
        """Kill the process."""
        self._connection.close()


def fork_process(target: object) -> ForkedProcess | None:
    """Fork a process that has a copy of `target`; None, after a message in the log, where that is not possible.

    The first worker of a node starts the fork server, and waits for its imports.
    """
    raylet = raylet_pid()
    if sys.platform != "linux" or raylet is None:
        return None  # no worker of Ray, as under a debugger
    try:
        here = ray.get_runtime_context()
        # Workers of another run have another environment, and may have other code.
        path = user_folder() / f"{here.get_node_id()[:16]}-{here.get_job_id()}.sock"
        return request_process(path, raylet, target)
    except (OSError, EOFError, subprocess.SubprocessError, ThawError) as error:
        reason = str(error) or "the fork server has ended; its message is in the log of a Ray worker"
        log.warning("no process was forked (%s): this worker imports the packages itself", reason)
        return None


def request_process(path: Path, raylet: int, target: object) -> ForkedProcess:
    """Fork a process from the server whose socket is `path`; start the server, which ends with the process `raylet`.

    Raises OSError, EOFError and SubprocessError where the server does not start, or dies.
    """
    connection = _connect(path, raylet)
    socket.send_fds(connection, [b"\0"], [1, 2])
    calls: Connection[Any, Any] = Connection(connection.detach())
    pickled = ray.cloudpickle.dumps(target)  # type: ignore[no-untyped-call]
    calls.send(ChildSettings(dict(os.environ), str(Path.cwd()), pickled))
    if not calls.poll(FORK_SECONDS):
        raise TimeoutError(f"no answer within {FORK_SECONDS:g} s")
    return ForkedProcess(calls, calls.recv())


def _connect(path: Path, raylet: int) -> socket.socket:
    """Connect to the fork server at `path`; start it where there is none."""
    connection = socket.socket(socket.AF_UNIX)
    with FileLock(path.parent / LOCK_FILE):
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):  # refused: the server was killed
            path.unlink(missing_ok=True)
            _start_server(path, raylet)
            connection.connect(str(path))
    return connection


def _start_server(path: Path, raylet: int) -> None:
    """Start a server at a socket that listens already, so that workers connect before its imports are done."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        fd = listener.fileno()
        # -P: a folder named `analysis` in the working directory must not shadow ours.
        command = [sys.executable, "-P", "-m", fork_server.__name__, str(fd), str(path), str(raylet)]
        environment = {**os.environ, **SINGLE_THREADED, "OMP_NUM_THREADS": "1"}
        null = subprocess.DEVNULL
        subprocess.run(
            command, env=environment, pass_fds=[fd], stdin=null, stdout=null, start_new_session=True, check=True
        )
