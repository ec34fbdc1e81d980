"""Dispatcher: the one connection from a sweep to its trackers. Calls return at once and never raise."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Self

from analysis.run_folder import RunFolder
from orchestrator.tracking.observer import Observer, TrackerProblem
from orchestrator.tracking.summary import SweepSummary, TrialFiles
from orchestrator.tracking.sweep_identity import SweepIdentity
from orchestrator.tracking.tracked_trials import TrackedTrials
from orchestrator.tracking.tracker import Tracker, TrialContext
from orchestrator.tracking.tracker_thread import TrackerThread
from trainables.result import EpochReport, TrialResult
from trainables.status import Status

log = logging.getLogger(__name__)

# The last moment for the services of the trackers, and then for what is written on this machine instead. Together with
# `notify.NOTIFY_SECONDS` at most a minute.
CLOSE_SECONDS = 38.0
SERVICE_SHARE = 0.7


class Dispatcher(Observer):
    """Dispatcher: sends each change of a trial to every tracker, each in its own thread.

    A status comes from the TrialResult alone, so that trackers, ledger and study agree. A trial is started when it
    begins, each of its epochs is logged once, and it is finished with its final status.
    """

    def __init__(
        self,
        trackers: Sequence[Tracker],
        sweep: SweepIdentity,
        run: RunFolder,
        known: Iterable[TrialResult] = (),
        on_problem: Callable[[TrackerProblem], None] | None = None,
    ) -> None:
        """Start the trackers; `known` are the trials of an earlier part, of which each tracker gets what it lacks.

        `on_problem` is called with each problem, from any thread; without it they are warnings in the log.
        """
        self._sweep = sweep
        self._run = run
        self._tell = on_problem
        self._logged: dict[str, tuple[EpochReport, ...]] = {}
        self._ended: dict[str, Status] = {}
        self._open: dict[str, tuple[Status, Mapping[str, float]] | None] = {}
        self._problems: list[str] = []
        self._closed = False
        tracked = TrackedTrials(run.tracked)
        self._threads = [
            TrackerThread(tracker, partial(self._note, tracker.name), partial(tracked.add, tracker.name))
            for tracker in trackers
        ]
        for trial in known:
            self._logged[trial.trial_id] = trial.reports
            self._ended[trial.trial_id] = trial.status
            for thread in self._threads:
                if not trial.status.unfinished and not tracked.has(thread.name, trial.trial_id, trial.status):
                    thread.start(self._context(trial, TrialFiles.newest(run, trial.trial_id)))
                    thread.finish(trial.trial_id, trial.status, end_values(trial))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def on_trial(self, trial: TrialResult) -> None:
        """Send the news about a trial of the sweep: its start, its epochs, its end."""
        name, logged = trial.trial_id, self._logged.get(trial.trial_id, ())
        if trial.reports[: len(logged)] != logged:
            # Its last checkpoint is older: what it trains now takes the place of what it trained before.
            if (last := self._open.get(name)) is not None:
                self.finish(name, *last)
            logged = self._logged[name] = trial.reports
        new = [report for report in trial.reports if report.epoch > len(logged)]
        if name not in self._open:
            if self._ended.get(name) is trial.status and trial.status is not Status.RUNNING and not new:
                return
            self.start(self._context(trial, TrialFiles(self._run.predictions(name), self._run.best(name))))
        for report in new:
            self.log(name, report)
        best = end_values(trial)
        self._open[name] = (trial.status, best)
        if trial.status is not Status.RUNNING:
            self.finish(name, trial.status, best)

    def _context(self, trial: TrialResult, files: TrialFiles) -> TrialContext:
        return TrialContext(
            sweep=self._sweep,
            run=self._run,
            name=trial.trial_id,
            job_type=self._sweep.job,
            config=trial.config,
            parameters=trial.parameters,
            earlier=self._logged.get(trial.trial_id, ()),
            files=files,
        )

    def start(self, context: TrialContext) -> None:
        """Start a single run, which is not a trial of the sweep."""
        self._open[context.name] = None
        for thread in self._threads:
            thread.start(context)

    def log(self, name: str, report: EpochReport) -> None:
        """Log an epoch of a run that has been started."""
        self._logged[name] = (*self._logged.get(name, ()), report)
        for thread in self._threads:
            thread.log(name, report)

    def finish(self, name: str, status: Status, summary: Mapping[str, float]) -> None:
        """Finish a run that has been started."""
        self._open.pop(name, None)
        self._ended[name] = status
        for thread in self._threads:
            thread.finish(name, status, summary)

    def publish(self, read: Callable[[], SweepSummary]) -> None:
        """Replace the published summary of the sweep by what `read` returns; it is called where a tracker wants it."""
        if not self._threads:
            return
        try:
            summary = read()
        except Exception as error:  # a record that cannot be read costs the summary, not the sweep
            self._note("", f"the summary of the sweep is not published: {type(error).__name__}: {error}")
            return
        for thread in self._threads:
            thread.publish(summary)

    def close(self, timeout: float = CLOSE_SECONDS) -> tuple[str, ...]:
        """Finish open trials with their last status, and wait at most `timeout` seconds for all trackers.

        A service gets SERVICE_SHARE of that time, the rest is for its local tracker. Returns the problems, one sentence
        per tracker. After the first call nothing may be sent.
        """
        for name, last in list(self._open.items()):
            if last is not None:
                self.finish(name, *last)
        for thread in self._threads:
            thread.close()
        try:
            self._wait(timeout)
        except KeyboardInterrupt:  # the sweep itself has ended: its leaderboard is still to be written
            self._note("", "trackers: not waited for, on request; some records may be missing")
        finally:
            self._closed = True  # a tracker that was given up reports nothing more
            for thread in self._threads:
                thread.cut()
        self._threads = []
        return tuple(self._problems)

    def _wait(self, timeout: float) -> None:
        began = time.monotonic()
        for thread in self._threads:
            if thread.join(max(0.0, began + SERVICE_SHARE * timeout - time.monotonic())) is not None:
                thread.cut()
        for thread in self._threads:
            late = thread.join(max(0.0, began + timeout - time.monotonic()))
            if late is not None:
                self._note(thread.name, f"{late}, {timeout:g} s after the end")

    def _note(self, tracker: str, sentence: str) -> None:
        if self._closed:
            return
        self._problems.append(sentence)
        if self._tell is None:
            log.warning("%s", sentence)
        else:
            log.info("%s", sentence)
            self._tell(TrackerProblem(tracker, sentence))


def end_values(trial: TrialResult) -> dict[str, float]:
    """Return the summary with which a trial is finished: the values of its best epoch."""
    best = trial.best
    if best is None:
        return {}
    return {"best/epoch": best.epoch} | {f"best/{name}": value for name, value in best.metrics.items()}
