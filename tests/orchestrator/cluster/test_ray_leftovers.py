import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc that has the start of a process")

# A driver whose server starts in the block, and leaves children that do not notice its death.
DRIVER = """
import pathlib, subprocess, sys, time
import psutil
from orchestrator.cluster import ray_leftovers


def words_of(process):
    try:
        return process.cmdline()
    except psutil.Error:  # it has just ended
        return []


# Without our output, on whose end the test would wait.
other = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL)
with ray_leftovers.ended_with_driver(pathlib.Path("/tmp/thaw-session")):
    time.sleep(0.5)
    words = ["--session-dir=/tmp/thaw-session/session_1"]
    late = "sleep 600 & sleep 1; sleep 599"  # an agent may start late
    shell = subprocess.Popen(["sh", "-c", late, *words], stdout=subprocess.DEVNULL)
    server = psutil.Process(shell.pid)
    while not any("599" in words_of(child) for child in server.children()):
        time.sleep(0.01)
    time.sleep(0.5)
    print(other.pid, server.pid, *(child.pid for child in server.children()), flush=True)
    sys.stdin.readline()
print("left", flush=True)
sys.stdin.readline()
"""


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def wait_for_end(pids: list[int]) -> None:
    """Give processes ten seconds: one that has been told to end takes a moment on a busy machine."""
    deadline = time.monotonic() + 10
    while alive(pids) and time.monotonic() < deadline:
        time.sleep(0.1)


def wait_for_watchdog(driver: int) -> psutil.Process:
    """Return the watchdog of a driver; its command line is empty for a moment after its start."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for child in psutil.Process(driver).children():
            if "-I" in child.cmdline():
                return child
    pytest.fail("no watchdog")


@pytest.mark.parametrize("ends", ["killed", "clean"])
def test_a_driver_takes_its_own_ray_along(ends: str) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", DRIVER], stdin=pipe, stdout=pipe, text=True) as driver:
        assert driver.stdin is not None
        assert driver.stdout is not None
        other, *own = map(int, driver.stdout.readline().split())
        watchdog = wait_for_watchdog(driver.pid)
        if ends == "clean":
            driver.stdin.write("\n")
            driver.stdin.flush()
            assert driver.stdout.readline() == "left\n"
            wait_for_end([watchdog.pid, *own])
            assert alive([watchdog.pid, *own]) == []
        driver.kill()
        driver.wait()
    wait_for_end([watchdog.pid, *own])
    try:
        assert alive(own) == []
        assert alive([other]) == [other], "no process of Ray"
        assert alive([watchdog.pid]) == []
    finally:
        for pid in (other, *alive(own)):
            psutil.Process(pid).kill()
