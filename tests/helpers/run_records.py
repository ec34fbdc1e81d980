"""Records of a small run, for tests that write a ledger by hand."""

from typing import Any

from analysis.ledger import RunRecord
from trainables.config import Objective, TrialConfig
from trainables.result import EpochReport, TrialResult
from trainables.status import Status

CONFIG = {"data": {"root": "photos"}, "architecture": "resnet18", "strategy": "head", "epochs": 9, "lr": 0.1}


def run_record(**changes: Any) -> RunRecord:
    """The record of a run with two classes and three planned trials."""
    values = {
        "name": "trash",
        "objective": Objective(),
        "space": {},
        "distributions": {},
        "created": "2026-01-01T00:00:00Z",
        "classes": ("a", "b"),
        "fingerprint": "0",
        "sample_counts": {"train": 4},
        "class_counts": {"train": (3, 1)},
        "trials_planned": 3,
        "versions": {},
    }
    return RunRecord.model_validate(values | changes)


def trial(number: int, epochs: int, status: Status = Status.RUNNING) -> TrialResult:
    """The record of a trial that has reported so many epochs."""
    reports = tuple(
        EpochReport(epoch=epoch, metrics={"val/macro_f1": epoch / 10}, seconds=1, checkpoint="best")
        for epoch in range(1, epochs + 1)
    )
    config = TrialConfig.from_mapping(CONFIG, "test")
    return TrialResult(trial_id=f"{number:04d}", config=config, parameters={}, status=status, reports=reports)
