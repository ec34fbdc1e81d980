"""RankActor: Ray actor in front of one rank of a worker group. The rank itself runs in a forked process.

Of a run in a bucket, Tune's worker moves the files of rank 0, beside which it sits. The actors of the other ranks,
which may be on other nodes, fetch the checkpoint from which a trial goes on, and publish their logs.
"""

from pathlib import Path

import ray

from analysis.run_store import RunStore
from orchestrator.worker.assignment import Assignment, RankAssignment
from orchestrator.worker.forked_rank import fork_rank
from orchestrator.worker.rank import Begin, Rank, RankEnd, rank_end
from orchestrator.worker.raylet_death import die_with_raylet
from search_spaces.errors import StorageFailed
from trainables.result import EpochReport


class RankActor:
    """RankActor: passes each call on to its rank, and lives exactly as long as the process of the rank."""

    def __init__(self, begin: Begin) -> None:
        die_with_raylet()
        self._rank = fork_rank(begin) or Rank(begin)
        self._own: RankAssignment | None = None  # of a rank but the first
        self._published = 0

    def offer(self, patience: float) -> tuple[str, int]:
        """Open the store at which the ranks of a group meet, as `Rank.offer`, at the address of this node."""
        return self._rank.offer(str(ray.util.get_node_ip_address()), patience)  # type: ignore[no-untyped-call]

    def join(self, rank: int, ranks: int, place: tuple[str, int], gpus: float, patience: float, timeout: float) -> None:
        """Enter the process group, as `Rank.join`."""
        self._rank.join(rank, ranks, place, gpus, patience, timeout)

    def begin(self, assignment: Assignment, rank: int) -> tuple[EpochReport, ...] | RankEnd:
        """Take up a trial, as `Rank.begin`."""
        self._own = assignment.of_rank(rank) if rank else None
        try:
            self._fetch()
            done = self._rank.begin(self._own or assignment, rank)
            self._publish_log()
        except StorageFailed as error:
            return rank_end(error)
        return done

    def advance(self, dump_after: float | None) -> EpochReport | RankEnd | None:
        """Run the next epoch, as `Rank.advance`."""
        report = self._rank.advance(dump_after)
        try:
            self._publish_log()
        except StorageFailed as error:
            return rank_end(error)
        return report

    def end(self) -> None:
        """Release the resources of the last trial, as `Rank.end`."""
        self._rank.end()
        if self._own is not None:
            run = self._own.run_folder
            RunStore(run).release(run.checkpoints(self._own.trial.trial_id))

    def _fetch(self) -> None:
        """Copy to this node what a rank but the first continues: its log, and the last checkpoint of the trial."""
        if self._own is not None:
            store = RunStore(self._own.run_folder)
            self._published = _size(store.fetch(self._own.log))
            store.fetch(store.run.last(self._own.trial.trial_id))

    def _publish_log(self) -> None:
        """Copy the log of a rank but the first to the run, where it has written to it."""
        if self._own is None:
            return
        run = self._own.run_folder
        size = _size(run.here(self._own.log))
        if size != self._published:
            RunStore(run).publish(self._own.log)
            self._published = size


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
