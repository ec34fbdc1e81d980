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


PATIENCE_SECONDS = 2.0


@contextmanager
def ended_with_driver() -> Iterator[None]:
    """End the processes of this driver's own Ray at the end of the block, also when the driver is killed in it.

    Ray is shut down within the block. For a driver that is killed, a second process, in a session of its own, reads a
    pipe that then closes. Linux only.
    """
    processes = _own_processes() if sys.platform == "linux" else {}
    if not processes:
        yield
        return
    words = (f"{process.pid}:{started}" for process, started in processes.items())
    command = [sys.executable, "-I", "-S", "-c", _WATCHDOG, *words]
    null = subprocess.DEVNULL
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=null, stderr=null, cwd="/", start_new_session=True
    ) as watchdog:
        try:
            yield
        finally:
            for process in psutil.wait_procs(processes, timeout=PATIENCE_SECONDS)[1]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            watchdog.kill()


def _own_processes() -> dict[psutil.Process, str]:
    """Return the servers of Ray and their children, each with its start as the kernel counts it."""
    found = {}
    for server in own_servers():
        with suppress(psutil.Error, OSError):
            for process in (server, *server.children(recursive=True)):
                stat = Path(f"/proc/{process.pid}/stat").read_text()
                found[process] = stat.rpartition(")")[2].split()[19]
    return found
