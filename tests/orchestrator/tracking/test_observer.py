from collections.abc import Callable
from pathlib import Path

from orchestrator.tracking.observer import Observer, Observers, SweepEnding, SweepStart, TrialCallback
from trainables.config import Objective
from trainables.result import TrialResult


class Diary(Observer):
    """Notes what it is called with, under its name."""

    def __init__(self, name: str, notes: list[tuple[str, object]]) -> None:
        self.name = name
        self.notes = notes

    def on_start(self, start: SweepStart) -> None:
        self.notes.append((self.name, start))

    def on_trial(self, trial: TrialResult) -> None:
        self.notes.append((self.name, trial))

    def on_closing(self, reason: str) -> None:
        self.notes.append((self.name, reason))

    def on_close(self, ending: SweepEnding) -> None:
        self.notes.append((self.name, ending))


def test_several_observers_are_called_in_their_order_with_the_same(trial: Callable[..., TrialResult]) -> None:
    notes: list[tuple[str, object]] = []
    both = Observers(Diary(name, notes) for name in "ab")
    start = SweepStart("sweep", Path("runs/sweep"), Objective(), 2, ())
    ending = SweepEnding("sweep", Path("runs/sweep"), "completed", "done", (), None)
    both.on_start(start)
    both.on_trial(trial("0000", [0.5]))
    both.on_closing("budget.wall_clock: 1h of 1h are used")
    both.on_close(ending)
    told = [start, trial("0000", [0.5]), "budget.wall_clock: 1h of 1h are used", ending]
    assert notes == [(name, each) for each in told for name in "ab"]


def test_a_function_is_an_observer_of_trials_and_ignores_the_rest(trial: Callable[..., TrialResult]) -> None:
    seen: list[TrialResult] = []
    observer = TrialCallback(seen.append)
    observer.on_start(SweepStart("sweep", Path("runs/sweep"), Objective(), 2, ()))
    observer.on_trial(trial("0000"))
    observer.on_closing("on request")
    assert seen == [trial("0000")]
