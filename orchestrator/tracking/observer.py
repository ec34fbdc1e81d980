"""Observer: a reader of a sweep's progress. Live view, event log, budget, trackers and notification are observers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from trainables.config import Objective
from trainables.result import TrialResult
from trainables.storage.place import Place

SweepStatus = Literal["completed", "interrupted", "failed"]


@dataclass(frozen=True)
class SweepStart:
    """SweepStart: state of a sweep before its first trial starts."""

    name: str
    """Name of the sweep."""

    run: Place
    """RUN."""

    objective: Objective
    """Metric that is optimized."""

    trials_planned: int
    """Trials of the whole run."""

    known: tuple[TrialResult, ...]
    """Trials of an earlier part of the run."""


@dataclass(frozen=True)
class SweepEnding:
    """SweepEnding: state of a sweep after its last trial has ended."""

    name: str
    """Name of the sweep."""

    run: Place
    """RUN."""

    status: SweepStatus
    """Final status; interrupted: by a user, or by the signal that precedes the loss of a machine."""

    message: str
    """One sentence for users."""

    trials: tuple[TrialResult, ...]
    """All trials of the run, with the epochs that they have."""

    best: TrialResult | None
    """Best completed trial."""


@dataclass(frozen=True)
class TrackerProblem:
    """TrackerProblem: failure of a tracker, or of a linear probe, which does not stop the sweep."""

    tracker: str
    """Name of the tracker; empty for a problem of all, and of none."""

    message: str
    """One sentence for users."""


class Observer(Protocol):
    """Observer: follows one sweep. A class that names it as its base overrides the methods that it needs."""

    def on_start(self, start: SweepStart) -> None:
        """Handle the start: the first trial is about to start."""
        return

    def on_trial(self, trial: TrialResult) -> None:
        """Handle a change: a trial has begun, completed an epoch, or ended."""
        return

    def on_closing(self, reason: str) -> None:
        """Handle, once, the reason for which no more trials begin; running epochs are finished first."""
        return

    def on_problem(self, problem: TrackerProblem) -> None:
        """Handle a problem of a tracker, at most one per tracker. Called from any thread, before the end."""
        return

    def on_close(self, ending: SweepEnding) -> None:
        """Handle the end: the sweep has ended, or has failed, also before its first trial."""
        return


class TrialCallback(Observer):
    """TrialCallback: calls a function with every change of a trial."""

    def __init__(self, function: Callable[[TrialResult], object]) -> None:
        self._function = function

    def on_trial(self, trial: TrialResult) -> None:
        """Call the function."""
        self._function(trial)


class Observers(Observer):
    """Observers: several observers as one."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)

    def on_start(self, start: SweepStart) -> None:
        """Call each observer with the start."""
        for observer in self._observers:
            observer.on_start(start)

    def on_trial(self, trial: TrialResult) -> None:
        """Call each observer with the change."""
        for observer in self._observers:
            observer.on_trial(trial)

    def on_closing(self, reason: str) -> None:
        """Call each observer with the reason."""
        for observer in self._observers:
            observer.on_closing(reason)

    def on_problem(self, problem: TrackerProblem) -> None:
        """Call each observer with the problem."""
        for observer in self._observers:
            observer.on_problem(problem)

    def on_close(self, ending: SweepEnding) -> None:
        """Call each observer with the ending."""
        for observer in self._observers:
            observer.on_close(ending)
