import subprocess
import sys
from pathlib import Path

import pytest

from analysis.claim import claim_run
from analysis.run_folder import RunFolder
from orchestrator.serve import run_control
from orchestrator.serve.run_control import resume_run, stop_run
from search_spaces.errors import InvalidInput, ThawError

DRIVER = """
import os, sys, time
from pathlib import Path
from analysis.claim import claim_run
from analysis.run_folder import RunFolder
assert "THAW_DASHBOARD_TOKEN" not in os.environ
run = RunFolder(Path(sys.argv[-1]))
claim = claim_run(run, None)
while not run.stop_request.exists():
    time.sleep(0.05)
claim.end()
"""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time for a start: on a busy machine a process may take a minute."""
    monkeypatch.setattr(run_control, "_START_SECONDS", 300)


def test_a_resumed_run_outlives_the_one_who_asked(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_control, "_COMMAND", (sys.executable, "-c", DRIVER))
    monkeypatch.setenv("THAW_DASHBOARD_TOKEN", "0123456789abcdef")
    monkeypatch.chdir(runs)
    assert resume_run(Path("first")).startswith("Resumed by process ")
    with pytest.raises(InvalidInput, match="must not be running to be resumed"):
        resume_run(runs / "first")
    assert stop_run(runs / "first").startswith("Stopped; continue with: thaw resume")
    assert not RunFolder(runs / "first").stop_request.exists()


def test_a_resume_that_fails_says_why(runs: Path) -> None:
    """The records of this run are written by hand: it has no sweep file to go on with."""
    with pytest.raises(ThawError, match=r"thaw resume has ended with exit code 2: error: .*sweep.yaml"):
        resume_run(runs / "first")


def test_the_process_is_a_session_of_its_own(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {}
    real = subprocess.Popen

    def note(command: list[str], **options: object) -> "subprocess.Popen[bytes]":
        given.update(options)
        return real([sys.executable, "-c", "raise SystemExit('no')"], **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(subprocess, "Popen", note)
    with pytest.raises(ThawError, match="exit code 1: no"):
        resume_run(runs / "first")
    assert given["start_new_session"] is True


def test_only_a_run_is_resumed_and_only_a_running_one_stopped(runs: Path) -> None:
    with pytest.raises(InvalidInput, match="a run must be an existing folder"):
        resume_run(runs / "none")
    with pytest.raises(InvalidInput, match="must be running to be stopped"):
        stop_run(runs / "first")
    assert claim_run(RunFolder(runs / "first"), None) is not None
    with pytest.raises(InvalidInput, match="must not be running"):
        resume_run(runs / "first")
