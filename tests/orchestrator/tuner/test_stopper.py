import errno
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from analysis.run_folder import RunFolder
from orchestrator.spec.budget import Budget
from orchestrator.tuner.budget_meter import BudgetMeter
from orchestrator.tuner.stopper import SweepStopper
from search_spaces.errors import StorageFailed
from trainables.config import Objective
from trainables.result import TrialResult
from trainables.status import Status

TARGET = "budget.target: trial 0000 reached 0.6000, 0.5 was asked for"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


@pytest.fixture
def meter() -> BudgetMeter:
    return BudgetMeter(Budget(target=0.5), Objective(), 0)


def test_a_used_up_budget_lets_trials_end_their_epoch(
    run: RunFolder, meter: BudgetMeter, trial: Callable[..., TrialResult]
) -> None:
    stopper = SweepStopper(run, meter, lambda reason: None)
    assert not stopper.stop_all()
    assert not stopper("0000", {})
    meter.on_trial(trial("0000", [0.6], Status.COMPLETED))
    assert not stopper("0000", {}), "nothing changes between two turns of Tune's loop"
    assert not stopper.stop_all(), "running trials continue to the end of their epoch"
    assert stopper("0001", {})
    assert stopper.is_over()
    assert stopper.ended == TARGET
    assert not run.stop_request.exists()


def test_a_request_stops_everything(run: RunFolder, meter: BudgetMeter) -> None:
    stopper = SweepStopper(run, meter, lambda reason: None)
    run.stop_request.touch()
    assert stopper.stop_all()
    assert stopper.is_stopped
    assert not stopper.is_over()


def test_a_request_stops_a_sweep_that_a_budget_is_ending(
    run: RunFolder, meter: BudgetMeter, trial: Callable[..., TrialResult]
) -> None:
    stopper = SweepStopper(run, meter, lambda reason: None)
    meter.on_trial(trial("0000", [0.6], Status.COMPLETED))
    assert not stopper.stop_all()
    stopper.request_stop()
    assert run.stop_request.exists()
    assert stopper.stop_all()


def test_the_reason_is_reported_once(run: RunFolder, meter: BudgetMeter, trial: Callable[..., TrialResult]) -> None:
    reasons: list[str] = []
    stopper = SweepStopper(run, meter, reasons.append)
    stopper.stop_all()
    assert reasons == []
    meter.on_trial(trial("0000", [0.6], Status.COMPLETED))
    for _ in range(2):
        stopper.stop_all()
    assert reasons == [TARGET]
    asked = SweepStopper(run, BudgetMeter(Budget(), Objective(), 0), reasons.append)
    asked.request_stop()
    asked.stop_all()
    assert reasons[1:] == ["asked to stop"]


def test_a_bad_node_stops_everything(run: RunFolder, meter: BudgetMeter) -> None:
    reasons: list[str] = []
    stopper = SweepStopper(run, meter, reasons.append)
    stopper.joining_nodes = SimpleNamespace(complaint=lambda: "node b: timm must be 1.0")  # type: ignore[assignment]
    stopper.stop_all()
    assert stopper.is_stopped
    assert reasons == ["node b: timm must be 1.0"]


@pytest.mark.parametrize("error", [StorageFailed("bucket out of reach"), OSError(errno.ENOSPC, "No space left")])
def test_failed_storage_behind_another_error_is_found(run: RunFolder, meter: BudgetMeter, error: Exception) -> None:
    stopper = SweepStopper(run, meter, lambda reason: None)
    with stopper.giving_up():
        try:
            raise error
        except Exception as cause:
            raise RuntimeError("Tune cannot write its snapshot") from cause
    assert stopper.is_stopped
    assert stopper.failed is not None
    assert str(error) in str(stopper.failed)
    stopper.give_up(StorageFailed("later"))
    assert str(error) in str(stopper.failed), "the first reason is kept"


def test_any_other_error_is_raised(run: RunFolder, meter: BudgetMeter) -> None:
    stopper = SweepStopper(run, meter, lambda reason: None)
    with pytest.raises(RuntimeError, match="a fault of Tune"), stopper.giving_up():
        raise RuntimeError("a fault of Tune")


def test_pickling_it_brings_nothing_along(run: RunFolder, meter: BudgetMeter) -> None:
    assert vars(pickle.loads(pickle.dumps(SweepStopper(run, meter, lambda reason: None)))) == {}
