"""Refusals and jobs of `thaw submit`; real clusters are in `tests/integration`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.cli import run
from orchestrator.cluster import submission
from trainables.storage.place import Place

Capture = pytest.CaptureFixture[str]
HEAD = ("--address", "http://head:8265")


def said(capsys: Capture) -> str:
    told = capsys.readouterr()
    return " ".join((told.out + told.err).split())


def test_a_sweep_is_handed_over_to_a_dashboard_alone(small: Callable[..., Path], capsys: Capture) -> None:
    assert run(["submit", str(small()), "--address", "head:6379"]) == 2
    assert "must be the address of the cluster's dashboard, got head:6379" in said(capsys)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "must get one of FILE, --resume RUN and --extend RUN, got none"),
        (("sweep.yaml", "--resume", "/r"), "got FILE and --resume; a sweep file begins a run"),
        (("--resume", "/r", "--extend", "/r"), "got --resume and --extend;"),
        (("--resume", "/r", "--name", "new"), "--name: must come with a sweep file, got --resume"),
        (
            ("--resume", "/r", "--set", "search.trials=9", "--trials", "1"),
            "a resumed run keeps its settings, got --set=search.trials=9, --trials=1; change them: "
            "thaw submit --extend /r --set=search.trials=9 --trials=1 --address http://head:8265",
        ),
        (("sweep.yaml", "--trials", "3"), "--trials: must come with --extend, got 3; for a new run: --set search"),
        (("--resume", "runs/r"), "a run on a cluster must be its full path there"),
        (("--extend", "gs://b/r"), "must be a folder or s3://bucket/prefix, got 'gs://b/r'"),
    ],
)
def test_it_does_one_thing_at_a_time(words: tuple[str, ...], message: str, capsys: Capture) -> None:
    assert run(["submit", *words, *HEAD]) == 2
    assert message in said(capsys)


class Stopped:
    """A job that a user has stopped."""

    job_id = "job-1"
    resume = "thaw submit --resume ..."

    def follow(self, write: Callable[[str], None]) -> int:
        write("stopped\n")
        return 130


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        (("--resume", "/mnt/runs/a"), "thaw resume /mnt/runs/a --address=auto"),
        (("--resume", "s3://bucket/runs/a"), "thaw resume s3://bucket/runs/a --address=auto"),
        (
            ("--extend", "/mnt/runs/a", "--trials", "2", "--set", "space.architecture+=resnet18"),
            "thaw extend /mnt/runs/a --trials=2 --set=space.architecture+=resnet18 --address=auto",
        ),
    ],
)
def test_a_run_is_continued_by_the_head_s_own_command(
    words: tuple[str, ...], sent: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    submitted: list[tuple[Place, str, str]] = []

    def submit_job(run: Place, command: str, address: str) -> Stopped:
        submitted.append((run, command, address))
        return Stopped()

    monkeypatch.setattr(submission, "submit_job", submit_job)
    assert run(["submit", *words, *HEAD]) == 130
    assert [(str(place), command, address) for place, command, address in submitted] == [(words[1], sent, HEAD[1])]
    text = said(capsys)
    assert f"a: job job-1 at http://head:8265; run {words[1]} follow it again: ray job logs --follow job-1" in text
    assert text.endswith("stopped; from this machine, continue it with: thaw submit --resume ...")
