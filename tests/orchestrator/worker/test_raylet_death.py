import subprocess
import sys
import time

import psutil
import pytest

CHILD = (
    "import time; from orchestrator.worker.raylet_death import die_with_raylet; die_with_raylet(); die_with_raylet();"
    "print('ready', flush=True); time.sleep(600)"
)
PARENT = (
    "import os, subprocess, sys; raylet = str(os.getpid()) if sys.argv[1] == 'raylet' else '1';"
    "environment = {**os.environ, 'RAY_RAYLET_PID': raylet};"
    f"child = subprocess.Popen([sys.executable, '-c', {CHILD!r}], env=environment);"
    "print(child.pid, flush=True); child.wait()"
)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a signal for the death of a parent")
@pytest.mark.parametrize("kind", ["raylet", "another process"])
def test_a_worker_dies_with_its_raylet_alone(kind: str) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, kind], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert parent.stdout.readline() == "ready\n"
        assert child.is_running()
        parent.kill()
    deadline = time.monotonic() + (5 if kind == "raylet" else 1)
    while lives(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    survives = lives(child)
    if survives:
        child.kill()
    assert survives is (kind != "raylet")


def lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
