import shutil
from pathlib import Path

from run_records import run_record

from analysis.claim import claim_run
from analysis.heartbeat import read
from analysis.identity import current_uid, new_uid
from analysis.ledger import Ledger, RunRecord
from analysis.run_folder import RunFolder

RECORD = run_record(uid="0123456789ab")


def claimed(root: Path) -> RunFolder:
    """Claim the run after its former driver, if any, has ended."""
    claim = claim_run(RunFolder(root), read(root))
    assert claim is not None
    run = claim.open()
    claim.end()
    return run


def launch(root: Path, record: RunRecord = RECORD) -> None:
    Ledger(claimed(root)).write_run(record)


def test_a_run_that_stays_keeps_its_uid(tmp_path: Path) -> None:
    launch(tmp_path / "a")
    assert current_uid(claimed(tmp_path / "a")) == RECORD.uid


def test_a_moved_run_keeps_its_uid(tmp_path: Path) -> None:
    launch(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    assert current_uid(claimed(tmp_path / "b")) == RECORD.uid


def test_a_copied_run_gets_a_uid_of_its_own_once(tmp_path: Path) -> None:
    launch(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    run = claimed(tmp_path / "b")
    uid = current_uid(run)
    assert uid is not None
    assert uid != RECORD.uid
    Ledger(run).update_run(uid=uid)
    assert current_uid(claimed(tmp_path / "b")) == uid
    assert current_uid(claimed(tmp_path / "a")) == RECORD.uid


def test_another_run_at_the_old_place_is_no_original(tmp_path: Path) -> None:
    launch(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    launch(tmp_path / "a", RECORD.model_copy(update={"uid": "another"}))
    assert current_uid(claimed(tmp_path / "b")) == RECORD.uid


def test_a_run_of_an_older_version_has_none(tmp_path: Path) -> None:
    launch(tmp_path / "a", RECORD.model_copy(update={"uid": None}))
    assert current_uid(claimed(tmp_path / "a")) is None


def test_uids_differ() -> None:
    assert len({new_uid() for _ in range(1000)}) == 1000
