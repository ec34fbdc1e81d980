"""A real fork server: what its ranks take over, and who dies with whom. It preloads nothing, unless that is tested."""

import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.worker.fork_server import SINGLE_THREADED, CallFailed, ChildSettings
from orchestrator.worker.rank import Rank

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the server is of Linux alone")

SERVER = (
    "import sys; from orchestrator.worker import fork_server; fork_server.PRELOADED = {preloaded!r};"
    "fork_server.IDLE_SECONDS = {idle!r}; fork_server.run_server(sys.argv[1:])"
)

Start = Callable[..., Path]

RANK = pickle.dumps(Rank(print))  # type: ignore[arg-type]


@pytest.fixture
def raylet() -> Iterator[psutil.Popen]:
    """A process that stands for the raylet."""
    with psutil.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


@pytest.fixture
def start(tmp_path: Path, raylet: psutil.Popen) -> Start:
    """Start a server; returns the path of its socket. It ends with the raylet."""

    def start(preloaded: tuple[str, ...] = (), idle: float = 600.0, **environment: str) -> Path:
        path = tmp_path / "server.sock"
        with socket.socket(socket.AF_UNIX) as listener, (tmp_path / "stderr").open("w") as stderr:
            listener.bind(str(path))
            listener.listen()
            fd = listener.fileno()
            command = [sys.executable, "-c", SERVER.format(preloaded=preloaded, idle=idle)]
            subprocess.run(
                [*command, str(fd), str(path), str(raylet.pid)],
                env={**os.environ, **SINGLE_THREADED, **environment},
                pass_fds=[fd],
                stderr=stderr,
                check=True,
                timeout=60,
            )
        return path

    return start


def connect(path: Path, target: bytes = RANK, **environment: str) -> "tuple[Connection[Any, Any], psutil.Process]":
    """Connection to a rank, or to another pickled object, as a worker asks for it, and its process."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    output = os.open(path.parent / "stdout", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    socket.send_fds(connection, [b"\0"], [output, output])
    os.close(output)
    calls: Connection[Any, Any] = Connection(connection.detach())
    calls.send(ChildSettings({**os.environ, **environment}, str(path.parent), target))
    return calls, psutil.Process(calls.recv())


def ends(process: psutil.Process) -> bool:
    """Return whether a process ends soon, also on a busy machine."""
    deadline = time.monotonic() + 30
    while lives(process) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not lives(process)


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Runs:
    """A pickle that runs code where it is read, in place of an object with methods."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, (self.code,)


def test_a_rank_has_the_environment_folder_and_output_of_its_worker(start: Start, tmp_path: Path) -> None:
    path = start(KEPT="of the server", WORKER="of the server")
    begin = pickle.dumps(Runs("import os; os.system('echo $KEPT $WORKER; echo problem >&2')"))
    calls, process = connect(path, begin, WORKER="of the worker")
    assert (tmp_path / "stdout").read_text() == "of the worker\nproblem\n"
    assert process.cwd() == str(tmp_path)
    calls.close()


def test_an_error_of_a_call_comes_back_and_the_rank_lives(start: Start) -> None:
    calls, process = connect(start())
    calls.send(("end", ()))
    assert calls.recv() is None
    calls.send(("advance", (None,)))
    answer = calls.recv()
    assert isinstance(answer, CallFailed)
    assert "AssertionError" in answer.traceback
    assert lives(process)
    calls.close()


def test_a_rank_dies_with_its_worker_alone(start: Start) -> None:
    path = start()
    calls, process = connect(path)
    others, other = connect(path)
    process.suspend()  # as in native code that does not return
    calls.close()
    assert ends(process)
    others.send(("end", ()))
    assert others.recv() is None
    assert lives(other)
    others.close()
    assert ends(other)


def test_a_worker_sees_the_death_of_its_rank(start: Start) -> None:
    path = start()
    connections = [connect(path) for _ in range(3)]
    calls, process = connections[1]
    process.kill()
    with pytest.raises(EOFError):
        calls.recv()
    assert [lives(process) for _, process in connections] == [True, False, True]
    for calls, _ in connections:
        calls.close()


def test_ranks_die_with_the_server(start: Start) -> None:
    calls, process = connect(start())
    process.suspend()
    process.parent().kill()
    with pytest.raises(EOFError):
        calls.recv()
    assert ends(process)
    calls.close()


def test_all_die_with_the_raylet_and_leave_no_file(start: Start, raylet: psutil.Popen) -> None:
    path = start()
    calls, process = connect(path)
    server = process.parent()
    process.suspend()
    raylet.kill()
    assert ends(process)
    assert ends(server)
    assert not path.exists()
    calls.close()


def test_a_server_that_is_not_needed_ends(start: Start) -> None:
    path = start(idle=0.01)
    deadline = time.monotonic() + 30
    while path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not path.exists()


def test_a_server_ends_after_its_last_rank(start: Start) -> None:
    path = start(idle=0.5)
    calls, process = connect(path)
    server = process.parent()
    process.kill()
    assert ends(server)
    assert not path.exists()
    calls.close()


def test_the_training_packages_start_no_thread_and_leave_cuda_alone(start: Start) -> None:
    """A package that starts a thread at its import ends the server; each worker would import all of them by itself."""
    code = (
        "import trainables, torch; from orchestrator.worker.fork_server import preload;"
        # What asks the driver for devices: after that, no forked process can use CUDA.
        "torch._C._cuda_getDeviceCount = torch._C._cuda_init = None;"
        "preload(); assert not torch.cuda.is_initialized(); print('one thread')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **SINGLE_THREADED, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.stdout == "one thread\n", result.stderr


def test_a_server_with_threads_forks_nothing(start: Start, tmp_path: Path) -> None:
    module = tmp_path / "threaded_package.py"
    module.write_text("import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()")
    path = start(preloaded=("threaded_package",), PYTHONPATH=str(tmp_path))
    connection = socket.socket(socket.AF_UNIX)
    with connection, pytest.raises((FileNotFoundError, ConnectionError)):
        connection.connect(str(path))
        if not connection.recv(1):
            raise ConnectionResetError
    assert "must have one thread, got 2" in (tmp_path / "stderr").read_text()
    assert not path.exists()


def test_a_rank_uses_the_threads_of_its_worker(start: Start) -> None:
    path = start(preloaded=("numpy",), OMP_NUM_THREADS="1")
    code = (
        "import os, threadpoolctl; found = threadpoolctl.threadpool_info();"
        "os.system('echo ' + ' '.join(str(each['num_threads']) for each in found))"
    )
    calls, _ = connect(path, pickle.dumps(Runs(code)), OMP_NUM_THREADS="3")
    assert (path.parent / "stdout").read_text() == "3\n"
    calls.close()


def test_a_crash_is_a_signal_of_the_rank(start: Start) -> None:
    calls, process = connect(start())
    os.kill(process.pid, signal.SIGSEGV)
    with pytest.raises(EOFError):
        calls.recv()
    calls.close()
