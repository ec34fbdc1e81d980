"""Leftovers of a Ray whose driver was killed: the servers die with it, but their agents wait a minute for them."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from orchestrator.cluster.ray_watch import own_servers

# Without imports of ours: it starts in 20 ms and takes 8 MB. Agents start after their server, so that it looks for
# children until the end. A process id alone may be another's by then.
_WATCHDOG = """
import os, select, signal, sys, time

def state(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return fields[19] if fields[0] != "Z" else None

def lives(pid):
    try:
        return state(pid) == known[pid]
    except OSError:
        return False

def look():
    for pid in list(known):
        try:
            for thread in os.listdir(f"/proc/{pid}/task") if lives(pid) else ():
                with open(f"/proc/{pid}/task/{thread}/children") as file:
                    for child in file.read().split():
                        known.setdefault(child, state(child))
        except OSError:
            pass

known = dict(word.split(":") for word in sys.argv[1:])
look()
begun = time.monotonic()
while not select.select([sys.stdin], [], [], 0.1 if time.monotonic() < begun + 20 else 1.0)[0]:
    look()
look()
deadline = time.monotonic() + 2
while any(map(lives, known)) and time.monotonic() < deadline:
    time.sleep(0.05)
for pid in known:
    try:
        process = os.pidfd_open(int(pid))
        if lives(pid):
            signal.pidfd_send_signal(process, signal.SIGKILL)
    except OSError:
        pass
"""


@contextmanager
def ended_with_driver() -> Iterator[None]:
    """End the processes of this driver's own Ray at the end of the block, also when the driver is killed in it.

    Ray is shut down within the block. A second process, in a session of its own, reads a pipe that closes at the end of
    the block or of the driver. It gives Ray's processes two seconds. Linux only.
    """
    words = _own_processes() if sys.platform == "linux" else []
    if not words:
        yield
        return
    command = [sys.executable, "-I", "-S", "-c", _WATCHDOG, *words]
    null = subprocess.DEVNULL
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=null, stderr=null, cwd="/", start_new_session=True
    ):  # its end closes the pipe, and waits for the process
        yield


def _own_processes() -> list[str]:
    """Return the servers of Ray, each as `pid:start` with its start as the kernel counts it."""
    found = []
    for server in own_servers():
        with suppress(psutil.Error, OSError):
            stat = Path(f"/proc/{server.pid}/stat").read_text()
            found.append(f"{server.pid}:{stat.rpartition(')')[2].split()[19]}")
    return found
