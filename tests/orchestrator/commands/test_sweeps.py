"""Commands that look at a sweep or a run without running it; those that do are in `tests/integration`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis import heartbeat
from analysis.claim import claim_run
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.cli import run
from orchestrator.spec.loading import load
from trainables.result import TrialResult
from trainables.status import Status

Trial = Callable[..., TrialResult]
Capture = pytest.CaptureFixture[str]


def said(capsys: Capture) -> str:
    told = capsys.readouterr()
    return " ".join((told.out + told.err).split())


def test_a_space_is_shown_with_its_size_and_first_points(design: Path, capsys: Capture) -> None:
    assert run(["space", str(design), "--format", "json"]) == 0
    document, space = json.loads(capsys.readouterr().out), load(design).search_space
    assert list(document) == ["tree", "size", "first", "samples"]
    assert (document["tree"], document["size"]) == (space.tree(), None)
    own, *probed = document["first"]
    assert [own] == load(design).first_points()
    assert [point["architecture"] for point in probed] == ["mobilenetv2_100", "tf_mobilenetv3_small_100"]
    assert len(document["samples"]) == 3
    assert all(space.contains(point) for point in document["samples"])
    assert run(["space", str(design)]) == 0
    assert "infinitely many points, 24 trials tried first: architecture=mobilenetv2_100, strategy=head" in said(capsys)


def test_a_sampler_that_draws_at_random_is_warned_about(design: Path, capsys: Capture) -> None:
    assert run(["space", str(design), "--set", "search.sampler=qmc", "--format", "json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["size"] is None
    assert told.err.startswith("warning: search.sampler qmc draws conditional dimensions at random")


def test_a_status_has_the_driver_and_the_trials_of_a_run(empty_run: RunFolder, trial: Trial, capsys: Capture) -> None:
    Ledger(empty_run).write_trial(trial("0000", [0.5], Status.COMPLETED))
    Ledger(empty_run).write_trial(trial("0001", [0.7]))
    name = str(empty_run.root)
    assert run(["status", name]) == 0
    text = said(capsys)
    assert "small: not running 1 of 2 trials done: " in text
    assert f"go on with: thaw resume {name}" in text
    assert claim_run(empty_run, None) is not None
    mine = heartbeat.read(empty_run.root)
    assert mine is not None
    assert run(["status", name]) == 0
    text = said(capsys)
    assert f"small: driven by process {mine.pid} on {mine.host}" in text
    assert "thaw resume" not in text
    assert run(["status", name, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["name", "driven", "trials_planned", "ended", "trials", "best"]
    assert (document["driven"], document["trials"]) == (True, {"COMPLETED": 1, "RUNNING": 1})


def test_a_status_after_a_used_up_budget_has_the_command_that_continues(empty_run: RunFolder, capsys: Capture) -> None:
    Ledger(empty_run).update_run(ended="budget.wall_clock: 1h of 1h are used")
    assert run(["status", str(empty_run.root)]) == 0
    assert f"thaw extend {empty_run.root} --set budget.wall_clock=..." in said(capsys)


def test_a_log_is_printed_as_it_is(empty_run: RunFolder, capsys: Capture) -> None:
    for path, text in ((empty_run.sweep_log, "[bold]2 trials to go\n"), (empty_run.log("0001"), "epoch 1: é\n")):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    name = str(empty_run.root)
    assert run(["logs", name]) == 0
    assert capsys.readouterr().out == "[bold]2 trials to go\n"
    assert run(["logs", name, "0001"]) == 0
    assert capsys.readouterr().out == "epoch 1: é\n"
    assert run(["logs", name, "0002"]) == 2
    assert "log must be of a trial that ran, got 0002; there are 0001" in said(capsys)


def test_only_a_running_sweep_is_stopped(empty_run: RunFolder, capsys: Capture) -> None:
    assert run(["stop", str(empty_run.root)]) == 2
    assert "must be running to be stopped, but it is not" in said(capsys)
    assert not empty_run.stop_request.exists()


def test_a_driver_that_does_not_stop_is_a_failure(
    empty_run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("orchestrator.commands.sweeps.STOP_TIMEOUT", 0.1)
    assert claim_run(empty_run, None) is not None
    assert run(["stop", str(empty_run.root)]) == 1
    assert "asked to stop, but still running after 0 s; see its own terminal" in said(capsys)
    assert empty_run.stop_request.exists()


@pytest.mark.parametrize("command", ["resume", "extend", "status", "logs", "stop"])
def test_a_folder_that_is_no_run_is_refused(command: str, tmp_path: Path, capsys: Capture) -> None:
    assert run([command, str(tmp_path / "none")]) == 2
    assert "a run must be an existing folder" in said(capsys)
