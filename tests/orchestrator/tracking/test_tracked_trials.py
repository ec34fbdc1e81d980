import os
from pathlib import Path

import pytest

from orchestrator.tracking.tracked_trials import TrackedTrials
from search_spaces.errors import InvalidInput
from trainables.status import Status


def test_ends_are_kept_by_tracker(tmp_path: Path) -> None:
    file = tmp_path / "run" / "tracked.jsonl"
    tracked = TrackedTrials(file)
    tracked.add("W&B", "0000", Status.FAILED)
    tracked.add("MLflow", "0001", Status.PRUNED)
    tracked.add("W&B", "0000", Status.COMPLETED)
    for known in (tracked, TrackedTrials(file)):
        assert known.has("W&B", "0000", Status.COMPLETED)
        assert known.has("MLflow", "0001", Status.PRUNED)
        assert not known.has("W&B", "0000", Status.FAILED)
        assert not known.has("W&B", "0001", Status.PRUNED)


@pytest.mark.timeout(20)
def test_a_pipe_in_its_place_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tracked.jsonl")
    with pytest.raises(InvalidInput, match=r"tracked.jsonl: a record must be a file, got a pipe"):
        TrackedTrials(tmp_path / "tracked.jsonl")


def test_a_line_that_a_kill_has_cut_costs_that_line(tmp_path: Path) -> None:
    file = tmp_path / "tracked.jsonl"
    TrackedTrials(file).add("W&B", "0000", Status.COMPLETED)
    for length in range(len(file.read_bytes())):
        cut = tmp_path / f"{length}.jsonl"
        cut.write_bytes(file.read_bytes()[:length])
        after = TrackedTrials(cut)
        after.add("W&B", "0001", Status.PRUNED)
        assert TrackedTrials(cut).has("W&B", "0001", Status.PRUNED), length
