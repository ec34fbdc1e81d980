"""A rank behind its actor, without Ray, where nothing is forked. Actors on a real Ray are in `test_worker_group`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.run_store import RunStore
from orchestrator.spec.sections import Resources
from orchestrator.worker.assignment import Assignment
from orchestrator.worker.rank_actor import RankActor
from orchestrator.worker.run_trial import StartedTrial
from trainables.result import EpochReport, TrialResult
from trainables.storage.place import as_place


def test_calls_are_passed_on(trial: Callable[..., TrialResult], tmp_path: Path) -> None:
    reports = [EpochReport(epoch=n, metrics={}, seconds=0, checkpoint="last") for n in (1, 2)]
    actor = RankActor(lambda assignment: ((reports[0],), iter(reports[1:])))
    assignment = Assignment(trial=trial("0000"), run=tmp_path, cache=tmp_path, resources=Resources(workers=2))
    assert actor.begin(assignment, 1) == (reports[0],)
    assert [actor.advance(None), actor.advance(None)] == [reports[1], None]
    actor.end()
    assert "rank 1 of 2 on " in assignment.run_folder.log("0000").read_text()


def test_other_ranks_have_their_own_files_of_a_run_in_a_bucket(
    trial: Callable[..., TrialResult], bucket: str, tmp_path: Path
) -> None:
    cache, run = tmp_path / "cache", as_place(f"{bucket}/runs/s")
    assignment = Assignment(trial=trial("0000"), run=run, cache=cache, resources=Resources(workers=2))
    store = RunStore(assignment.run_folder)
    last = store.run.last("0000")
    for name in ("first", "second"):
        (written := store.run.here(last)).mkdir(parents=True, exist_ok=True)
        (written / "state.json").write_text(name)
        store.publish(last)
        # What rank 0 has on this node stays as it is.
        (written / "state.json").write_text("of rank 0")
        actor = RankActor(begin_with_file)
        assert [report.notes for report in actor.begin(assignment, 1)] == [(name,)]  # type: ignore[union-attr]
        actor.end()
    assert (store.run.here(last) / "state.json").read_text() == "of rank 0"
    assert [path.name for path in (cache / "ranks").rglob("*") if path.is_file()] == ["0000.rank-1.log"]
    with store.reading(store.run.log("0000.rank-1")) as path:
        assert path.read_text().count("rank 1 of 2 on ") == 2


def begin_with_file(assignment: Assignment) -> StartedTrial:
    """Begin a trial with one report, which holds the text of its last checkpoint."""
    text = (assignment.folders.last / "state.json").read_text()
    return (EpochReport(epoch=1, metrics={}, seconds=0, checkpoint="last", notes=(text,)),), iter(())


def test_ranks_meet_at_the_address_of_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.util.get_node_ip_address", lambda: "127.0.0.1")
    host, port = RankActor(lambda assignment: ((), iter(()))).offer(10.0)
    assert host == "127.0.0.1"
    assert port > 0
