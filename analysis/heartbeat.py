"""Heartbeat of a run's driver: one process, which renews driver.json every few seconds."""

import socket
from datetime import UTC, datetime, timedelta

import psutil
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from analysis.ledger import read_record, write_record
from analysis.run_folder import RunFolder
from search_spaces.errors import InvalidInput

# The kernel gives the time of boot in whole seconds.
_SAME_START = timedelta(seconds=2)


class Heartbeat(BaseModel):
    """Heartbeat: last recorded time at which a run's driver was alive."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    pid: int = Field(ge=1, lt=2**31)
    """Process id of the driver on its host."""

    host: str
    """Name of the machine on which the driver runs."""

    started: AwareDatetime
    """Start time of the process; with `pid` it identifies the process, since the system reuses ids."""

    beat: AwareDatetime
    """Time of this heartbeat."""


def beat(run: RunFolder) -> Heartbeat:
    """Record that this process drives the run now. Raises ThawError when the folder cannot be written."""
    process = psutil.Process()
    heartbeat = Heartbeat(pid=process.pid, host=socket.gethostname(), started=_started(process), beat=datetime.now(UTC))
    write_record(run.heartbeat, heartbeat)
    return heartbeat


def read(run: RunFolder) -> Heartbeat | None:
    """Return the last heartbeat; None when no process drives the run. Raises InvalidInput when the file is damaged."""
    try:
        return read_record(run.heartbeat, Heartbeat)
    except InvalidInput as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


def is_alive(run: RunFolder, stale_after: float = 60.0) -> bool:
    """Return whether a driver is at work.

    The driver's process must exist on this host, with the start time that the heartbeat records: a driver that is late
    with a heartbeat still counts. On another host, and for a process that may not be inspected, the heartbeat must be
    younger than `stale_after` seconds.
    """
    heartbeat = read(run)
    if heartbeat is None:
        return False
    fresh = datetime.now(UTC) - heartbeat.beat < timedelta(seconds=stale_after)
    if heartbeat.host != socket.gethostname():
        return fresh
    try:
        process = psutil.Process(heartbeat.pid)
        ended = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)  # not yet reaped by its parent
        return not ended and abs(_started(process) - heartbeat.started) <= _SAME_START
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return fresh


def clear(run: RunFolder) -> None:
    """Delete the heartbeat: no process drives the run any more."""
    run.heartbeat.unlink(missing_ok=True)


def _started(process: psutil.Process) -> datetime:
    return datetime.fromtimestamp(process.create_time(), UTC)
