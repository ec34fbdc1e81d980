"""Death of a worker together with its parent, Ray's raylet: a driver that is killed leaves nobody who writes."""

import ctypes
import os
import signal
import sys
from functools import cache

_PR_SET_PDEATHSIG = 1


@cache
def die_with_parent() -> None:
    """Let the kernel kill this process when its parent dies; Ray's own check takes seconds. Does nothing off Linux."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the call
        os.kill(os.getpid(), signal.SIGKILL)
