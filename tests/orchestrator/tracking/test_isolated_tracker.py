import os
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.tracking.isolated_tracker import Client, HostedObject, OutputSigns

HELPERS = str(Path(__file__).parents[2] / "helpers")
TOY = Client("toy_client")


@pytest.fixture(autouse=True)
def _helpers_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child process imports the class of the object that it is sent."""
    monkeypatch.setenv("PYTHONPATH", HELPERS, prepend=os.pathsep)


@pytest.fixture
def client() -> Any:
    from toy_client import ToyClient

    return ToyClient()


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]


def test_calls_are_made_in_another_process_in_order(client: Any, tmp_path: Path) -> None:
    hosted = HostedObject(client, TOY)
    for text in ("a", "b"):
        hosted.call("write", tmp_path / "calls", text)
    hosted.close(10)
    pid, *texts = (tmp_path / "calls").read_text().split()
    assert int(pid) != os.getpid()
    assert texts == ["a", pid, "b"]


def test_an_error_arrives_with_its_type_and_message(client: Any) -> None:
    hosted = HostedObject(client, TOY)
    with pytest.raises(RuntimeError, match=r"^OSError: no route to host$"):
        hosted.call("fail")
    with pytest.raises(TimeoutError, match=r"^timed out$"):
        hosted.call("fail_late")
    hosted.call("nothing")
    hosted.close(10)


@pytest.mark.parametrize("hook", [False, True], ids=["in a call", "in a hook at its end"])
def test_a_client_that_hangs_is_ended_with_its_own_process(client: Any, tmp_path: Path, hook: bool) -> None:
    hosted = HostedObject(client, TOY, seconds=3)
    hosted.call("start_child", tmp_path / "pids")
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    assert alive(pids) == pids
    began = time.monotonic()
    if hook:
        hosted.call("hang_at_exit")
        with pytest.raises(TimeoutError, match=r"timeout after 0\.5 s"):
            hosted.close(0.5)
    else:
        with pytest.raises(TimeoutError, match="timeout after 3 s"):
            hosted.call("hang")
        hosted.kill()
    assert time.monotonic() - began < 10
    deadline = time.monotonic() + 30
    while alive(pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert alive(pids) == []


def test_a_call_in_progress_ends_when_the_process_is_ended(client: Any) -> None:
    hosted = HostedObject(client, TOY)
    hosted.call("nothing")
    timer = threading.Timer(0.3, hosted.kill)
    timer.start()
    with pytest.raises(TimeoutError, match="no answer before the end"):
        hosted.call("hang")
    timer.join()
    with pytest.raises(TimeoutError):
        hosted.call("nothing")


def test_what_is_ended_before_its_start_is_never_started(client: Any) -> None:
    hosted = HostedObject(client, TOY)
    hosted.kill()
    with pytest.raises(TimeoutError):
        hosted.call("nothing")
    hosted.close(1)


def test_a_client_that_is_missing_is_named(client: Any) -> None:
    hosted = HostedObject(client, Client("no_such_client"))
    with pytest.raises(EOFError, match="its process has ended: ModuleNotFoundError: No module named 'no_such_client'"):
        hosted.call("nothing")
    hosted.kill()


def test_the_start_of_the_process_is_not_counted_as_a_call(client: Any) -> None:
    hosted = HostedObject(client, Client("slow_client"), seconds=1)
    hosted.call("nothing")
    hosted.close(30)


def test_a_client_that_kills_its_process_is_an_error(client: Any) -> None:
    hosted = HostedObject(client, TOY)
    with pytest.raises(EOFError, match="its process has ended: SIGKILL"):
        hosted.call("die")
    hosted.kill()


def test_the_output_of_a_client_says_what_its_calls_do_not(client: Any, capfd: pytest.CaptureFixture[str]) -> None:
    hosted = HostedObject(client, Client(signs=OutputSigns(r"data is lost.*", r"\d{3} encountered")), 3)
    hosted.call("say", "429 encountered")
    with pytest.raises(TimeoutError, match=r"^timed out, 429 encountered$"):
        hosted.call("fail_late")
    with pytest.raises(RuntimeError, match=r"^data is lost, alas$"):
        hosted.call("say", "data is lost, alas")
    hosted.close(10)
    assert capfd.readouterr() == ("", ""), "nothing on the terminal of the sweep"


def test_the_variables_of_a_client_in_this_process_are_hidden(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SERVICE", "3-1-unix-/nowhere")
    monkeypatch.setenv("WANDB_API_KEY", "kept")
    hosted = HostedObject(client, TOY)
    hosted.call("write_environment", tmp_path / "names")
    hosted.close(10)
    names = (tmp_path / "names").read_text().split()
    assert "WANDB_API_KEY" in names
    assert "WANDB_SERVICE" not in names
