"""ForkedRank: a rank in a process of its own, forked from the fork server of the node."""

from pathlib import Path
from typing import Any

from orchestrator.worker.assignment import Assignment
from orchestrator.worker.forked_process import ForkedProcess, fork_process
from orchestrator.worker.rank import Begin, Rank, RankEnd
from trainables.result import EpochReport


class ForkedRank:
    """ForkedRank: has the methods of `Rank`. Its process dies with this one, and this one dies with its process."""

    def __init__(self, process: ForkedProcess) -> None:
        self._process = process
        self.pid = process.pid

    def offer(self, host: str, patience: float) -> tuple[str, int]:
        """Call `Rank.offer`."""
        address: tuple[str, int] = self._process.call("offer", host, patience)
        return address

    def join(self, *place: Any) -> None:
        """Call `Rank.join`."""
        self._process.call("join", *place)

    def open_log(self, path: Path) -> RankEnd | None:
        """Call `Rank.open_log`."""
        end: RankEnd | None = self._process.call("open_log", path)
        return end

    def begin(self, assignment: Assignment, rank: int) -> tuple[EpochReport, ...] | RankEnd:
        """Call `Rank.begin`."""
        done: tuple[EpochReport, ...] | RankEnd = self._process.call("begin", assignment, rank)
        return done

    def advance(self, dump_after: float | None) -> EpochReport | RankEnd | None:
        """Call `Rank.advance`."""
        report: EpochReport | RankEnd | None = self._process.call("advance", dump_after)
        return report

    def end(self) -> None:
        """Call `Rank.end`."""
        self._process.call("end")

    def dismiss(self) -> None:
        """Kill the process of the rank."""
        self._process.dismiss()


def fork_rank(begin: Begin) -> ForkedRank | None:
    """Fork a rank that begins trials with `begin`; None where that is not possible, see `fork_process`."""
    process = fork_process(Rank(begin))
    return None if process is None else ForkedRank(process)
