import subprocess
import threading
from collections.abc import Iterator

import psutil
import pytest

from orchestrator.cluster import ray_watch as module
from orchestrator.cluster.ray_watch import RayDied, RayWatch
from search_spaces.errors import ThawError


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[psutil.Process]]:
    """Two processes in the place of Ray's servers."""
    processes = [subprocess.Popen(["sleep", "600"]) for _ in range(2)]
    found = [psutil.Process(process.pid) for process in processes]
    monkeypatch.setattr(module, "own_servers", lambda: found)
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.5)
    yield found
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Exit codes with which the process would have ended."""
    codes: list[int] = []
    monkeypatch.setattr(module.os, "_exit", codes.append)
    return codes


def watch_thread() -> threading.Thread:
    return next(thread for thread in threading.enumerate() if thread.name == "ray-watch")


@pytest.mark.parametrize("leaves", [True, False])
def test_the_death_of_a_server_ends_the_process(
    leaves: bool, servers: list[psutil.Process], exits: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    problems: list[ThawError] = []
    died = threading.Event()
    watch = RayWatch(lambda error: (problems.append(error), died.set())[0], "continue with `thaw resume RUN`")
    with watch:
        thread = watch_thread()
        servers[1].kill()
        assert died.wait(10)
        if not leaves:  # as in a call to Ray that blocks
            thread.join(10)
    thread.join(10)
    assert exits == [1]
    assert isinstance(problems[0], RayDied)
    message = f"Ray must run as long as the sweep, but its process {servers[1].pid} has died; continue with"
    assert message in str(problems[0])
    assert (message in capsys.readouterr().err) is not leaves
    assert not any(module._lives(server) for server in servers), "the other server is ended as well"


def test_an_error_that_comes_of_the_death_names_it(
    servers: list[psutil.Process], exits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 60)
    watch = RayWatch(lambda error: pytest.fail(str(error)), "continue")
    with pytest.raises(RayDied, match=f"its process {servers[0].pid} has died; continue"), watch:
        servers[0].kill()
        servers[0].wait()
        raise RuntimeError("an actor is gone")
    assert exits == []


def test_a_ray_that_ends_after_the_block_is_no_problem(servers: list[psutil.Process], exits: list[int]) -> None:
    with RayWatch(lambda error: pytest.fail(str(error)), ""):
        thread = watch_thread()
    servers[0].kill()
    thread.join(10)
    assert exits == []


def test_without_a_ray_of_its_own_nothing_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "own_servers", list)
    with RayWatch(lambda error: pytest.fail(str(error)), ""):
        assert not any(thread.name == "ray-watch" for thread in threading.enumerate())
