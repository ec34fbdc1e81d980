"""How a sweep is told to machines and to people, from its start to its end."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.cli import run as cli

pytestmark = pytest.mark.seconds(25)

Thaw = Callable[..., subprocess.CompletedProcess[str]]


def test_a_sweep_told_to_machines_is_json_alone_and_notifies_at_its_end(
    thaw: Thaw, write_sweep: Callable[..., Path], tmp_path: Path
) -> None:
    file = tmp_path / "told"
    command = f'echo "$THAW_STATUS $THAW_BEST_TRIAL $THAW_RUN" > {file}; echo no route to host; exit 3'
    tracking = {"wandb": {"mode": "disabled"}, "notify": {"command": command}}
    sweep = write_sweep(tmp_path, search={"trials": 2}, tracking=tracking, stopping={"asha": {"grace": 2}})
    result = thaw("sweep", sweep, "--log-format", "json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    events = [json.loads(line) for line in result.stderr.splitlines()]
    names = [event["event"] for event in events]
    assert sorted(names) == sorted(
        ["warning", "sweep_started", *["trial_started", "epoch", "epoch", "trial_ended"] * 2, "sweep_ended", "warning"]
    )
    assert names[:2] == ["warning", "sweep_started"]
    assert "no trial of this sweep can be stopped early" in events[0]["message"]
    ended = events[-2]
    assert (ended["event"], ended["status"], ended["trials"]) == ("sweep_ended", "completed", {"COMPLETED": 2})
    assert "2 of 2 trials done, best val/macro_f1" in ended["message"]
    # The notification went out, what it came to is said, and the sweep is none the worse for it.
    assert file.read_text() == f"completed {ended['best']['trial_id']} {tmp_path / 'runs' / 'sweep'}\n"
    assert events[-1]["message"].endswith("must end with exit code 0, got 3: no route to host")


def test_what_is_wrong_before_the_start_is_an_event_with_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli(["sweep", str(tmp_path / "none.yaml"), "--log-format", "json"]) == 2
    told = capsys.readouterr()
    (event,) = [json.loads(line) for line in told.err.splitlines()]
    assert (event["event"], event["exit_code"], told.out) == ("error", 2, "")
    assert "file must exist" in event["message"]


def test_silence_and_events_exclude_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["sweep", str(tmp_path / "none.yaml"), "--quiet", "--log-format", "json"]) == 2
    assert "--quiet must not be given with --log-format json" in " ".join(capsys.readouterr().err.split())
