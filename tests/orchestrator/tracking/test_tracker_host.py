import os
import subprocess
import sys
import threading
import time
from multiprocessing import Pipe
from pathlib import Path

import psutil
import pytest

from orchestrator.tracking import tracker_host
from orchestrator.tracking.tracker_host import host


def test_calls_are_answered_until_the_end() -> None:
    here, there = Pipe()
    for message in (["a"], ("append", ("b",)), ("remove", ("c",)), None):
        here.send(message)
    ended = threading.Event()
    assert host(there, list, ended.set) == 0
    assert ended.wait(10)
    assert here.recv() is None, "the object is here"
    assert here.recv() is None
    problem = here.recv()
    assert (type(problem), str(problem)) == (RuntimeError, "ValueError: list.remove(x): x not in list")


# The driver has been killed: the connection ends, while a call hangs and the client has a process of its own.
ORPHAN = """
import os
import subprocess, sys
from multiprocessing import Pipe
from orchestrator.tracking import tracker_host
from toy_client import ToyClient
tracker_host.ORPHAN_SECONDS = 0.5
here, there = Pipe()
for message in (ToyClient(), ("start_child", (sys.argv[1],)), ("hang", ())):
    here.send(message)
here.close()
tracker_host.host(there, list, tracker_host.end_late)
"""


def test_without_a_driver_the_process_ends_though_a_call_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "helpers"), prepend=os.pathsep)
    code = ORPHAN.replace("sys.argv[1]", "__import__('pathlib').Path(sys.argv[1])")
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path / "pids")], timeout=60, check=False)
    assert ended.returncode == 1
    assert time.monotonic() - began < 30
    _, child = (int(word) for word in (tmp_path / "pids").read_text().split())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"
    assert tracker_host.ORPHAN_SECONDS == 20
