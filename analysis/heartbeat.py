"""Heartbeat of a run's driver: one file per driver, which claims the run and is renewed every few seconds.

Whether a driver is at work is decided without comparing clocks of two machines. Its process is gone, or its heartbeat
has not changed for ten beats on the reader's own monotonic clock.
"""

import secrets
import socket
import time
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Self

import psutil
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from analysis.ledger import read_record
from analysis.run_folder import FIRST_GENERATION, Generation, RunFolder, claimed_run
from search_spaces.errors import InvalidInput
from trainables.storage.place import Place

BEAT_SECONDS = 5.0
DEATH_SECONDS = 10 * BEAT_SECONDS
"""Time without a change after which a driver counts as dead."""

_POLL_SECONDS = 0.5
_TICK = 0.05  # the kernel counts a process's start in hundredths of a second


class Presence(StrEnum):
    """Presence: state of a driver's process, as another process sees it."""

    GONE = "gone"
    THERE = "there"
    UNKNOWN = "unknown"
    """On another machine, or in another PID namespace."""


class Heartbeat(BaseModel):
    """Heartbeat: claim of one driver on a run, renewed while the driver works."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    driver: int = Field(default=1, ge=1)
    """Number of the driver within the run."""

    generations: tuple[Generation, ...] = FIRST_GENERATION
    """Generations of the run, oldest first; the driver writes files of the last one."""

    key: str = ""
    """Random text that distinguishes the claims of two processes for one number."""

    pid: int = Field(ge=1, lt=2**31)
    """Process id of the driver on its host."""

    host: str
    """Name of the machine on which the driver runs."""

    boot: str = ""
    """Identifier of the machine's start; the empty text where the system has none."""

    pid_namespace: str = ""
    """Namespace to which the process id belongs, e.g. of a container."""

    since_boot: float | None = None
    """Seconds from the machine's start to that of the process; with `pid` and `boot` it identifies the process."""

    root: str = ""
    """Absolute place of the run as its driver names it."""

    started: AwareDatetime
    """Start time of the process, for users."""

    beat: AwareDatetime
    """Time of this heartbeat on the driver's clock, for users."""

    beats: int = 0
    """Number of heartbeats so far."""

    ended: bool = False
    """True where the driver has ended by itself, and its workers with it: it writes nothing more."""

    @classmethod
    def of_this_process(cls, run: RunFolder) -> Self:
        """Return the first heartbeat of this process as the driver of `run`."""
        process = psutil.Process()
        return cls(
            driver=run.driver,
            generations=run.generations,
            key=secrets.token_hex(8),
            pid=process.pid,
            host=socket.gethostname(),
            boot=_boot(),
            pid_namespace=_pid_namespace(),
            since_boot=_since_boot(process),
            root=str(run.root.resolve()),
            started=datetime.fromtimestamp(process.create_time(), UTC),
            beat=datetime.now(UTC),
        )

    @property
    def who(self) -> str:
        """Phrase that names the driver in messages."""
        return f"process {self.pid} on {self.host}"

    def presence(self) -> Presence:
        """Return whether the process exists; only its own machine and namespace can answer."""
        own = (socket.gethostname(), _boot(), _pid_namespace())
        if not self.boot or self.since_boot is None or (self.host, self.boot, self.pid_namespace) != own:
            return Presence.UNKNOWN
        if not psutil.pid_exists(self.pid):
            return Presence.GONE
        try:
            process = psutil.Process(self.pid)
            ended = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)  # not yet reaped by its parent
            return Presence.GONE if ended or abs(_since_boot(process) - self.since_boot) > _TICK else Presence.THERE
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # hidden from this user, or just ended
            return Presence.UNKNOWN

    @property
    def is_over(self) -> bool:
        """True where the driver is certainly not at work: it has ended, or its process is gone."""
        return self.ended or self.presence() is Presence.GONE


def read(place: Place) -> Heartbeat | None:
    """Read the heartbeat of the newest driver of the run at `place`; None when no process has ever driven it.

    Raises InvalidInput when the file is damaged.
    """
    while True:
        run = claimed_run(place)
        try:
            found = read_record(run.heartbeat, Heartbeat)
            if found.driver != run.driver:
                raise InvalidInput(
                    f"{run.heartbeat}: driver must be {run.driver} as in the name of the file, got {found.driver}; "
                    "the file was copied or renamed: delete it"
                )
            return found
        except InvalidInput as error:
            if not isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
                raise
        if claimed_run(place) == run:  # else a claim was withdrawn between the two calls
            return None


def is_alive(place: Place, patience: float = 2.5 * BEAT_SECONDS) -> bool:
    """Return whether a driver is at work; one on another machine is watched for at most `patience` seconds."""
    last = read(place)
    if last is None or last.is_over:
        return False
    return last.presence() is Presence.THERE or not is_silent(place, last, patience)


def seems_alive(place: Place) -> bool:
    """Return at once whether a driver seems to be at work; one on another machine by its last beat and the clocks."""
    last = read(place)
    if last is None or last.is_over:
        return False
    is_recent = datetime.now(UTC) - last.beat < timedelta(seconds=2.5 * BEAT_SECONDS)
    return last.presence() is Presence.THERE or is_recent


def is_silent(place: Place, last: Heartbeat, patience: float = DEATH_SECONDS) -> bool:
    """Watch the driver of the run; return whether it shows no change from `last` for `patience` seconds.

    Returns at once where its process ends meanwhile. A newer driver is a change.
    """
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if last.is_over:
            return True
        time.sleep(_POLL_SECONDS)
        now = read(place)
        if now is not None and now != last:
            return now.is_over
    return True


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # no Linux
        return f"{psutil.boot_time():.0f}"


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _since_boot(process: psutil.Process) -> float:
    # Both figures move with the clock of the machine; their difference does not. The kernel rounds the boot time.
    while True:
        before = psutil.boot_time()
        created = psutil.Process(process.pid).create_time()
        if psutil.boot_time() == before:
            return created - before
