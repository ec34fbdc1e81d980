"""`thaw leaderboard` on a run's ledger alone; what needs trained models is in `tests/integration/test_chain.py`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.cli import run
from trainables.result import TrialResult
from trainables.status import Status


@pytest.fixture
def searched(empty_run: RunFolder, trial: Callable[..., TrialResult]) -> str:
    for number, score in enumerate((0.25, 0.75, 0.5)):
        Ledger(empty_run).write_trial(trial(f"{number:04d}", [score], Status.COMPLETED))
    return str(empty_run.root)


def test_trials_are_shown_best_first_and_as_many_as_are_wanted(
    searched: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["leaderboard", searched, "--top", "2", "--format", "json"]) == 0
    board = json.loads(capsys.readouterr().out)
    assert [(entry["rank"], entry["trial_id"]) for entry in board] == [(1, "0001"), (2, "0002")]
    assert run(["leaderboard", searched]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert told.out.index("0.7500") < told.out.index("0.5000") < told.out.index("0.2500")


def test_a_run_without_trials_says_so(empty_run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["leaderboard", str(empty_run.root)]) == 0
    assert f"{empty_run.root} has no trials yet; see `thaw status {empty_run.root}`" in capsys.readouterr().err
    assert run(["leaderboard", str(empty_run.root), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize("command", ["leaderboard", "evaluate", "retrain", "export"])
def test_a_folder_that_is_no_run_is_refused(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, str(tmp_path / "none")]) == 2
    told = capsys.readouterr()
    assert (told.out, "a run must be an existing folder" in told.err) == ("", True)


def test_a_model_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", str(tmp_path / "model.onnx"), str(tmp_path)]) == 2
    assert "no such model" in capsys.readouterr().err


def test_a_message_shows_a_path_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["leaderboard", "wandb:x:smile:"]) == 2
    assert "wandb:x:smile:: must be wandb:ENTITY/PROJECT/GROUP" in " ".join(capsys.readouterr().err.split())
