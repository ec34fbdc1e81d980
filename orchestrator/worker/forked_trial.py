"""ForkedTrial: one trial after another in one forked process, with the interface of a worker group."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from orchestrator.worker.assignment import Assignment
from orchestrator.worker.forked_rank import ForkedRank
from orchestrator.worker.rank import RankEnd
from orchestrator.worker.run_trial import StartedTrial
from orchestrator.worker.worker_group import diagnosis
from trainables.result import EpochReport

_Answer = TypeVar("_Answer")


class ForkedTrial:
    """ForkedTrial: worker group of one rank, without a Ray actor and without limits of time."""

    def __init__(self, rank: ForkedRank) -> None:
        self._rank = rank
        self.pid = rank.pid

    def open_log(self, path: Path) -> None:
        """Let the process write to the log of a trial; raises as `begin`."""
        _checked(self._rank.open_log(path))

    def begin(self, assignment: Assignment) -> StartedTrial:
        """Begin the trial, as `run_trial.begin`; it and its iterator raise StorageFailed and TrialEnded."""
        return _checked(self._rank.begin(assignment, 0)), self._epochs()

    def dismiss(self) -> None:
        """Kill the process."""
        self._rank.dismiss()

    def _epochs(self) -> Iterator[EpochReport]:
        try:
            while (report := _checked(self._rank.advance(None))) is not None:
                yield report
        finally:
            self._rank.end()


def _checked(answer: _Answer | RankEnd) -> _Answer:
    if isinstance(answer, RankEnd):
        raise diagnosis({0: answer}, 1)
    return answer
