from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.driver.sweep_events import SweepEvents
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.observer import Observer, SweepEnding, SweepStart
from search_spaces.errors import InvalidInput, SweepFailed
from trainables.result import TrialResult
from trainables.status import Status

Trial = Callable[..., TrialResult]


class Diary(Observer):
    """Notes every event."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.endings: list[SweepEnding] = []

    def on_start(self, start: SweepStart) -> None:
        self.events.append(f"start {start.name}: {len(start.known)} of {start.trials_planned}")

    def on_trial(self, trial: TrialResult) -> None:
        self.events.append(f"{trial.trial_id} {trial.status}")

    def on_closing(self, reason: str) -> None:
        self.events.append(f"closing: {reason}")

    def on_close(self, ending: SweepEnding) -> None:
        self.events.append(f"{ending.status}: {ending.message}")
        self.endings.append(ending)


@pytest.fixture
def spec(small_spec: Callable[..., SweepSpec]) -> SweepSpec:
    return small_spec(name="small", search={"trials": 3})


def test_every_observer_is_told_of_the_sweep_in_order(spec: SweepSpec, trial: Trial, tmp_path: Path) -> None:
    first, second, joining = Diary(), Diary(), Diary()
    with SweepEvents(spec, tmp_path, [first, second]) as events:
        events.start([trial("0000", [0.5], Status.COMPLETED)], joining)
        events.on_trial(trial("0001", [0.7], Status.COMPLETED))
        events.on_closing("budget.target")
        events.close(interrupted=False, ended="budget.target: reached")
    assert first.events == [
        "start small: 1 of 3",
        "0001 COMPLETED",
        "closing: budget.target",
        "completed: 2 of 3 trials done, best val/macro_f1 0.7000 (trial 0001, epoch 1); "
        "ended by budget.target: reached",
    ]
    assert first.events == second.events == joining.events
    (ending,) = first.endings
    assert (ending.run, len(ending.trials)) == (tmp_path, 2)
    assert ending.best is not None
    assert ending.best.trial_id == "0001"


def test_a_stopped_sweep_without_a_completed_trial_says_so(spec: SweepSpec, tmp_path: Path) -> None:
    diary = Diary()
    with SweepEvents(spec, tmp_path, [diary]) as events:
        events.start([])
        events.close(interrupted=True, ended=None)
    assert diary.events[1:] == ["interrupted: 0 of 3 trials done, none completed"]
    assert diary.endings[0].best is None


def test_a_failure_is_an_end(spec: SweepSpec, tmp_path: Path) -> None:
    diary = Diary()
    with pytest.raises(SweepFailed), SweepEvents(spec, tmp_path, [diary]) as events:
        events.start([])
        raise SweepFailed("no trial completed")
    assert diary.events[1:] == ["failed: no trial completed"]


def test_a_failure_before_the_start_is_an_end_and_bad_input_is_none(spec: SweepSpec, tmp_path: Path) -> None:
    diary = Diary()
    with pytest.raises(RuntimeError), SweepEvents(spec, tmp_path, [diary]):
        raise RuntimeError
    assert diary.events == ["failed: RuntimeError"]
    with pytest.raises(InvalidInput), SweepEvents(spec, tmp_path, [diary]):
        raise InvalidInput("data.root: must be a folder")
    assert len(diary.events) == 1


def test_a_second_ctrl_c_ends_without_a_word(spec: SweepSpec, tmp_path: Path) -> None:
    diary = Diary()
    with pytest.raises(KeyboardInterrupt), SweepEvents(spec, tmp_path, [diary]) as events:
        events.start([])
        raise KeyboardInterrupt
    assert diary.events == ["start small: 0 of 3"]


class Clumsy(Diary):
    """Notes the end, then raises."""

    def on_close(self, ending: SweepEnding) -> None:
        super().on_close(ending)
        raise OSError("disk full")


def test_an_end_is_reported_once_where_an_observer_raises_in_it(spec: SweepSpec, tmp_path: Path) -> None:
    clumsy = Clumsy()
    with pytest.raises(OSError, match="disk full"), SweepEvents(spec, tmp_path, [clumsy]) as events:
        events.start([])
        events.close(interrupted=False, ended=None)
    assert [ending.status for ending in clumsy.endings] == ["completed"]


def test_a_failure_before_the_start_names_the_trials_of_the_earlier_part(
    spec: SweepSpec, trial: Trial, tmp_path: Path
) -> None:
    diary, known = Diary(), [trial("0000", [0.5], Status.COMPLETED)]
    with pytest.raises(RuntimeError), SweepEvents(spec, tmp_path, [diary], known):
        raise RuntimeError("no cluster")
    (ending,) = diary.endings
    assert ([found.trial_id for found in ending.trials], ending.best) == (["0000"], known[0])
