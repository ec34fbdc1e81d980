"""Claims with a heartbeat, without a sweep: `tests/integration` has whole pairs of drivers."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis import heartbeat
from analysis.claim import claim_run
from analysis.heartbeat import Heartbeat
from analysis.ledger import write_record
from analysis.run_folder import RunFolder, claimed_run
from orchestrator.driver import driver_claim as module
from orchestrator.driver.driver_claim import Superseded, check_not_driven, claimed, claimed_winner
from search_spaces.errors import InvalidInput, StorageFailed, ThawError


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(heartbeat, "_POLL_SECONDS", 0.05)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def now(root: Path) -> Heartbeat:
    found = heartbeat.read(root)
    assert found is not None
    return found


def elsewhere(root: Path) -> Heartbeat:
    """Let the driver of the run be on another machine."""
    changed = now(root).model_copy(update={"host": "elsewhere.example"})
    write_record(claimed_run(root).heartbeat, changed)
    return changed


def test_a_driver_beats_for_the_time_of_the_block(tmp_path: Path) -> None:
    root = tmp_path / "run"
    with claimed(root, None, None) as claim:
        claim.open()
        first = now(root)
        until(lambda: now(root).beats > first.beats + 1)
        assert not now(root).ended
    ended = now(root)
    assert ended.ended
    time.sleep(0.2)
    assert now(root) == ended


@pytest.mark.parametrize("error", [InvalidInput("no"), KeyboardInterrupt()])
def test_a_claim_under_which_nothing_was_written_leaves_nothing(error: BaseException, tmp_path: Path) -> None:
    with pytest.raises(type(error)), claimed(tmp_path / "run", None, None):
        raise error
    assert not (tmp_path / "run").exists()


def test_a_driver_that_is_cut_off_has_not_ended(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), claimed(tmp_path, None, None) as claim:
        claim.open()
        raise KeyboardInterrupt
    assert not now(tmp_path).ended, "its workers may still write"


def test_the_loser_changes_nothing_and_names_the_winner(tmp_path: Path) -> None:
    with claimed(tmp_path, None, None) as claim:
        claim.open()
        message = f"must have one driver, but process {os.getpid()} on .* drives it; see `thaw status {tmp_path}`"
        with pytest.raises(InvalidInput, match=message):
            check_not_driven(tmp_path)
        before = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
        with pytest.raises(InvalidInput, match=message), claimed(tmp_path, None, None):
            pytest.fail("claimed twice")
        assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == before


def test_a_driver_elsewhere_that_is_silent_is_replaced_after_a_wait_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = claim_run(RunFolder(tmp_path), None)
    assert claim is not None
    claim.open()
    still, said = elsewhere(tmp_path), list[str]()
    monkeypatch.setattr(heartbeat.is_silent, "__defaults__", (0.3,))
    assert check_not_driven(tmp_path, said.append) == still
    assert said == [
        f"{tmp_path}: process {os.getpid()} on elsewhere.example drives this run, or did; "
        "waiting at most 50 s for its heartbeat"
    ]


def test_a_driver_that_was_replaced_stops_and_changes_nothing(tmp_path: Path) -> None:
    problems: list[ThawError] = []
    with claimed(tmp_path, None, None) as claim:
        claim.open()
        second = claim_run(RunFolder(tmp_path), now(tmp_path))
        assert second is not None
        until(lambda: claim.problem is not None)
        claim.watch(problems.append)
        written = now(tmp_path)
    assert isinstance(problems[0], Superseded)
    assert f"process {os.getpid()} on {written.host} drives the run now" in str(problems[0])
    assert now(tmp_path) == written
    assert not written.ended


def test_one_process_at_a_time_works_on_the_winner(empty_run: RunFolder) -> None:
    root = empty_run.root
    assert isinstance(root, Path)
    before = sorted(root.rglob("*"))
    message = (
        f"may retrain or export the winner, or send it to W&B, but process {os.getpid()} on .* does; wait for its end"
    )
    with claimed_winner(root), pytest.raises(InvalidInput, match=message), claimed_winner(root):
        pytest.fail("claimed twice")
    assert sorted(root.rglob("*")) == before


def test_a_heartbeat_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    problems: list[ThawError] = []
    with claimed(tmp_path, None, None) as claim:
        run = claim.open()
        claim.watch(problems.append)
        assert isinstance(run.heartbeat, Path)
        run.heartbeat.unlink()
        run.heartbeat.mkdir()  # a folder: a file cannot replace it
        until(lambda: bool(problems))
        run.heartbeat.rmdir()
    assert isinstance(problems[0], StorageFailed)
