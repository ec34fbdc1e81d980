"""TrackerThread: one tracker in its own thread, so that its failures and delays do not affect the sweep."""

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial

from analysis.run_folder import RunFolder
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.tracker import ClosableTracker, OnlineTracker, TrackedTrial, Tracker, TrialContext
from trainables.result import EpochReport
from trainables.status import Status

log = logging.getLogger(__name__)

# After this many trials in a row that could not be started, the tracker gets nothing more.
FAILED_STARTS = 2


class TrackerThread:
    """TrackerThread: calls a tracker in the order of the messages; each method returns at once and raises nothing.

    A tracker that fails with a trial gets no more epochs of it; `finish` still closes what `start` has opened. An
    online tracker is given up after its first failure: its local tracker gets the open trials from their start.
    """

    def __init__(
        self, tracker: Tracker, on_problem: Callable[[str], None], on_finish: Callable[[str, Status], None]
    ) -> None:
        """Start the thread; `on_problem` gets one sentence per tracker, in this thread. Later ones are logged.

        `on_finish` is called with each trial whose end the tracker has recorded, in this thread; the local tracker of
        a service does not count.
        """
        self._tracker = tracker
        self._online = tracker if isinstance(tracker, OnlineTracker) else None
        self._on_problem = on_problem
        self._on_finish = on_finish
        self._has_reported = False
        self._is_replaced = False
        self._open: dict[str, TrackedTrial] = {}
        self._kept: dict[str, tuple[TrialContext, list[EpochReport]]] = {}
        self._failed: set[str] = set()
        self._failed_starts = 0
        self._messages: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        # A daemon: a tracker that hangs does not keep the process running.
        self._thread = threading.Thread(target=self._work, name=f"tracker {tracker.name}", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """Name of the tracker."""
        return self._tracker.name

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

    def cut(self) -> None:
        """Give an online tracker no more time: what is left goes to its local tracker."""
        if (online := self._online) is not None:
            online.kill()

    def join(self, timeout: float) -> str | None:
        """Wait for the closed thread at most `timeout` seconds; return a sentence if it has not ended by then."""
        self._thread.join(timeout)
        if not self._thread.is_alive():
            return None
        return f"{self.name}: {self._messages.qsize()} records were left when the time to write them was over"

    def _work(self) -> None:
        while (message := self._messages.get()) is not None:
            message()
        if isinstance(self._tracker, ClosableTracker):
            with suppress(Exception):  # all its trials are finished: nothing is lost
                self._tracker.close()

    def _start(self, context: TrialContext) -> None:
        if self._failed_starts >= FAILED_STARTS:
            return
        if self._online is not None:
            self._kept[context.name] = (context, [])
        self._failed_starts += 1
        with self._harmless("start", context.run):
            self._open[context.name] = self._tracker.start(context)
            self._failed_starts = 0

    def _log(self, name: str, report: EpochReport) -> None:
        if name not in self._open or name in self._failed:
            return
        if self._online is not None:
            self._kept[name][1].append(report)
        self._failed.add(name)
        with self._harmless("log"):
            self._open[name].log(report)
            self._failed.discard(name)

    def _finish(self, name: str, status: Status, summary: Mapping[str, float]) -> None:
        if name not in self._open:
            return
        was_online = self._online is not None
        with self._harmless("finish"):
            self._open[name].finish(status, summary)
            if name not in self._failed and not self._is_replaced:
                self._on_finish(name, status)
        if was_online and self._online is None:  # opened again by the local tracker
            self._finish(name, status, summary)
        for names in (self._open, self._kept):
            names.pop(name, None)
        self._failed.discard(name)

    def _publish(self, summary: SweepSummary) -> None:
        if self._failed_starts >= FAILED_STARTS:
            return
        was_online = self._online is not None
        with self._harmless("publish", summary.run):
            self._tracker.publish(summary)
        if was_online and self._online is None:
            self._publish(summary)

    def _fall_back(self, error: Exception, run: RunFolder) -> None:
        """Replace the online tracker by its local one, which gets every open trial from its start."""
        online, self._online = self._online, None
        assert online is not None
        self._on_problem(online.explain(error, run))
        online.kill()
        self._tracker, self._is_replaced = online.local, True
        kept, self._kept, self._open = self._kept, {}, {}
        self._failed.clear()
        self._failed_starts = 0
        for context, reports in kept.values():
            self._start(context)
            for report in reports:
                self._log(context.name, report)

    @contextmanager
    def _harmless(self, verb: str, run: RunFolder | None = None) -> Iterator[None]:
        """Turn the first error of the tracker into a sentence; that of an online one also lets the local take over."""
        try:
            yield
        except Exception as error:  # a client raises its own errors, and those of the network and the file system
            if self._online is not None:
                contexts = [context for context, _ in self._kept.values()]
                self._fall_back(error, run or contexts[0].run)
                return
            sentence = f"{self.name}: {verb} failed, {type(error).__name__}: {error}; the rest goes on without it"
            if self._has_reported:
                log.info("%s", sentence)
            else:
                self._has_reported = True
                self._on_problem(sentence)
