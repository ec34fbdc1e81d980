"""A rank behind its actor, without Ray, where nothing is forked. Actors on a real Ray are in `test_worker_group`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.spec.sections import Resources
from orchestrator.worker.assignment import Assignment
from orchestrator.worker.rank_actor import RankActor
from trainables.result import EpochReport, TrialResult


def test_calls_are_passed_on(trial: Callable[..., TrialResult], tmp_path: Path) -> None:
    reports = [EpochReport(epoch=n, metrics={}, seconds=0, checkpoint="last") for n in (1, 2)]
    actor = RankActor(lambda assignment: ((reports[0],), iter(reports[1:])))
    assignment = Assignment(trial=trial("0000"), run=tmp_path, cache=tmp_path, resources=Resources(workers=2))
    assert actor.begin(assignment, 1) == (reports[0],)
    assert [actor.advance(None), actor.advance(None)] == [reports[1], None]
    actor.end()
    assert "rank 1 of 2 on " in assignment.run_folder.log("0000").read_text()


def test_ranks_meet_at_the_address_of_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.util.get_node_ip_address", lambda: "127.0.0.1")
    host, port = RankActor(lambda assignment: ((), iter(()))).offer(10.0)
    assert host == "127.0.0.1"
    assert port > 0
