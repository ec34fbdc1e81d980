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
    raylet = int(os.environ.get("RAY_RAYLET_PID", 0))  # set by a raylet for its workers
    if sys.platform != "linux" or os.getppid() != raylet:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != raylet:  # it died before the call
        os.kill(os.getpid(), signal.SIGKILL)
