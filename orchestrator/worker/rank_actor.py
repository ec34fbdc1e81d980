"""RankActor: Ray actor in front of one rank of a worker group. The rank itself runs in a forked process.

Of a run in a bucket, Tune's worker moves the files of rank 0, beside which it sits. The actors of the other ranks,
which may be on other nodes, fetch the checkpoint from which a trial goes on, and publish their logs.
"""

from pathlib import Path

import ray

from analysis.run_store import RunStore
from orchestrator.worker.assignment import Assignment
from orchestrator.worker.forked_rank import fork_rank
from orchestrator.worker.rank import Begin, Rank, RankEnd, ended
from orchestrator.worker.raylet_death import die_with_raylet
from search_spaces.errors import StorageFailed
from trainables.result import EpochReport


class RankActor:
    """RankActor: passes each call on to its rank, and lives exactly as long as the process of the rank."""

    def __init__(self, begin: Begin) -> None:
        die_with_raylet()
        self._rank = fork_rank(begin) or Rank(begin)
        self._assignment: Assignment | None = None
        self._published = 0

    def offer(self, patience: float) -> tuple[str, int]:
        """Open the store at which the ranks of a group meet, as `Rank.offer`, at the address of this node."""
        return self._rank.offer(str(ray.util.get_node_ip_address()), patience)  # type: ignore[no-untyped-call]

    def join(self, rank: int, ranks: int, place: tuple[str, int], gpus: float, patience: float, timeout: float) -> None:
        """Enter the process group, as `Rank.join`."""
        self._rank.join(rank, ranks, place, gpus, patience, timeout)

    def begin(self, assignment: Assignment, rank: int) -> tuple[EpochReport, ...] | RankEnd:
        """Take up a trial, as `Rank.begin`."""
        self._assignment = own = assignment.model_copy(update={"rank": rank})
        try:
            if rank:
                store, trial_id = RunStore(own.run_folder), own.trial.trial_id
                self._published = _size(store.fetch(own.log))
                store.fetch(own.run_folder.last(trial_id))
            done = self._rank.begin(own)
            self._publish_log()
        except StorageFailed as error:
            return ended(error)
        return done

    def advance(self, dump_after: float | None) -> EpochReport | RankEnd | None:
        """Run the next epoch, as `Rank.advance`."""
        report = self._rank.advance(dump_after)
        try:
            self._publish_log()
        except StorageFailed as error:
            return ended(error)
        return report

    def end(self) -> None:
        """Release the resources of the last trial, as `Rank.end`."""
        self._rank.end()
        own = self._assignment
        if own is not None and own.rank:
            RunStore(own.run_folder).release(own.run_folder.checkpoints(own.trial.trial_id))

    def _publish_log(self) -> None:
        """Copy the log to the run, where the rank has one of its own and has written to it."""
        own = self._assignment
        if own is None or not own.rank:
            return
        size = _size(own.run_folder.here(own.log))
        if size != self._published:
            RunStore(own.run_folder).publish(own.log)
            self._published = size


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
