import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trainables.config import Objective, TrialConfig
from trainables.data_config import DataConfig
from trainables.result import EpochReport, Failure, TrialResult, best_report
from trainables.status import Status

CONFIG = TrialConfig(data=DataConfig(root="photos"), architecture="resnet18", strategy="full", epochs=9, lr=1e-3)


def report(epoch: int, value: float, **more: Any) -> EpochReport:
    return EpochReport(epoch=epoch, metrics={"val/macro_f1": value}, seconds=0.5, checkpoint="best", **more)


def result(*values: float, status: Status = Status.COMPLETED) -> TrialResult:
    reports = tuple(report(epoch, value) for epoch, value in enumerate(values, start=1))
    return TrialResult(trial_id="0001", config=CONFIG, parameters={"lr": 1e-3}, status=status, reports=reports)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_report_is_finite(value: float) -> None:
    with pytest.raises(ValidationError, match=r"metrics\.val/macro_f1\s+Input should be a finite number"):
        report(1, value)


def test_epochs_count_from_one() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        report(0, 0.5)


def test_the_best_epoch_is_the_earliest_of_equals() -> None:
    trial = result(0.2, 0.7, 0.7, 0.4)
    assert trial.best is not None
    assert (trial.best.epoch, trial.objective, trial.seconds, trial.ended_by) == (2, 0.7, 2.0, None)


def test_lower_is_better_where_the_objective_says_so() -> None:
    reports = [EpochReport(epoch=i, metrics={"val/loss": v}, seconds=0, checkpoint="last") for i, v in ((1, 2), (2, 1))]
    best = best_report(reports, Objective(metric="val/loss"))
    assert best is not None
    assert best.epoch == 2


def test_a_trial_without_reports_has_no_best() -> None:
    trial = result(status=Status.FAILED)
    assert (trial.best, trial.objective, trial.ended_by, trial.seconds) == (None, None, None, 0)


def test_only_running_and_interrupted_trials_are_unfinished() -> None:
    assert [status for status in Status if status.unfinished] == [Status.RUNNING, Status.INTERRUPTED]


@given(st.lists(st.floats(0, 1), max_size=5), st.sampled_from(Status), st.none() | st.text())
def test_json_round_trip(values: list[float], status: Status, message: str | None) -> None:
    failure = None if message is None else Failure(message=message, log="logs/0001.log")
    trial = result(*values, status=status).model_copy(update={"failure": failure})
    assert TrialResult.from_json(trial.to_json()) == trial


def test_a_newer_version_is_read_as_far_as_it_is_known() -> None:
    trial = result(0.1, 0.2)
    newer = json.loads(trial.to_json())
    newer["energy"] = 1
    newer["config"]["energy"] = 1
    newer["config"]["data"]["mirror"] = "s3://x"
    newer["config"]["objective"]["weight"] = 2
    newer["reports"][0]["memory"] = 3
    assert TrialResult.from_json(json.dumps(newer)) == trial


def test_a_result_is_light_to_import() -> None:
    code = "import sys, trainables.result; print(*sorted({'torch', 'pandas', 'ray', 'numpy'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
