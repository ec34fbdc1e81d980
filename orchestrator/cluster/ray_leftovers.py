"""Leftovers of a Ray whose driver was killed: the servers die with it, but their agents wait a minute for them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Without imports of ours: it starts in 20 ms and takes 8 MB. Ray's servers are the children of the driver that name the
# session's folder on their command line. Agents start after their server, so that it looks for children until the end,
# and often while new ones appear.
# A process id alone may be another's by then.
_WATCHDOG = """
import os, select, signal, sys, time

driver, folder = sys.argv[1], os.environb[b"SESSION"]
known = {}

def state(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return fields[19] if fields[0] != "Z" else None

def lives(pid):
    try:
        return state(pid) == known[pid]
    except OSError:
        return False

def children(pid):
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/children") as file:
            yield from file.read().split()

def is_server(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return folder in file.read()

def look():
    for parent in [driver, *known]:
        try:
            for child in children(parent) if parent == driver or lives(parent) else ():
                if child not in known and (parent != driver or is_server(child)):
                    known[child] = state(child)
        except OSError:
            pass

latest, count = time.monotonic(), 0
while not select.select([sys.stdin], [], [], 0.1 if time.monotonic() < latest + 5 else 1.0)[0]:
    look()
    if len(known) > count:
        latest, count = time.monotonic(), len(known)
look()
deadline = time.monotonic() + 2
while any(map(lives, known)) and time.monotonic() < deadline:
    time.sleep(0.05)
    look()
for pid in known:
    try:
        process = os.pidfd_open(int(pid))
        if lives(pid):
            signal.pidfd_send_signal(process, signal.SIGKILL)
    except OSError:
        pass
"""


@contextmanager
def ended_with_driver(folder: Path) -> Iterator[None]:
    """End the Ray whose session is in `folder` at the end of the block, also when the driver is killed in it.

    Ray is started and shut down within the block. A second process, in a session of its own, reads a pipe that closes
    at the end of the block or of the driver. It gives Ray's processes two seconds. Linux only.
    """
    if sys.platform != "linux":
        yield
        return
    command, environment = [sys.executable, "-I", "-S", "-c", _WATCHDOG, str(os.getpid())], {"SESSION": str(folder)}
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(
        command, env=environment, stdin=pipe, stdout=null, stderr=null, cwd="/", start_new_session=True
    ):  # its end closes the pipe, and waits for the process
        yield
