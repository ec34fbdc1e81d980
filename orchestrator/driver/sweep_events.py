"""SweepEvents: the observers of one sweep, from its first check to its end."""

import logging
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from analysis.leaderboard import Leaderboard
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.observer import (
    Observer,
    Observers,
    SweepEnding,
    SweepStart,
    SweepStatus,
    TrackerProblem,
)
from search_spaces.errors import InvalidInput
from trainables.result import TrialResult
from trainables.storage.place import Place

log = logging.getLogger(__name__)


class SweepEvents:
    """SweepEvents: sends the events of a sweep to its observers, and reports a failure in its block as the end."""

    def __init__(
        self, spec: SweepSpec, run: Place, observers: Iterable[Observer], known: Iterable[TrialResult] = ()
    ) -> None:
        """`known` are the trials of an earlier part of the run."""
        self._spec = spec
        self._run = run
        self._observers = Observers(observers)
        self._trials = {trial.trial_id: trial for trial in known}
        self._has_started = self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Bad input that is found before the start is not an end of a sweep: the command reports it.
        is_end = self._has_started or not isinstance(error, InvalidInput)
        if isinstance(error, Exception) and is_end and not self._is_closed:
            self._close("failed", str(error) or type(error).__name__)

    def start(self, known: Iterable[TrialResult], *joining: Observer) -> None:
        """Report the start. `joining` are the observers that need a run to exist; they come first."""
        self._trials = {trial.trial_id: trial for trial in known}
        self._observers = Observers((*joining, self._observers))
        self._has_started = True
        spec = self._spec
        planned, trials = spec.search.trials, tuple(self._trials.values())
        self._observers.on_start(SweepStart(spec.name, self._run, spec.objective, planned, trials))

    def on_trial(self, trial: TrialResult) -> None:
        """Report a change of a trial."""
        self._trials[trial.trial_id] = trial
        self._observers.on_trial(trial)

    def on_closing(self, reason: str) -> None:
        """Report the reason for which no more trials begin."""
        self._observers.on_closing(reason)

    def on_problem(self, problem: TrackerProblem) -> None:
        """Report a problem of a tracker."""
        self._observers.on_problem(problem)

    def warn(self, message: str) -> None:
        """Report a problem of the sweep itself, which goes on, and write it to the sweep's log."""
        log.warning("%s", message)
        self.on_problem(TrackerProblem("", message))

    def close(self, *, interrupted: bool, ended: str | None) -> None:
        """Report the end of a sweep that has not failed; `ended` names the budget that ended it."""
        message = self._summary() if ended is None else f"{self._summary()}; ended by {ended}"
        self._close("interrupted" if interrupted else "completed", message)

    def _close(self, status: SweepStatus, message: str) -> None:
        self._is_closed = True
        trials = tuple(self._trials.values())
        self._observers.on_close(SweepEnding(self._spec.name, self._run, status, message, trials, self._best()))

    def _best(self) -> TrialResult | None:
        board = Leaderboard.from_trials(self._spec.objective, self._trials.values())
        return next((entry.trial for entry in board.entries if entry.rank == 1), None)

    def _summary(self) -> str:
        done = sum(not trial.status.unfinished for trial in self._trials.values())
        counted, best = f"{done} of {self._spec.search.trials} trials done", self._best()
        if best is None or best.best is None:
            return f"{counted}, none completed"
        metric = self._spec.objective.metric
        return f"{counted}, best {metric} {best.objective:.4f} (trial {best.trial_id}, epoch {best.best.epoch})"
