"""Runs that were moved, renamed, copied or damaged: they are resumed where they lie."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.ledger import Ledger
from analysis.run_folder import open_run
from orchestrator.cli import run as cli
from trainables.status import Status

pytestmark = pytest.mark.seconds(30)

TRIAL = {"architecture": "test_efficientnet", "strategy": "full", "epochs": 1}


@pytest.fixture(scope="module")
def stopped(ray_here: None, write_sweep: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two trials that were killed after one epoch: as if a driver had died."""
    folder = tmp_path_factory.mktemp("moved")
    file = write_sweep(folder, search={"trials": 2}, trial=TRIAL, resources={"concurrent": 1})
    assert cli(["sweep", str(file), "--quiet"]) == 0
    root = folder / "runs" / "sweep"
    ledger = Ledger(open_run(root))
    last = ledger.read_trial("0001")
    ledger.write_trial(last.model_copy(update={"status": Status.RUNNING, "reports": ()}))
    shutil.rmtree(root / "checkpoints" / "0001")
    return root


def finished(root: Path) -> bool:
    return [trial.status for trial in Ledger(open_run(root)).trials()] == [Status.COMPLETED] * 2


def test_a_moved_and_renamed_run_is_resumed_in_place(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(stopped, tmp_path / "new home" / "other name")
    monkeypatch.chdir(tmp_path)
    assert cli(["resume", "new home/other name"]) == 0
    assert "thaw leaderboard 'new home/other name'" in capsys.readouterr().err
    assert finished(tmp_path / "new home" / "other name")
    assert [path.name for path in tmp_path.iterdir()] == ["new home"]
    assert not finished(stopped)


def test_a_copied_run_has_a_uid_of_its_own(stopped: Path, tmp_path: Path) -> None:
    shutil.copytree(stopped, tmp_path / "copy")
    assert cli(["resume", str(tmp_path / "copy"), "--quiet"]) == 0
    uids = {Ledger(open_run(root)).read_run().uid for root in (stopped, tmp_path / "copy")}
    assert len(uids) == 2
    assert None not in uids


def test_a_damaged_record_costs_its_trial_alone(
    stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "damaged"
    shutil.copytree(stopped, root)
    (root / "trials" / "0001.json").write_text("{")
    (root / "trials" / "notes.txt").write_text("mine")
    assert cli(["leaderboard", str(root), "--format", "json"]) == 0
    told = capsys.readouterr()
    assert '"0000"' in told.out
    assert "0001.json: a record must be JSON" in told.err
    assert "notes.txt: must be the record of a trial" in told.err
    assert cli(["status", str(root)]) == 0
    assert cli(["extend", str(root), "--trials", "1", "--quiet"]) == 0
    assert [trial.trial_id for trial in Ledger(open_run(root)).trials()] == ["0000", "0002"]
    assert (root / "trials" / "0001.json").read_text() == "{"
