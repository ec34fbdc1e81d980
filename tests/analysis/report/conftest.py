from pathlib import Path

import pytest
from report_runs import SPACE, predicted, trial
from run_records import run_record

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from trainables.status import Status


@pytest.fixture
def empty(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.trials.mkdir(parents=True)
    Ledger(run).write_run(run_record(space=SPACE))
    return run


@pytest.fixture
def run(empty: RunFolder) -> RunFolder:
    for number in range(24):
        Ledger(empty).write_trial(trial(number))
    Ledger(empty).write_trial(trial(24, Status.PRUNED, epochs=1))
    Ledger(empty).write_trial(trial(25, Status.FAILED, epochs=0))
    for name in ("0023", "0021", "0020"):
        predicted(empty, name)
    return empty
