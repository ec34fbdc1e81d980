"""Death of a worker together with its raylet: after the death of a driver nothing is written any more."""

import ctypes
import os
import signal
import sys
from functools import cache

_PR_SET_PDEATHSIG = 1


@cache
def die_with_raylet() -> None:
    """Let the kernel kill this worker when its raylet dies; Ray's own check takes seconds. Does nothing off Linux."""
    raylet = raylet_pid()
    if sys.platform == "linux" and raylet is not None and os.getppid() == raylet:
        die_with_parent(raylet)


def raylet_pid() -> int | None:
    """Return the process id of the raylet that has started this process; None where none has."""
    pid = os.environ.get("RAY_RAYLET_PID")  # set by a raylet for its workers
    return None if pid is None else int(pid)


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent dies, whose process id is `parent`. Linux only."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the call
        os.kill(os.getpid(), signal.SIGKILL)
