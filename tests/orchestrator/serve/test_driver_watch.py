from pathlib import Path

import pytest

from analysis.claim import claim_run
from analysis.heartbeat import Heartbeat, Presence
from analysis.run_folder import RunFolder
from orchestrator.serve import driver_watch
from orchestrator.serve.driver_watch import DriverWatch
from search_spaces.errors import InvalidInput


def test_a_driver_is_at_work_until_it_ends(runs: Path) -> None:
    run = RunFolder(runs / "first")
    watch = DriverWatch(run.root)
    assert watch.at_work() is None
    claim = claim_run(run, None)
    assert claim is not None
    found = watch.at_work()
    assert found is not None
    assert found.driver == 1
    claim.end()
    assert watch.at_work() is None


def test_one_on_another_machine_until_it_is_silent(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder(runs / "first")
    claim = claim_run(run, None)
    assert claim is not None
    monkeypatch.setattr(Heartbeat, "presence", lambda self: Presence.UNKNOWN)
    watch = DriverWatch(run.root)
    assert watch.at_work() is not None
    monkeypatch.setattr(driver_watch, "PATIENCE", -1.0)
    assert watch.at_work() is None
    monkeypatch.undo()


def test_a_damaged_heartbeat_is_an_error(runs: Path) -> None:
    RunFolder(runs / "first").heartbeat.write_text("{")
    with pytest.raises(InvalidInput, match="must be JSON"):
        DriverWatch(runs / "first").at_work()
