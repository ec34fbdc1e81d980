import os
from collections.abc import Callable
from pathlib import Path

from report_runs import trial

from analysis.claim import claim_run
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.serve.record_versions import is_run, record_versions
from trainables.status import Status
from trainables.storage.place import as_place

NewRun = Callable[..., Ledger]


def test_a_record_that_changes_has_another_version(runs: Path, new_run: NewRun) -> None:
    ledger, root = new_run(runs / "second", 2), runs / "second"
    first = record_versions(root)
    assert record_versions(root) == first
    ledger.write_trial(trial(1, Status.PRUNED))
    second = record_versions(root)
    assert second != first
    (root / "trials" / ".0001.json.draft.tmp").write_text("half")
    (root / "logs").mkdir()
    assert record_versions(root) == second
    (root / "winner").mkdir()
    (root / "winner" / "retrain.json").touch()
    third = record_versions(root)
    assert third != second
    os.utime(root / "run.json", ns=(1, 1))
    assert record_versions(root) != third


def test_a_heartbeat_on_a_disk_does_not_change_it(runs: Path) -> None:
    claim = claim_run(RunFolder(runs / "first"), None)
    assert claim is not None
    first = record_versions(runs / "first")
    claim.beat()
    assert record_versions(runs / "first") == first


def test_what_is_no_run_has_none(tmp_path: Path, runs: Path) -> None:
    (tmp_path / "file").touch()
    assert record_versions(tmp_path / "nothing") == ()
    assert not is_run(tmp_path / "file")
    assert not is_run(tmp_path)
    assert is_run(runs / "first")


def test_a_bucket_has_them_too(bucket: str, new_run: NewRun) -> None:
    root = as_place(f"{bucket}/run")
    ledger = new_run(root, 1)
    first = record_versions(root)
    assert is_run(root)
    ledger.write_trial(trial(1))
    assert record_versions(root) != first
