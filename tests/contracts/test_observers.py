"""Rules for every observer: accept every event of a sweep, show no change twice, and do not affect other observers.

A new observer joins `WATCHED`; a test compares it with the sources.
"""

import ast
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from analysis.run_folder import RunFolder
from orchestrator.spec.budget import Budget
from orchestrator.spec.loading import load
from orchestrator.spec.sections import Notify, Tracking, Wandb
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.terminal.eta import EtaEstimator
from orchestrator.terminal.event_log import EventLog
from orchestrator.terminal.live_view import LiveView
from orchestrator.tracking.dispatcher import Dispatcher
from orchestrator.tracking.notify import Notifier
from orchestrator.tracking.observer import (
    Observer,
    Observers,
    SweepEnding,
    SweepStart,
    SweepStatus,
    TrackerProblem,
    TrialCallback,
)
from orchestrator.tracking.sweep_identity import SweepIdentity
from orchestrator.tuner.budget_meter import BudgetMeter
from search_spaces.documents import dump_yaml
from trainables.config import Objective, TrialConfig
from trainables.result import EpochReport, TrialResult
from trainables.status import Status

PLANNED = EPOCHS = 4
ROOMS = [Path(__file__).parents[2] / room for room in ("search_spaces", "trainables", "orchestrator", "analysis")]


# ---- events of a sweep ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Story:
    """Events of one drive of a sweep, in order."""

    known: tuple[TrialResult, ...]
    changes: tuple[TrialResult, ...]
    closing: str | None
    ending: SweepStatus
    starts: bool = True

    def send(self, observer: Observer, run: Path) -> None:
        """Send all events to an observer; a sweep that fails before its first trial sends its end alone."""
        trials = {trial.trial_id: trial for trial in self.known}
        if self.starts:
            observer.on_start(SweepStart("small", run, Objective(), PLANNED, self.known))
            for change in self.changes:
                trials[change.trial_id] = change
                observer.on_trial(change)
            if self.closing is not None:
                observer.on_closing(self.closing)
                observer.on_problem(TrackerProblem("W&B", "W&B: does not answer"))
        last = tuple(trials.values())
        done = [trial for trial in last if trial.status is Status.COMPLETED and trial.objective is not None]
        best = max(done, key=lambda trial: trial.objective or 0.0, default=None)
        observer.on_close(SweepEnding("small", run, self.ending, "2 of 4 trials done", last, best))


def trial(number: int, scores: list[float], status: Status = Status.RUNNING) -> TrialResult:
    config = {"data": {"root": "/p"}, "architecture": "resnet18", "strategy": "head", "epochs": EPOCHS, "lr": 0.01}
    return TrialResult(
        trial_id=f"{number:04d}",
        config=TrialConfig.model_validate(config),
        parameters={"lr": 0.01},
        status=status,
        reports=tuple(
            EpochReport(epoch=epoch, metrics={"val/macro_f1": score}, seconds=0.5, checkpoint="best")
            for epoch, score in enumerate(scores, start=1)
        ),
    )


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Trials of an earlier part; changes of up to four trials, in any order; trials that begin anew; any end."""
    known, queues = [], []
    for number in range(draw(st.integers(1, PLANNED))):
        scores = draw(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=EPOCHS))
        done, last = draw(st.integers(0, len(scores))), draw(st.sampled_from(Status))
        if draw(st.booleans()):
            known.append(trial(number, scores[:done], draw(st.sampled_from(Status))))
            if not known[-1].status.unfinished:
                continue
            begun = done
        else:
            begun = 0
        queue = [trial(number, scores[:epochs]) for epochs in range(begun, len(scores) + 1)]
        if draw(st.booleans()):  # its process died before a checkpoint was saved
            queue += [trial(number, scores[:epochs]) for epochs in range(len(scores) + 1)]
        queues.append([*queue, trial(number, scores, last)])
    changes = []
    while queues := [queue for queue in queues if queue]:
        changes.append(queues[draw(st.integers(0, len(queues) - 1))].pop(0))
    closing = draw(st.none() | st.just("budget.wall_clock: 1h of 1h are used"))
    return Story(
        tuple(known), tuple(changes), closing, draw(st.sampled_from(get_args(SweepStatus))), draw(st.booleans())
    )


# ---- observers ------------------------------------------------------------------------------------------------------


class Toy:
    """A tracker that records its calls."""

    name = "toy"

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def start(self, context: Any) -> Any:
        calls, name = self.calls, context.name
        calls.append(("start", name, len(context.earlier)))

        class Trial:
            def log(self, report: EpochReport) -> None:
                calls.append(("log", name, report.epoch))

            def finish(self, status: Status, summary: Any) -> None:
                calls.append(("finish", name, status))

        return Trial()

    def publish(self, summary: Any) -> None:
        self.calls.append(("publish",))


Watched = tuple[Observer, Callable[[], object]]
"""An observer, and a function that returns its output."""


def budget_meter(spec: SweepSpec, folder: Path) -> Watched:
    meter = BudgetMeter(Budget.model_validate({"gpu_hours": 1e-9, "plateau": 1}), Objective(), 1)
    return meter, meter.exhausted


def eta_estimator(spec: SweepSpec, folder: Path) -> Watched:
    eta = EtaEstimator(PLANNED, clock=lambda: 100.0)
    return eta, eta.remaining


def event_log(spec: SweepSpec, folder: Path) -> Watched:
    stream = io.StringIO()
    return EventLog(stream), lambda: [line.partition('"time"')[0] for line in stream.getvalue().splitlines()]


def live_view(spec: SweepSpec, folder: Path) -> Watched:
    console = Console(file=io.StringIO(), width=100, color_system=None)
    view = LiveView(console, spec)

    def shown() -> object:
        before = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
        console.print(view.render())
        return before, view.trials

    return view, shown


def notifier(spec: SweepSpec, folder: Path) -> Watched:
    told, problems = folder / "told", list[str]()
    command = f"echo $THAW_STATUS $THAW_BEST_TRIAL >> {told}"
    tracking = Tracking(wandb=Wandb(mode="disabled"), notify=Notify(command=command))
    return Notifier(tracking, problems.append), lambda: (told.read_text() if told.exists() else "", problems)


def dispatcher(spec: SweepSpec, folder: Path) -> Watched:
    toy = Toy()
    observer = Dispatcher([toy], SweepIdentity("small"), RunFolder(folder))

    def shown() -> object:
        assert observer.close() == ()
        return toy.calls

    return observer, shown


def callback(spec: SweepSpec, folder: Path) -> Watched:
    seen: dict[str, TrialResult] = {}
    return TrialCallback(lambda change: seen.update({change.trial_id: change})), lambda: seen


def several(spec: SweepSpec, folder: Path) -> Watched:
    parts = [event_log(spec, folder), callback(spec, folder)]
    return Observers(observer for observer, _ in parts), lambda: [shown() for _, shown in parts]


WATCHED: dict[type[Observer], Callable[[SweepSpec, Path], Watched]] = {
    BudgetMeter: budget_meter,
    EtaEstimator: eta_estimator,
    EventLog: event_log,
    LiveView: live_view,
    Notifier: notifier,
    Dispatcher: dispatcher,
    TrialCallback: callback,
    Observers: several,
}


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> SweepSpec:
    sections = {
        "name": "small",
        "data": {"root": "photos"},
        "trial": {"architecture": "resnet18", "strategy": "head", "weights": "none", "epochs": EPOCHS},
        "space": {"lr": {"log": [1e-3, 1e-1]}},
        "search": {"trials": PLANNED, "sampler": "random"},
    }
    path = tmp_path_factory.mktemp("spec") / "sweep.yaml"
    path.write_text(dump_yaml(sections))
    return load(path)


every_kind = pytest.mark.parametrize("kind", WATCHED, ids=lambda kind: kind.__name__)


def shown_of(spec: SweepSpec, story: Story, *kinds: type[Observer]) -> object:
    """Return the output of the first of `kinds` after a story that was sent to all of them."""
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary) / str(number) for number in range(len(kinds))]
        for folder in folders:
            folder.mkdir()
        pairs = [WATCHED[kind](spec, folder) for kind, folder in zip(kinds, folders, strict=True)]
        story.send(Observers(observer for observer, _ in pairs), Path("runs/small"))
        first, *_ = [shown() for _, shown in pairs]
        return first


# ---- the rules ------------------------------------------------------------------------------------------------------


def test_every_observer_of_the_sources_is_in_this_suite() -> None:
    defined = {
        node.name
        for room in ROOMS
        for path in room.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "Observer" for base in node.bases)
    }
    assert defined == {kind.__name__ for kind in WATCHED}


@every_kind
@given(story=stories())
@settings(max_examples=25)
def test_whatever_a_sweep_sends_is_taken_and_shown_alike_beside_others(
    spec: SweepSpec, kind: type[Observer], story: Story
) -> None:
    others = [other for other in WATCHED if other is not kind and other is not Notifier]
    assert shown_of(spec, story, kind) == shown_of(spec, story, kind, *others)


@every_kind
@given(story=stories(), data=st.data())
@settings(max_examples=25)
def test_a_change_of_a_running_trial_that_comes_twice_is_shown_once(
    spec: SweepSpec, kind: type[Observer], story: Story, data: st.DataObject
) -> None:
    running = [number for number, change in enumerate(story.changes) if change.status is Status.RUNNING]
    if not running:
        return
    at = data.draw(st.sampled_from(running))
    twice = replace(story, changes=(*story.changes[:at], story.changes[at], *story.changes[at:]))
    assert shown_of(spec, twice, kind) == shown_of(spec, story, kind)


@every_kind
@pytest.mark.parametrize("ending", get_args(SweepStatus))
def test_an_end_without_a_start_is_taken(spec: SweepSpec, kind: type[Observer], ending: SweepStatus) -> None:
    known = (trial(0, [0.5], Status.COMPLETED),)
    shown_of(spec, Story(known, (), None, ending, starts=False), kind)
