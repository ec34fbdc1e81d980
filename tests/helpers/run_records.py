"""Records of a small run, for tests that write a ledger by hand."""

from typing import Any

from analysis.ledger import RunRecord
from trainables.config import Objective


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
        "sample_counts": {"train": 2},
        "trials_planned": 3,
        "versions": {},
    }
    return RunRecord.model_validate(values | changes)
