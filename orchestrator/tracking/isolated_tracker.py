"""IsolatedTracker: a tracker of a service in a process of its own, which can be ended at any time."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from typing import Any

import psutil

from analysis.run_folder import RunFolder
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.tracker import ClosableTracker, OnlineTracker, TrackedTrial, Tracker, TrialContext
from trainables.result import EpochReport
from trainables.status import Status

CALL_SECONDS = 24.0

# Limit for the start of a process and its imports, which take long on a busy machine and ask no service.
START_SECONDS = 120.0

# Variable by which a client of W&B in this process would share its own child with ours, which is ended at any time.
_HIDDEN = "WANDB_SERVICE"


# Phrases of clients that have waited for an answer.
_LATE = ("deadline exceeded", "timed out", "did not respond in time", "Connection refused")


@dataclass(frozen=True)
class OutputSigns:
    """OutputSigns: what a client reports in its output alone, as regular expressions."""

    failure: str
    """Sentence about records that are lost."""

    reason: str
    """Phrase that says why the client waits."""


@dataclass(frozen=True)
class Client:
    """Client: the library of a service, as its child process needs it."""

    package: str | None = None
    """Package that is imported at the start of the process."""

    signs: OutputSigns | None = None
    """Signs that are looked for in the output of the process."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of the process that this one lacks, or has with another value."""


class HostedObject:
    """HostedObject: an object in a child process; its methods are called there, each with a time limit.

    A client may hang, wait for its uploads at the end of a process, or crash: here it costs the child process alone.
    """

    def __init__(self, hosted: object, client: Client, seconds: float = CALL_SECONDS) -> None:
        """Keep the object, which must be picklable; nothing is started before the first call.

        `seconds` is the limit of a call. The process has START_SECONDS for its start.
        """
        self._hosted = hosted
        self._client = client
        self._seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._family: list[psutil.Process] | None = None
        self._is_killed = False
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the object)
        weakref.finalize(self, self._output.close)

    def call(self, method: str, *arguments: object) -> None:
        """Call a method of the object in the child process, and wait for its end.

        Raises TimeoutError after the limit, TimeoutError or RuntimeError with the message of an error there, EOFError
        when the process has ended.
        """
        signs = self._client.signs
        try:
            self._call(method, *arguments)
        except TimeoutError as error:
            reason = "" if signs is None else self._found(signs.reason)
            text = str(error).rstrip(".")
            raise TimeoutError(f"{text}, {reason}" if reason else text) from None
        if signs is not None and (failure := self._found(signs.failure)):
            raise RuntimeError(failure)

    def close(self, seconds: float) -> None:
        """End the process after its work. Raises TimeoutError when it does not end within `seconds`."""
        if self._process is None:
            return
        with suppress(OSError):
            assert self._connection is not None
            self._connection.send(None)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"timeout after {seconds:g} s") from None
        finally:
            self.kill()

    def kill(self) -> None:
        """End the process and its children at once, from any thread; a call in progress raises an error."""
        with self._lock:
            self._is_killed = True
            process = self._process
        if process is None:
            return
        family = {*(self._family or ()), *self._children()}
        process.kill()
        for child in family:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        process.wait()

    def _call(self, method: str, *arguments: object) -> None:
        if self._connection is None:
            self._connection = self._start()
            self._ask(self._connection, self._hosted, START_SECONDS)
        self._ask(self._connection, (method, arguments), self._seconds)
        if self._family is None:  # looking through all processes takes 2 ms
            self._family = self._children()

    def _ask(self, connection: Connection, message: object, seconds: float) -> None:
        """Send a message to the process, and wait for its answer."""
        try:
            connection.send(message)
            if not connection.poll(seconds):
                raise TimeoutError(f"timeout after {seconds:g} s")
            problem = connection.recv()
        except (OSError, EOFError) as error:
            if isinstance(error, TimeoutError):
                raise
            if self._is_killed:
                raise TimeoutError("no answer before the end") from error
            raise EOFError(f"its process has ended: {self._last_line()}") from error
        if problem is not None:
            raise problem

    def _start(self) -> Connection:
        here, there = Pipe()
        package = () if self._client.package is None else (self._client.package,)
        inherited = {name: value for name, value in os.environ.items() if name != _HIDDEN}
        with self._lock:
            if self._is_killed:
                raise TimeoutError("no answer before the end")
            # -P: the user's own folder may hold packages of our names. A group of its own: Ctrl-C is for the sweep. In
            # the driver's session the kernel weighs it against the driver, which is to come first.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "orchestrator.tracking.tracker_host", str(there.fileno()), *package],
                env={**inherited, **self._client.environment},
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                pass_fds=(there.fileno(),),
                process_group=0,
            )
        there.close()
        return here

    def _children(self) -> list[psutil.Process]:
        if self._process is None or self._process.poll() is not None:
            return []  # its id may be another process's by now
        try:
            return psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def _text(self) -> str:
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), size, 0).decode(errors="replace")

    def _found(self, pattern: str) -> str:
        """Return the last match in the output of the process, empty without one."""
        matches = list(re.finditer(pattern, self._text()))
        return matches[-1].group() if matches else ""

    def _last_line(self) -> str:
        assert self._process is not None
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(1)
            if code < 0:
                return signal.Signals(-code).name
        return (self._text().strip().splitlines() or ["no message"])[-1]


class HostedTracker(ClosableTracker):
    """HostedTracker: a tracker in a child process."""

    def __init__(self, tracker: Tracker, client: Client, seconds: float = CALL_SECONDS) -> None:
        """Keep the tracker; `client` and `seconds` as for a HostedObject."""
        self.name = tracker.name
        self._seconds = seconds
        self._hosted = HostedObject(_Trials(tracker), client, seconds)

    def start(self, context: TrialContext) -> TrackedTrial:
        """Open a trial. Raises the errors of HostedObject.call, as all methods of the tracker and its trials."""
        self._hosted.call("start", context)
        return _IsolatedTrial(self._hosted, context.name)

    def publish(self, summary: SweepSummary) -> None:
        """Replace the published summary."""
        self._hosted.call("publish", summary)

    def close(self) -> None:
        """End the child process after its work. Raises TimeoutError when it does not end."""
        self._hosted.close(self._seconds)

    def kill(self) -> None:
        """End the child process and its children at once."""
        self._hosted.kill()


class IsolatedTracker(HostedTracker, OnlineTracker):
    """IsolatedTracker: a tracker in a child process, and the local tracker that takes over after its first failure."""

    def __init__(
        self,
        tracker: Tracker,
        local: Tracker,
        explain: Callable[[Exception, RunFolder], str],
        client: Client,
        seconds: float = CALL_SECONDS,
    ) -> None:
        """Keep both; `explain` makes the sentence for users. The other arguments are those of a HostedTracker."""
        super().__init__(tracker, client, seconds)
        self._local = local
        self._explain = explain

    @property
    def local(self) -> Tracker:
        """Tracker that takes over."""
        return self._local

    def explain(self, error: Exception, run: RunFolder) -> str:
        """Return one sentence for users about the failure."""
        return self._explain(error, run)


class _IsolatedTrial:
    """_IsolatedTrial: one trial of a tracker in a child process."""

    def __init__(self, hosted: HostedObject, name: str) -> None:
        self._hosted = hosted
        self._name = name

    def log(self, report: EpochReport) -> None:
        self._hosted.call("log", self._name, report)

    def finish(self, status: Status, summary: Mapping[str, float]) -> None:
        self._hosted.call("finish", self._name, status, dict(summary))


class _Trials:
    """_Trials: a tracker with its open trials, in the child process."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._open: dict[str, Any] = {}

    def start(self, context: TrialContext) -> None:
        self._open[context.name] = self._tracker.start(context)

    def log(self, name: str, report: EpochReport) -> None:
        self._open[name].log(report)

    def finish(self, name: str, status: Status, summary: Mapping[str, float]) -> None:
        self._open.pop(name).finish(status, summary)

    def publish(self, summary: SweepSummary) -> None:
        self._tracker.publish(summary)


def describe_outage(address: str, error: Exception) -> str:
    """Return what went wrong with a service, in one phrase, without the secrets that an address may hold."""
    text = " ".join(str(error).split())
    # urllib3 has the cause at the end of a long text.
    cause = text.rpartition("Caused by ")[2].rpartition(": ")[2].strip("')\"") if "Caused by " in text else text
    reason = _without_secrets(cause)[:200] or type(error).__name__
    is_late = isinstance(error, TimeoutError) or any(sign in reason for sign in _LATE)
    return f"{_without_secrets(address)} {'does not answer' if is_late else 'failed'} ({reason})"


def _without_secrets(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//", text)
