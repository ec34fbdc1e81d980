"""`thaw leaderboard` and `thaw compare` on ledgers alone."""

import csv
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
        parameters = {"lr": 10.0**-number}
        Ledger(empty_run).write_trial(trial(f"{number:04d}", [score], Status.COMPLETED, parameters, lr=10.0**-number))
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
    assert told.out.startswith("all: data.root=")
    assert told.out.index("0.7500") < told.out.index("0.5000") < told.out.index("0.2500")


def test_a_part_is_shown_in_another_order(searched: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["leaderboard", searched, "--where", "lr<0.5", "--sort", "lr", "--format", "csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [(row["trial_id"], row["parameters.lr"]) for row in rows] == [("0002", "0.01"), ("0001", "0.1")]
    assert run(["leaderboard", searched, "--best-per", "strategy", "--format", "markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[1] for line in lines] == ["trial", "---", "0001"]
    assert run(["leaderboard", searched, "--where", "lr>5"]) == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "none of the 3 trials fulfils --where lr>5\n")


def test_a_wrong_condition_is_refused(searched: str, capsys: pytest.CaptureFixture[str]) -> None:
    for option, value in (("--where", "lr>"), ("--sort", "rate"), ("--best-per", "rate")):
        assert run(["leaderboard", searched, option, value]) == 2
        told = capsys.readouterr()
        assert (told.out, told.err.startswith(f"error: {option}: ")) == ("", True)


def test_several_runs_are_ranked_together(
    searched: str, tmp_path: Path, trial: Callable[..., TrialResult], capsys: pytest.CaptureFixture[str]
) -> None:
    other = RunFolder(tmp_path / "other")
    other.trials.mkdir(parents=True)
    record = Ledger(RunFolder(Path(searched))).read_run()
    Ledger(other).write_run(record.model_copy(update={"fingerprint": "of other photos"}))
    Ledger(other).write_trial(trial("0000", [0.6], Status.COMPLETED, {"lr": 3.0}))
    assert run(["leaderboard", searched, str(other.root), "--format", "json"]) == 0
    told = capsys.readouterr()
    shown = [(entry["rank"], entry["run"], entry["trial_id"]) for entry in json.loads(told.out)]
    own = Path(searched).name
    assert shown == [(1, own, "0001"), (2, "other", "0000"), (3, own, "0002"), (4, own, "0000")]
    assert "has other data than" in told.err
    assert run(["leaderboard", searched, str(other.root)]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[:3] == ["run", "rank", "trial"]


def test_a_run_without_trials_says_so(empty_run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["leaderboard", str(empty_run.root)]) == 0
    assert f"{empty_run.root} has no trials yet; see `thaw status {empty_run.root}`" in capsys.readouterr().err
    assert run(["leaderboard", str(empty_run.root), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_two_trials_are_compared(searched: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", searched, "0001", "0002"]) == 0
    printed = capsys.readouterr().out
    assert [" ".join(line.split()) for line in printed.splitlines()[:2]] == ["setting 0001 0002", "lr 0.1 0.01"]
    assert "no interval of their difference" in printed
    assert run(["compare", searched, "0001", "0002", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["objectives"] == [0.75, 0.5]
    assert run(["compare", searched, "0001", "0009"]) == 2
    assert "a trial must be one of the run's, got '0009'" in capsys.readouterr().err
