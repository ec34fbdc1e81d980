"""Leftovers of a Ray whose driver was killed: the servers die with it, but their agents wait a minute for them."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from orchestrator.cluster.ray_watch import own_servers

# Without imports of ours: it starts in 20 ms and takes 8 MB. A process id alone may be another's by then.
_WATCHDOG = """
import os, signal, sys, time
sys.stdin.read()
time.sleep(2)
for word in sys.argv[1:]:
    pid, started = word.split(":")
    try:
        process = os.pidfd_open(int(pid))
        with open(f"/proc/{pid}/stat") as file:
            if file.read().rpartition(")")[2].split()[19] == started:
                signal.pidfd_send_signal(process, signal.SIGKILL)
    except OSError:
        pass
"""


@contextmanager
def ended_with_driver() -> Iterator[None]:
    """End the processes of this driver's own Ray when the driver is killed within the block. Linux only.

    A second process, in a session of its own, reads a pipe that closes when the driver dies.
    """
    words = [f"{pid}:{started}" for pid, started in _processes()]
    if not words:
        yield
        return
    command = [sys.executable, "-I", "-S", "-c", _WATCHDOG, *words]
    null = subprocess.DEVNULL
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=null, stderr=null, cwd="/", start_new_session=True
    ) as watchdog:
        try:
            yield
        finally:
            watchdog.kill()


def _processes() -> Iterator[tuple[int, str]]:
    """Yield the process ids of Ray's servers and of their children, each with its start."""
    if sys.platform != "linux":
        return
    for server in own_servers():
        with suppress(psutil.Error, OSError):
            for process in (server, *server.children(recursive=True)):
                yield process.pid, Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
