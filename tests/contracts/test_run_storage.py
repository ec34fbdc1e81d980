"""A run in a folder and a run in a bucket are the same to everybody who reads or writes one."""

import json
import os
from pathlib import Path

import pytest
from run_records import run_record as record

from analysis import heartbeat
from analysis.claim import claim_run
from analysis.leaderboard import Leaderboard
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder, open_run
from analysis.run_store import RunStore, write_atomically
from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig
from trainables.result import EpochReport, TrialResult
from trainables.status import Status
from trainables.storage.bucket import BucketPath
from trainables.storage.place import as_place

CONFIG = {"data": {"root": "photos"}, "architecture": "resnet18", "strategy": "head", "epochs": 2, "lr": 0.1}


@pytest.fixture(params=["folder", "bucket"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> RunFolder:
    """A run that does not exist yet."""
    root = str(tmp_path / "runs") if request.param == "folder" else f"{request.getfixturevalue('bucket')}/some/runs"
    return RunFolder(as_place(root) / "trash", tmp_path / "cache")


@pytest.fixture
def elsewhere(run: RunFolder, tmp_path: Path) -> RunFolder:
    """The same run, as another node sees it."""
    return RunFolder(run.root, tmp_path / "cache of another node")


def trial(number: int, *scores: float, status: Status = Status.RUNNING) -> TrialResult:
    reports = [
        EpochReport(epoch=epoch, metrics={"val/macro_f1": score}, seconds=1, checkpoint="best")
        for epoch, score in enumerate(scores, start=1)
    ]
    config = TrialConfig.from_mapping(CONFIG, "test")
    return TrialResult(
        trial_id=f"{number:04d}", config=config, parameters={"lr": 0.1}, status=status, reports=tuple(reports)
    )


def test_the_ledger(run: RunFolder, elsewhere: RunFolder) -> None:
    writer, reader = Ledger(run), Ledger(elsewhere)
    writer.write_run(record())
    assert reader.read_run() == record()
    assert reader.trials() == []
    written = [trial(number, 0.1) for number in (0, 1, 2, 10)]
    for result in written:
        writer.write_trial(result)
    assert reader.trials() == written
    # Rewritten within the same second, to the same size: what was written last is read.
    for score in (0.2, 0.3, 0.4):
        writer.write_trial(trial(1, score))
        assert reader.read_trial("0001") == trial(1, score)
    with pytest.raises(InvalidInput, match=r"trash: no trial has the id '0003'; did you mean"):
        reader.read_trial("0003")


def test_a_damaged_record_is_named(run: RunFolder) -> None:
    ledger = Ledger(run)
    ledger.write_run(record())
    for number in range(3):
        ledger.write_trial(trial(number))
    write_atomically(run.trial("0001"), '{"trial_id": ')
    assert ledger.trials() == [trial(0), trial(2)]
    assert len(ledger.problems) == 1
    assert "trials/0001.json: a record must be JSON" in ledger.problems[0]


def test_a_leaderboard_by_address(run: RunFolder) -> None:
    ledger = Ledger(run)
    ledger.write_run(record())
    ledger.write_trial(trial(0, 0.2, 0.1, status=Status.COMPLETED))
    ledger.write_trial(trial(1, 0.1, 0.4, status=Status.COMPLETED))
    board = Leaderboard.from_run(str(run.root))
    assert [entry.trial.trial_id for entry in board.entries] == ["0001", "0000"]
    board.write_csv(run.leaderboard_csv)
    assert run.leaderboard_csv.read_text().splitlines()[1].startswith("1,0001,COMPLETED,")


def test_open_run(run: RunFolder) -> None:
    with pytest.raises(InvalidInput, match=r"trash: a run must be an existing folder, got none; give the folder"):
        open_run(run.root)
    Ledger(run).write_run(record())
    assert open_run(run.root).root == run.root
    with pytest.raises(InvalidInput, match=r"trahs: a run must be an existing folder, got none; .*has the runs trash$"):
        open_run(run.root.parent / "trahs")
    with pytest.raises(InvalidInput, match=r"runs: a run must have a run\.json, found trash/; .*has the runs trash$"):
        open_run(run.root.parent)


def test_one_driver(run: RunFolder, elsewhere: RunFolder) -> None:
    assert not heartbeat.is_alive(run.root)
    claim = claim_run(run, None)
    assert claim is not None
    assert claim_run(elsewhere, None) is None
    assert heartbeat.is_alive(elsewhere.root)
    found = heartbeat.read(elsewhere.root)
    assert found is not None
    assert found.pid == os.getpid()
    claim.end()
    assert not heartbeat.is_alive(elsewhere.root)
    claim.withdraw()
    claim.withdraw()
    assert heartbeat.read(elsewhere.root) is None


def test_a_stop_request(run: RunFolder, elsewhere: RunFolder) -> None:
    Ledger(run).write_run(record())
    assert not run.stop_request.exists()
    elsewhere.stop_request.touch()
    assert run.stop_request.exists()
    run.stop_request.unlink(missing_ok=True)
    run.stop_request.unlink(missing_ok=True)
    assert not elsewhere.stop_request.exists()
    with pytest.raises(FileNotFoundError):
        run.stop_request.unlink()


def test_a_folder_is_published_fetched_and_removed(run: RunFolder, elsewhere: RunFolder) -> None:
    store, other, best = RunStore(run), RunStore(elsewhere), run.best("0001")
    assert not store.has(best)
    with store.reading(best) as folder:
        assert not folder.exists()
    for version in (1, 2):
        here = run.here(best)
        here.mkdir(parents=True, exist_ok=True)
        for name in ("model.safetensors", "state.json"):
            (here / name).write_text(f"{name} {version}")
        store.publish(best)
        assert other.has(best)
        with other.reading(best) as folder:
            assert {file.name: file.read_text() for file in folder.iterdir()} == {
                name: f"{name} {version}" for name in ("model.safetensors", "state.json")
            }
        assert (other.fetch(best) / "state.json").read_text() == f"state.json {version}"
    store.release(best)
    assert store.has(best)
    store.remove(best)
    assert not other.has(best)
    store.remove(best)


def test_a_log_is_gone_on_with_on_another_node(run: RunFolder, elsewhere: RunFolder) -> None:
    store, other, log = RunStore(run), RunStore(elsewhere), run.log("0001")
    path = store.fetch(log)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("one\n")
    store.publish(log)
    again = other.fetch(log)
    with again.open("a") as file:
        file.write("two\n")
    other.publish(log)
    assert log.read_bytes() == b"one\ntwo\n"
    assert [found.name for found in log.parent.glob("*.log")] == ["0001.log"]


def test_what_need_not_last_is_on_this_node(run: RunFolder) -> None:
    for path in (run.tune, run.study_log, run.wandb):
        assert isinstance(path, Path)
        assert path.is_relative_to(run.local)
    assert isinstance(run.root, BucketPath) or run.local == run.root


def test_any_text_lasts(run: RunFolder) -> None:
    write_atomically(run.report_html, "ü \udcff")
    assert json.loads(f'"{run.report_html.read_text("utf-8")}"') == "ü \udcff"
