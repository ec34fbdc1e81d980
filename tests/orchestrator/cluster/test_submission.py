"""Sweeps that are not taken, and the ends of those that are. Real clusters take them in `tests/integration`."""

import os
import shlex
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.job_submission import JobStatus

from orchestrator.cluster.submission import (
    LONGEST_COMMAND,
    Job,
    extend_command,
    resume_command,
    submit_job,
    sweep_command,
)
from search_spaces.errors import InvalidInput, ThawError
from trainables.storage.bucket import BucketPath

RUN = Path("/mnt/shared/runs/sweep")
RESUME = "thaw submit --resume /mnt/shared/runs/sweep --address http://head:8265"


def test_only_a_dashboard_takes_a_sweep() -> None:
    with pytest.raises(InvalidInput, match=r"must be the address of the cluster's dashboard, got head:6379; write"):
        submit_job(RUN, resume_command(RUN), "head:6379")


def test_a_sweep_that_is_too_long_for_a_command_is_refused() -> None:
    message = r"must be short to be submitted, at most 120,000 bytes, got 120,0\d\d; copy its sweep file to the cluster"
    with pytest.raises(InvalidInput, match=message):
        submit_job(RUN, sweep_command("#" * LONGEST_COMMAND), "http://head:8265")


def test_a_command_that_is_not_utf_8_is_refused() -> None:
    run = Path("/mnt/r\udcff")
    with pytest.raises(InvalidInput, match=r"must be UTF-8 to be submitted, got .*; type it on a node"):
        submit_job(run, resume_command(run), "http://head:8265")


def test_the_head_is_given_the_words_as_they_are() -> None:
    """`sh` of the head splits the command into the words of `thaw`, whatever characters they hold."""
    run, change = Path("/mnt/my runs/it's\n$HOME"), 'space.lr={"log": [1e-4, 1e-2]}'
    for command, words in (
        (resume_command(run), ["thaw", "resume", str(run), "--address=auto"]),
        (
            extend_command(run, 2, [change, "-x=`id`"]),
            ["thaw", "extend", str(run), "--trials=2", f"--set={change}", "--set=-x=`id`", "--address=auto"],
        ),
    ):
        assert shlex.split(command) == words
        echoed = subprocess.run(
            ["sh", "-c", command.replace("thaw", "printf '%s\\0'", 1)], capture_output=True, text=True, check=True
        )
        assert echoed.stdout.split("\0")[:-1] == words[1:]


def test_a_run_in_a_bucket_keeps_its_address() -> None:
    assert resume_command(BucketPath.parse("s3://bucket/runs/a")) == "thaw resume s3://bucket/runs/a --address=auto"


def test_a_path_that_is_the_user_s_alone_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match=f"must be its full path there, .* got 'runs/a'; .* is {tmp_path}/runs/a"):
        resume_command(Path("runs/a"))


def test_where_nothing_answers_the_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(InvalidInput, match=f"a Ray cluster's dashboard must answer at {address}, got: "):
            submit_job(RUN, resume_command(RUN), address)
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
    assert Job(Cluster(status, code), "job-1", RESUME).follow(written.append) == exit_code  # type: ignore[arg-type]
    assert written == ["one\n", "two\n"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, f"job job-1 must run to its end, got FAILED: why; continue its run with: {RESUME}"),
        (127, "must find the command `thaw`"),
        (-9, f"its process ended with -9, as by a signal; continue its run with: {RESUME}"),
    ],
)
def test_an_end_that_is_not_the_sweep_s_own_is_an_error(code: int | None, message: str) -> None:
    with pytest.raises(ThawError, match=message):
        Job(Cluster(JobStatus.FAILED, code), "job-1", RESUME).follow(lambda text: None)  # type: ignore[arg-type]


def test_a_cluster_that_is_out_of_reach_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(JobStatus.RUNNING, None)
    monkeypatch.setattr(cluster, "get_job_info", lambda job_id: (_ for _ in ()).throw(ConnectionError("unplugged")))
    message = (
        rf"job job-1 can no longer be seen \(unplugged\), but continues unless .* lost; then, on a new head: {RESUME}"
    )
    with pytest.raises(ThawError, match=message):
        Job(cluster, "job-1", RESUME).follow(lambda text: None)  # type: ignore[arg-type]
