import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from analysis.ledger import Ledger, RunRecord
from analysis.run_folder import RunFolder
from analysis.winner import RETRAIN_JSON
from orchestrator.results import evaluate as module
from orchestrator.results.evaluate import evaluate_trials
from orchestrator.spec.sweep_spec import SweepSpec
from search_spaces.errors import InvalidInput
from trainables.result import TrialResult
from trainables.status import Status

Trial = Callable[..., TrialResult]


@pytest.fixture
def run(tmp_path: Path, small_spec: Callable[..., SweepSpec], trial: Trial) -> RunFolder:
    """Trials 0000 (0.5), 0001 (0.7), 0002 (0.6) COMPLETED, 0003 PRUNED, 0004 FAILED; all but 0004 with a checkpoint."""
    folder, spec = RunFolder(tmp_path / "runs" / "small"), small_spec()
    record: dict[str, Any] = {"distributions": {}, "fingerprint": "", "sample_counts": {}, "versions": {}, "space": {}}
    Ledger(folder).write_run(
        RunRecord(
            **record,
            name=spec.name,
            objective=spec.objective,
            created=datetime(2026, 1, 1, tzinfo=UTC),
            classes=("a", "b"),
            trials_planned=5,
        )
    )
    folder.sweep_yaml.write_text(spec.to_yaml())
    for name, score, status in (
        ("0000", 0.5, Status.COMPLETED),
        ("0001", 0.7, Status.COMPLETED),
        ("0002", 0.6, Status.COMPLETED),
        ("0003", 0.9, Status.PRUNED),
        ("0004", 0.1, Status.FAILED),
    ):
        Ledger(folder).write_trial(trial(name, [score], status))
        if status is not Status.FAILED:
            folder.best(name).mkdir(parents=True)
            (folder.best(name) / "state.json").touch()
    return folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Requests for an evaluation, in place of one."""
    calls: list[tuple[Any, ...]] = []

    def evaluate(checkpoints: Sequence[Path], split: str, cache: Path, tta: str, budget: int | None) -> None:
        calls.append((list(checkpoints), split, tta))

    monkeypatch.setattr(module, "evaluate_checkpoints", evaluate)
    return calls


def test_without_trials_the_winner_is_measured_on_the_test_split(run: RunFolder, asked: list[Any]) -> None:
    measured = evaluate_trials(run.root)
    assert asked == [([run.best("0001")], "test", "none")]
    assert (measured.trial_ids, measured.origin) == (("0001",), "trial 0001, as trained in the sweep")


def test_the_retrained_winner_comes_first_while_it_is_the_winners(run: RunFolder, asked: list[Any]) -> None:
    run.winner.mkdir()
    (run.winner / RETRAIN_JSON).write_text(json.dumps({"trial_id": "0001", "test": {}}))
    measured = evaluate_trials(run.root, split="val", tta="flip")
    assert asked == [([run.winner / "checkpoints" / "best"], "val", "flip")]
    assert measured.origin == "trial 0001, retrained"
    (run.winner / RETRAIN_JSON).write_text(json.dumps({"trial_id": "0000", "test": {}}))
    evaluate_trials(run.root)
    assert asked[-1][0] == [run.best("0001")]


def test_named_trials_vote_as_trained_in_the_sweep(run: RunFolder, asked: list[Any]) -> None:
    assert evaluate_trials(run.root, ["0003"]).origin == "trial 0003, as trained in the sweep"
    measured = evaluate_trials(run.root, ["0002", "0000"])
    assert asked[-1][0] == [run.best("0002"), run.best("0000")]
    assert measured.origin == "soft vote of the trials 0002, 0000"
    assert evaluate_trials(run.root, ["0003"], ranks=[1, 3]).trial_ids == ("0003", "0001", "0000")


def test_an_ensemble_is_of_the_best_completed(run: RunFolder, asked: list[Any]) -> None:
    assert evaluate_trials(run.root, ensemble=2).trial_ids == ("0001", "0002")
    assert evaluate_trials(run.root, ensemble=3).trial_ids == ("0001", "0002", "0000")
    assert asked[-1][0] == [run.best(name) for name in ("0001", "0002", "0000")]


@pytest.mark.parametrize(
    ("trial_ids", "ensemble", "said"),
    [
        (["0009"], None, r"no trial has the id '0009'; did you mean 000\d"),
        (["../0001"], None, r"a trial id must be a file name, got '../0001'"),
        (["0001", "0001"], None, r"trials must differ, got 0001 twice; a trial has one vote"),
        (["0001"], 2, r"--ensemble must not be given with trials, got 2 and 0001; several trials vote without it"),
        ([], 4, r"--ensemble must be at most the number of COMPLETED trials, got 4 of 3; ask for fewer"),
        ([], 1, r"--ensemble must be at least 2, got 1"),
        (
            ["0000", "0004"],
            None,
            r"must have a checkpoint, got 0004, which is FAILED and has none; there are those of 0001, 0002",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(
    run: RunFolder, asked: list[Any], trial_ids: list[str], ensemble: int | None, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        evaluate_trials(run.root, trial_ids, ensemble=ensemble)
    with pytest.raises(InvalidInput, match="--ensemble must not be given with trials, got 2 and --rank 1"):
        evaluate_trials(run.root, ranks=[1], ensemble=2)
    assert asked == []


def test_a_run_without_a_winner_is_refused(run: RunFolder, trial: Trial, asked: list[Any]) -> None:
    for name in ("0000", "0001", "0002"):
        Ledger(run).write_trial(trial(name, [0.5], Status.PRUNED))
    with pytest.raises(InvalidInput, match=r"no trial of .* is COMPLETED"):
        evaluate_trials(run.root)
    with pytest.raises(InvalidInput, match="got 2 of 0"):
        evaluate_trials(run.root, ensemble=2)
