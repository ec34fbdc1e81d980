"""The driver's lifeline, without a sweep: `tests/integration` has the whole of it."""

import os
import signal
import time
from collections.abc import Callable

import pytest

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.driver import lifeline as module
from orchestrator.driver.lifeline import Lifeline
from orchestrator.spec.budget import Budget
from orchestrator.tuner.budget_meter import BudgetMeter
from orchestrator.tuner.stopper import SweepStopper
from trainables.config import Objective
from trainables.result import TrialResult
from trainables.status import Status


@pytest.fixture
def stopper(empty_run: RunFolder) -> SweepStopper:
    return SweepStopper(empty_run, BudgetMeter(Budget(), Objective(), 0, seconds=100.0), lambda reason: None)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_record_that_cannot_be_read_for_a_moment_does_not_end_the_lifeline(
    empty_run: RunFolder, stopper: SweepStopper, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(module, "NOTE_SECONDS", 0.0)
    record = empty_run.run_json.read_bytes()
    with Lifeline(Ledger(empty_run), stopper):
        empty_run.run_json.write_bytes(b"{")
        until(lambda: empty_run.run_json.name in caplog.text)
        empty_run.run_json.write_bytes(record)
        until(lambda: Ledger(empty_run).read_run().driven_seconds >= 100)
    assert stopper.failed is None


def test_the_time_of_drivers_adds_up_and_is_noted_meanwhile(
    empty_run: RunFolder, stopper: SweepStopper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(module, "NOTE_SECONDS", 0.0)
    ledger = Ledger(empty_run)
    with Lifeline(ledger, stopper):
        until(lambda: ledger.read_run().driven_seconds >= 100)
    assert 100 < ledger.read_run().driven_seconds < 200


def test_the_budget_that_ended_the_sweep_is_noted(empty_run: RunFolder, trial: Callable[..., TrialResult]) -> None:
    meter = BudgetMeter(Budget(target=0.5), Objective(), 0)
    stopper = SweepStopper(empty_run, meter, lambda reason: None)
    with Lifeline(Ledger(empty_run), stopper):
        meter.on_trial(trial("0000", [0.6], Status.COMPLETED))
        stopper.stop_all()
    assert Ledger(empty_run).read_run().ended == "budget.target: trial 0000 reached 0.6000, 0.5 was asked for"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_requests_a_clean_end_and_a_second_ctrl_c_is_the_ordinary_one(
    empty_run: RunFolder, stopper: SweepStopper, number: signal.Signals
) -> None:
    former = signal.getsignal(number)
    with Lifeline(Ledger(empty_run), stopper):
        os.kill(os.getpid(), number)
        assert stopper.is_stopped
        assert empty_run.stop_request.exists()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    assert signal.getsignal(number) is former
    assert not empty_run.stop_request.exists()
