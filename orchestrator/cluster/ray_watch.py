"""RayWatch: notices the death of a Ray that belongs to this process, which then ends within a bounded time."""

import os
import sys
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import psutil

from search_spaces.errors import ThawError
from search_spaces.terminal_text import without_controls

_LOOK_SECONDS = 1.0
GRACE_SECONDS = 10.0
"""Time for a clean end. Calls to a Ray that has died may block, and none of them can be interrupted."""

_SERVERS = ("raylet", "gcs_server")


class RayDied(ThawError):
    """RayDied: a server of Ray on this machine has died. Its workers are ended; the records of the run are whole."""


class RayWatch:
    """RayWatch: watches the servers of Ray that this process has started, for the time of a block.

    Without one of them Ray neither works nor says so: the driver waits, for a minute or forever. A cluster that was
    joined restarts its own servers, and is not watched.
    """

    def __init__(self, on_death: Callable[[ThawError], None], remedy: str) -> None:
        """`on_death` is called from another thread; `remedy` ends the message."""
        self._on_death = on_death
        self._remedy = remedy
        self._left = threading.Event()
        self._servers = own_servers()
        self._thread = threading.Thread(target=self._live, name="ray-watch", daemon=True)

    def __enter__(self) -> Self:
        if self._servers:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._left.set()
        dead = self._dead()
        if dead and isinstance(error, Exception) and not isinstance(error, ThawError):
            raise RayDied(self._message(dead[0])) from error

    def _live(self) -> None:
        while not self._left.wait(_LOOK_SECONDS):
            dead = self._dead()
            if dead:
                self._end(self._message(dead[0]))
                return

    def _dead(self) -> list[psutil.Process]:
        return [server for server in self._servers if not _lives(server)]

    def _message(self, dead: psutil.Process) -> str:
        return f"Ray must run as long as the sweep, but its process {dead.pid} has died; {self._remedy}"

    def _end(self, message: str) -> None:
        _kill(self._servers)  # the workers of a raylet die with it: nothing is written from now on
        self._on_death(RayDied(message))
        has_left = self._left.wait(GRACE_SECONDS)
        if not has_left:
            print(f"error: {without_controls(message)}", file=sys.stderr, flush=True)
        # Ray's own end of the process may block as well. By then the message has been printed.
        threading.Event().wait(GRACE_SECONDS if has_left else 0)
        os._exit(ThawError.exit_code)


def own_servers() -> list[psutil.Process]:
    """Return the servers of Ray that this process has started; none where it has joined a cluster."""
    # Their command lines name the folder of the session; see `session_folder`.
    folder = f"/thaw-{os.geteuid()}/"
    servers = (child for child in psutil.Process().children() if child.name().startswith(_SERVERS))
    return [server for server in servers if any(folder in part for part in server.cmdline())]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        if _lives(process):
            process.kill()
