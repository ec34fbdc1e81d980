import shutil
from pathlib import Path

from report_runs import trial

from analysis.claim import claim_run
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.serve.run_watch import RunWatch
from trainables.status import Status


def test_a_run_is_read_again_only_when_it_has_changed(runs: Path) -> None:
    watch, ledger = RunWatch(runs / "first"), Ledger(RunFolder(runs / "first"))
    state = watch.state()
    assert watch.state() is state
    ledger.write_trial(trial(9, Status.RUNNING, epochs=1))
    changed = watch.state().data
    assert changed is not None
    assert [entry.trial.status for entry in changed.board.entries][-1] is Status.INTERRUPTED
    assert not changed.is_driven


def test_a_driver_is_a_change(runs: Path) -> None:
    watch = RunWatch(runs / "first")
    assert watch.state().driver is None
    claim = claim_run(RunFolder(runs / "first"), None)
    assert claim is not None
    state = watch.state()
    assert state.driver is not None
    assert state.data is not None
    assert state.data.is_driven
    claim.beat()
    assert watch.state() is state


def test_what_cannot_be_read_is_a_reason(runs: Path) -> None:
    watch = RunWatch(runs / "first")
    RunFolder(runs / "first").heartbeat.write_text("{")
    assert "driver.json: a record must be JSON" in watch.state().problem
    assert watch.state().data is not None
    shutil.rmtree(runs / "first")
    gone = watch.state()
    assert gone.data is None
    assert "must be an existing folder" in gone.problem
    assert watch.state() is gone
