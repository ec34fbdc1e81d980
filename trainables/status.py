"""Status: the standing of a trial. Light to import: no torch, no pandas."""

from enum import StrEnum


class Status(StrEnum):
    """Status of a trial. Only COMPLETED trials are ranked."""

    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    PRUNED = "PRUNED"
    PRUNED_OOM = "PRUNED_OOM"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    INTERRUPTED = "INTERRUPTED"

    @property
    def unfinished(self) -> bool:
        """True where a resumed sweep continues the trial."""
        return self in (Status.RUNNING, Status.INTERRUPTED)
