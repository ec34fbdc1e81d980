"""RankActor: Ray actor in front of one rank of a worker group. The rank itself runs in a forked process."""

import ray

from orchestrator.worker.assignment import Assignment
from orchestrator.worker.forked_rank import fork_rank
from orchestrator.worker.rank import Begin, Rank, RankEnd
from orchestrator.worker.raylet_death import die_with_raylet
from trainables.result import EpochReport


class RankActor:
    """RankActor: passes each call on to its rank, and lives exactly as long as the process of the rank."""

    def __init__(self, begin: Begin) -> None:
        die_with_raylet()
        self._rank = fork_rank(begin) or Rank(begin)

    def offer(self, patience: float) -> tuple[str, int]:
        """Open the store at which the ranks of a group meet, as `Rank.offer`, at the address of this node."""
        return self._rank.offer(str(ray.util.get_node_ip_address()), patience)  # type: ignore[no-untyped-call]

    def join(self, rank: int, ranks: int, place: tuple[str, int], gpus: float, patience: float, timeout: float) -> None:
        """Enter the process group, as `Rank.join`."""
        self._rank.join(rank, ranks, place, gpus, patience, timeout)

    def begin(self, assignment: Assignment, rank: int) -> tuple[EpochReport, ...] | RankEnd:
        """Take up a trial, as `Rank.begin`."""
        return self._rank.begin(assignment, rank)

    def advance(self, dump_after: float | None) -> EpochReport | RankEnd | None:
        """Run the next epoch, as `Rank.advance`."""
        return self._rank.advance(dump_after)

    def end(self) -> None:
        """Release the resources of the last trial, as `Rank.end`."""
        self._rank.end()
