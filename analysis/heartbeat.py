"""Who drives a run: one process, which says so every few seconds in driver.json."""

import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from analysis.ledger import read_record, write_record
from analysis.run_folder import RunFolder
from search_spaces.errors import InvalidInput

_IMPORTED = datetime.now(UTC)
# The kernel gives the time of boot in whole seconds.
_SAME_START = timedelta(seconds=2)


class Heartbeat(BaseModel):
    """The last sign of life of a run's driver."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    pid: int = Field(ge=1, lt=2**31)
    """Process id of the driver on its host."""

    host: str
    """Name of the machine it runs on."""

    started: AwareDatetime
    """When the process started; with `pid` it names the process, since ids are used again."""

    beat: AwareDatetime
    """When it was last seen."""


def beat(run: RunFolder) -> Heartbeat:
    """Say that this process drives the run now; raises ThawError when the folder cannot be written."""
    pid = os.getpid()
    heartbeat = Heartbeat(
        pid=pid, host=socket.gethostname(), started=_started(pid) or _IMPORTED, beat=datetime.now(UTC)
    )
    write_record(run.heartbeat, heartbeat)
    return heartbeat


def read(run: RunFolder) -> Heartbeat | None:
    """The last sign of life; None when nobody drives the run, InvalidInput when the file is damaged."""
    try:
        return read_record(run.heartbeat, Heartbeat)
    except InvalidInput as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


def is_alive(run: RunFolder, stale_after: float = 60.0) -> bool:
    """Whether a driver is at work.

    On this host its process must exist and be the one that beat: where the system tells when a process started
    (Linux), that must agree, and a driver that is slow to beat still counts; elsewhere, as on another host, the beat
    must be younger than `stale_after` seconds.
    """
    heartbeat = read(run)
    if heartbeat is None:
        return False
    fresh = datetime.now(UTC) - heartbeat.beat < timedelta(seconds=stale_after)
    if heartbeat.host != socket.gethostname():
        return fresh
    if not _exists(heartbeat.pid):
        return False
    started = _started(heartbeat.pid)
    return fresh if started is None else abs(started - heartbeat.started) <= _SAME_START


def clear(run: RunFolder) -> None:
    """Say that nobody drives the run any more."""
    run.heartbeat.unlink(missing_ok=True)


def _exists(pid: int) -> bool:
    """Whether a process has the id, and is not merely waiting for its parent to notice its end."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    stat = _stat(pid)
    return stat is None or stat[0] not in "ZX"


def _started(pid: int) -> datetime | None:
    """When the process started, None where there is no /proc to tell."""
    stat = _stat(pid)
    if stat is None:
        return None
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return None
    booted = next((int(line.split()[1]) for line in lines if line.startswith("btime ")), None)
    if booted is None:
        return None
    # Field 22 of the whole line, in clock ticks since boot: proc_pid_stat(5).
    return datetime.fromtimestamp(booted + int(stat[19]) / os.sysconf("SC_CLK_TCK"), UTC)


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat from the third, the state, on; the second may hold blanks and brackets."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()
