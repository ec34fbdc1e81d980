import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from analysis.leaderboard import Leaderboard
from analysis.ledger import Ledger, RunRecord
from analysis.run_folder import RunFolder
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.sweep_identity import SweepIdentity
from trainables.config import Objective
from trainables.result import TrialResult
from trainables.status import Status

Trial = Callable[..., TrialResult]


@pytest.fixture(params=["folder", "bucket"])
def run(tmp_path: Path, trial: Trial, request: pytest.FixtureRequest) -> RunFolder:
    """A run with a winner and a pruned trial."""
    root: Any = tmp_path / "small"
    if request.param == "bucket":
        from trainables.storage.place import as_place

        root = as_place(f"{request.getfixturevalue('bucket')}/small")
    folder = RunFolder(root, tmp_path / "cache")
    empty: dict[str, Any] = {"space": {}, "distributions": {}, "fingerprint": "", "sample_counts": {}, "versions": {}}
    created = datetime(2026, 1, 1, tzinfo=UTC)
    classes = ("a", "b")
    record = RunRecord(name="small", objective=Objective(), created=created, classes=classes, trials_planned=2, **empty)
    Ledger(folder).write_run(record)
    Ledger(folder).write_trial(trial("0000", [0.5], Status.PRUNED, {"lr": 0.1}))
    Ledger(folder).write_trial(trial("0001", [0.5, 0.75], Status.COMPLETED, {"lr": 0.01, "balance": "loss"}))
    return folder


def write(place: Any, text: str) -> None:
    if isinstance(place, Path):
        place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(text.encode())


def test_a_sweep_that_has_just_ended(run: RunFolder) -> None:
    summary = SweepSummary.from_run(run)
    assert (summary.sweep.name, summary.folder, summary.test, summary.model) == ("small", run.local, {}, None)
    assert {name: value for name, value in summary.values().items() if value != 0} == {
        "objective": "val/macro_f1",
        "trials/COMPLETED": 1,
        "trials/PRUNED": 1,
        "cost/seconds": 4.5,
        "best/trial": "0001",
        "best/epoch": 2,
        "best/val/macro_f1": 0.75,
    }
    assert [name for name in summary.values() if name.startswith("trials/")] == [f"trials/{s}" for s in Status]
    assert summary.table() == (
        ["rank", "trial_id", "status", "objective", "epoch", "epochs", "seconds", "balance", "lr"],
        [[1, "0001", "COMPLETED", 0.75, 2, 2, 3.0, "loss", 0.01], [None, "0000", "PRUNED", 0.5, 1, 1, 1.5, None, 0.1]],
    )


@pytest.mark.parametrize(("trial_id", "test"), [("0001", {"macro_f1": 0.7}), ("0000", {})])
def test_the_test_metrics_are_those_of_the_winner_alone(run: RunFolder, trial_id: str, test: dict[str, float]) -> None:
    record = {"trial_id": trial_id, "test": {"metrics": {"macro_f1": 0.7}}}
    write(run.winner / "retrain.json", json.dumps(record))
    summary = SweepSummary.from_run(run)
    assert summary.test == test
    assert ("test/macro_f1" in summary.values()) is bool(test)


def test_the_data_are_counted(run: RunFolder) -> None:
    Ledger(run).update_run(class_counts={"train": (30, 4), "val": (3, 1)})
    found = SweepSummary.from_run(run).values()
    data = {name: value for name, value in found.items() if name.startswith("data/")}
    assert data == {"data/train": 34, "data/val": 4, "data/classes": 2, "data/imbalance_ratio": 7.5}


def test_an_exported_model_is_named_by_its_path(run: RunFolder) -> None:
    write(run.export / "model.onnx", "model")
    assert SweepSummary.from_run(run).values()["export/model"] == "export/model.onnx"


def test_without_a_completed_trial_there_is_no_best(trial: Trial, tmp_path: Path) -> None:
    board = Leaderboard.from_trials(Objective(), [trial("0000", [0.5], Status.FAILED)])
    summary = SweepSummary(SweepIdentity("small"), RunFolder(tmp_path), board)
    assert summary.best is None
    assert not [name for name in summary.values() if name.startswith("best/")]
