"""TrackerThread: one tracker in its own thread, so that its failures and delays do not affect the sweep."""

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.tracker import TrackedTrial, Tracker, TrialContext
from trainables.result import EpochReport
from trainables.status import Status

# After this many trials in a row that could not be started, the tracker gets nothing more.
FAILED_STARTS = 2


class TrackerThread:
    """TrackerThread: calls a tracker in the order of the messages; each method returns at once and raises nothing.

    A tracker that fails with a trial gets no more epochs of it; `finish` still closes what `start` has opened.
    """

    def __init__(self, tracker: Tracker, on_problem: Callable[[str], None]) -> None:
        """Start the thread; `on_problem` gets one sentence per kind of failure, once, in this thread."""
        self._tracker = tracker
        self._on_problem = on_problem
        self._reported: set[tuple[str, type[Exception]]] = set()
        self._open: dict[str, TrackedTrial] = {}
        self._failed: set[str] = set()
        self._failed_starts = 0
        self._messages: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        # A daemon: a tracker that hangs does not keep the process running.
        self._thread = threading.Thread(target=self._work, name=f"tracker {tracker.name}", daemon=True)
        self._thread.start()

    def start(self, context: TrialContext) -> None:
        """Open a trial."""
        self._messages.put(partial(self._start, context))

    def log(self, name: str, report: EpochReport) -> None:
        """Record an epoch of a trial."""
        self._messages.put(partial(self._log, name, report))

    def finish(self, name: str, status: Status, summary: Mapping[str, float]) -> None:
        """Record the end of a trial."""
        self._messages.put(partial(self._finish, name, status, summary))

    def publish(self, summary: SweepSummary) -> None:
        """Replace the summary of the sweep."""
        self._messages.put(partial(self._publish, summary))

    def close(self) -> None:
        """End the thread after the messages in its queue; nothing may be sent afterwards."""
        self._messages.put(None)

    def join(self, timeout: float) -> str | None:
        """Wait for the closed thread at most `timeout` seconds; return a sentence if it has not ended by then."""
        self._thread.join(timeout)
        if not self._thread.is_alive():
            return None
        return f"{self._tracker.name}: {self._messages.qsize()} records were left when the time to write them was over"

    def _work(self) -> None:
        while (message := self._messages.get()) is not None:
            message()

    def _start(self, context: TrialContext) -> None:
        if self._is_off():
            return
        self._failed_starts += 1
        with self._harmless("start"):
            self._open[context.name] = self._tracker.start(context)
            self._failed_starts = 0
        if self._is_off():
            name = self._tracker.name
            self._on_problem(f"{name}: is off from now on, since {FAILED_STARTS} trials in a row could not be started")

    def _log(self, name: str, report: EpochReport) -> None:
        if name not in self._open or name in self._failed:
            return
        self._failed.add(name)
        with self._harmless("log"):
            self._open[name].log(report)
            self._failed.remove(name)

    def _finish(self, name: str, status: Status, summary: Mapping[str, float]) -> None:
        self._failed.discard(name)
        trial = self._open.pop(name, None)
        if trial is not None:
            with self._harmless("finish"):
                trial.finish(status, summary)

    def _publish(self, summary: SweepSummary) -> None:
        if not self._is_off():
            with self._harmless("publish"):
                self._tracker.publish(summary)

    def _is_off(self) -> bool:
        return self._failed_starts >= FAILED_STARTS

    @contextmanager
    def _harmless(self, verb: str) -> Iterator[None]:
        """Turn an error of the tracker into a sentence, once per verb and type of error."""
        try:
            yield
        except Exception as error:  # a client raises its own errors, and those of the network and the file system
            if (verb, type(error)) not in self._reported:
                self._reported.add((verb, type(error)))
                name = self._tracker.name
                self._on_problem(
                    f"{name}: {verb} failed, {type(error).__name__}: {error}; the sweep goes on without it"
                )
