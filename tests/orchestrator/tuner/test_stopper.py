"""The driver's watch over its sweep, without a sweep: `tests/integration` has the whole of it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from analysis import heartbeat
from analysis.ledger import Ledger, RunRecord
from analysis.run_folder import RunFolder
from orchestrator.spec.budget import Budget, BudgetMeter
from orchestrator.tuner import stopper as watch_module
from orchestrator.tuner.stopper import Watch
from search_spaces.errors import StorageFailed
from trainables.config import Objective
from trainables.result import Status, TrialResult


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
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


def watched(
    run: RunFolder, seconds: float = 0.0, on_ending: Callable[[str], None] = lambda reason: None, **budget: float
) -> Watch:
    return Watch(run, BudgetMeter(Budget.model_validate(budget), Objective(), 0, seconds=seconds), on_ending)


def test_a_used_up_budget_lets_trials_end_their_epoch_and_is_noted(
    run: RunFolder, trial: Callable[..., TrialResult]
) -> None:
    with watched(run, target=0.5) as watch:
        assert heartbeat.is_alive(run)
        assert not watch.stop_all()
        assert not watch("0000", {})
        watch.spent.note(trial("0000", [0.6], Status.COMPLETED))
        assert not watch("0000", {}), "nothing changes between two turns of Tune's loop"
        assert not watch.stop_all(), "what runs goes on to the end of its epoch"
        assert watch("0001", {})
        assert watch.is_over()
        assert run.stop_request.exists(), "workers do not take their end for one by ASHA"
        watch._polled = 0.0
        assert not watch.stop_all(), "and this driver does not take it for a person's"
    assert not run.stop_request.exists()
    assert not heartbeat.is_alive(run)
    assert Ledger(run).read_run().ended == "budget.target: trial 0000 reached 0.6000, 0.5 was asked for"


def test_a_person_s_request_stops_everything(run: RunFolder) -> None:
    with watched(run, target=0.5) as watch:
        run.stop_request.touch()
        assert watch.stop_all()
        assert not watch.is_over()
    assert Ledger(run).read_run().ended is None


def test_why_it_ends_is_told_once(run: RunFolder, trial: Callable[..., TrialResult]) -> None:
    reasons: list[str] = []
    with watched(run, on_ending=reasons.append, target=0.5) as watch:
        watch.stop_all()
        assert reasons == []
        watch.spent.note(trial("0000", [0.6], Status.COMPLETED))
        for _ in range(2):
            watch.stop_all()
    assert reasons == ["budget.target: trial 0000 reached 0.6000, 0.5 was asked for"]
    with watched(run, on_ending=reasons.append) as watch:
        run.stop_request.touch()
        watch.stop_all()
    assert reasons[1:] == ["asked to stop"]


def test_it_lives_though_it_is_busy(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "BEAT_SECONDS", 0.05)
    with watched(run):
        first, deadline = heartbeat.read(run), time.monotonic() + 30
        assert first is not None
        while (now := heartbeat.read(run)) is not None and now.beat == first.beat:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert heartbeat.read(run) is None
    time.sleep(0.2)
    assert heartbeat.read(run) is None, "nor does it say so afterwards"


def test_a_heartbeat_that_cannot_be_written_ends_the_sweep(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "BEAT_SECONDS", 0.3)
    with watched(run) as watch:
        run.heartbeat.unlink()
        run.heartbeat.mkdir()  # type: ignore[union-attr]  # a folder: it takes no file's place
        deadline = time.monotonic() + 30
        while not watch.stop_all():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        run.heartbeat.rmdir()  # type: ignore[union-attr]
    assert isinstance(watch.failed, StorageFailed)


def test_the_time_of_drivers_adds_up(run: RunFolder) -> None:
    with watched(run, seconds=100.0) as watch:
        watch.stop_all()
        assert Ledger(run).read_run().driven_seconds >= 100, "noted while it runs: a killed driver has spent its time"
    assert 100 < Ledger(run).read_run().driven_seconds < 200
