"""EtaEstimator: remaining time of a sweep, from the times of its trials."""

import time
from collections.abc import Callable
from statistics import fmean

from orchestrator.tracking.observer import Observer, SweepStart
from trainables.result import TrialResult
from trainables.status import Status


class EtaEstimator(Observer):
    """EtaEstimator: measures the times of a sweep's trials."""

    def __init__(self, planned: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the clock for `planned` trials in all; `clock` is in seconds."""
        self.planned = planned
        self._clock = clock
        self._started = clock()
        self._took: dict[str, float] = {}
        self._began: dict[str, float] = {}
        # Each with the time of its last report.
        self._running: dict[str, tuple[TrialResult, float]] = {}

    @property
    def elapsed(self) -> float:
        """Seconds since this driver started."""
        return self._clock() - self._started

    def on_start(self, start: SweepStart) -> None:
        """Add the times of an earlier part of the run."""
        self._took = {trial.trial_id: trial.seconds for trial in start.known if not trial.status.unfinished}

    def on_trial(self, trial: TrialResult) -> None:
        """Add a change of a trial."""
        now = self._clock()
        began = self._began.setdefault(trial.trial_id, now)
        if trial.status is Status.RUNNING:
            self._running[trial.trial_id] = trial, now
        else:
            self._running.pop(trial.trial_id, None)
            self._took[trial.trial_id] = now - began

    def remaining(self) -> float | None:
        """Return the seconds until the planned trials are done; None before one has ended.

        A trial that waits is expected to take as long as the others, stopped ones included. A running trial is expected
        to continue to its last epoch at the speed of its latest. So a sweep that stops many is done somewhat sooner.
        """
        if not self._took:
            return None
        usual = fmean(self._took.values())
        rests = [self._rest(trial, heard, usual) for trial, heard in self._running.values()]
        waiting = max(0, self.planned - len(self._took) - len(self._running))
        return max([0.0, *rests, (sum(rests) + waiting * usual) / max(1, len(rests))])

    def _rest(self, trial: TrialResult, heard: float, usual: float) -> float:
        if not trial.reports:
            return max(0.0, usual - (self._clock() - self._began[trial.trial_id]))
        ahead = (trial.config.epochs - len(trial.reports)) * trial.reports[-1].seconds
        return max(0.0, ahead - (self._clock() - heard))
