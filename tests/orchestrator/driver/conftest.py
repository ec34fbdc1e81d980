"""A run on disk without trials."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from analysis.ledger import Ledger, RunRecord
from analysis.run_folder import RunFolder
from trainables.config import Objective


@pytest.fixture
def empty_run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path)
    Ledger(run).write_run(
        RunRecord(
            name="small",
            objective=Objective(),
            space={},
            distributions={},
            created=datetime.now(UTC),
            classes=("a", "b"),
            fingerprint="photos",
            sample_counts={},
            trials_planned=2,
            versions={},
        )
    )
    return run
