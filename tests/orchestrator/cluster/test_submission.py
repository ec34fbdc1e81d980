"""Sweeps that are not taken, and the ends of those that are. Real clusters take them in `tests/integration`."""

import os
import socket
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from ray.job_submission import JobStatus

from orchestrator.cluster.submission import LONGEST_COMMAND, Job, submit_job
from search_spaces.errors import InvalidInput, ThawError


def test_only_a_dashboard_takes_a_sweep() -> None:
    with pytest.raises(InvalidInput, match=r"must be the address of the cluster's dashboard, got head:6379; write"):
        submit_job("sweep", "name: sweep\n", "head:6379")


def test_a_sweep_that_is_too_long_for_a_command_is_refused() -> None:
    message = r"must be short to be submitted, at most 120,000 bytes, got 120,0\d\d; copy its file to the cluster"
    with pytest.raises(InvalidInput, match=message):
        submit_job("sweep", "#" * LONGEST_COMMAND, "http://head:8265")


def test_where_nothing_answers_the_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(InvalidInput, match=f"a Ray cluster's dashboard must answer at {address}, got: "):
            submit_job("sweep", "name: sweep\n", address)
    assert os.environ["RAY_ADDRESS"] == "auto", "the user's own is put back"
    assert "RAY_API_SERVER_ADDRESS" not in os.environ


class Cluster:
    """The part of Ray's client that a job asks, of a cluster on which it has ended."""

    def __init__(self, status: JobStatus, code: int | None) -> None:
        self.found = SimpleNamespace(status=status, driver_exit_code=code, message="why")

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        for text in ("one\n", "two\n"):
            yield text

    def get_job_info(self, job_id: str) -> Any:
        return self.found


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        (JobStatus.SUCCEEDED, 0, 0),
        (JobStatus.FAILED, 1, 1),
        (JobStatus.FAILED, 2, 2),
        (JobStatus.FAILED, 130, 130),
        (JobStatus.STOPPED, None, 130),
    ],
)
def test_a_job_is_followed_to_its_exit_code(status: JobStatus, code: int | None, exit_code: int) -> None:
    written: list[str] = []
    assert Job(Cluster(status, code), "job-1").follow(written.append) == exit_code  # type: ignore[arg-type]
    assert written == ["one\n", "two\n"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, "job job-1 must run to its end, got FAILED: why"),
        (127, "must find the command `thaw`"),
        (-9, r"its process ended with -9, as by a signal; go on with `thaw resume`"),
    ],
)
def test_an_end_that_is_not_the_sweep_s_own_is_an_error(code: int | None, message: str) -> None:
    with pytest.raises(ThawError, match=message):
        Job(Cluster(JobStatus.FAILED, code), "job-1").follow(lambda text: None)  # type: ignore[arg-type]


def test_a_cluster_that_is_out_of_reach_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(JobStatus.RUNNING, None)
    monkeypatch.setattr(cluster, "get_job_info", lambda job_id: (_ for _ in ()).throw(ConnectionError("unplugged")))
    with pytest.raises(ThawError, match="job job-1 can no longer be seen, but goes on: unplugged"):
        Job(cluster, "job-1").follow(lambda text: None)  # type: ignore[arg-type]
