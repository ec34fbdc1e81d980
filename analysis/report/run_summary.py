"""RunSummary: a run in one line of a list."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from analysis.report.panel import RunData
from trainables.status import Status


class RunCourse(StrEnum):
    """RunCourse: state of a run as a whole."""

    RUNNING = "running"
    STOPPED = "stopped"
    """Trials are left, and no process runs them."""

    ENDED = "ended by its budget"
    DONE = "done"


@dataclass(frozen=True)
class RunSummary:
    """RunSummary: the facts of a run that a list shows."""

    name: str
    """Name of the sweep."""

    course: RunCourse
    """Course of the run."""

    planned: int
    """Trials that the sweep asked for."""

    counts: Mapping[Status, int]
    """Trials by status."""

    metric: str
    """Name of the objective."""

    best: float | None
    """Best objective of a completed trial; None before there is one."""

    created: datetime
    """Time at which the run was launched."""

    @classmethod
    def of(cls, data: RunData) -> Self:
        """Return the summary of a run."""
        record, entries = data.record, data.board.entries
        ranked = [entry.objective for entry in entries if entry.rank == 1]
        counts = Counter(entry.trial.status for entry in entries)
        return cls(
            record.name,
            _course(data, counts),
            max(record.trials_planned, len(entries)),
            counts,
            data.metric,
            ranked[0] if ranked else None,
            record.created,
        )

    @property
    def ended(self) -> int:
        """Trials that have ended."""
        return sum(count for status, count in self.counts.items() if not status.unfinished)


def _course(data: RunData, counts: Mapping[Status, int]) -> RunCourse:
    if data.is_driven:
        return RunCourse.RUNNING
    if data.record.ended is not None:
        return RunCourse.ENDED
    is_unfinished = any(status.unfinished for status in counts) or sum(counts.values()) < data.record.trials_planned
    return RunCourse.STOPPED if is_unfinished else RunCourse.DONE
