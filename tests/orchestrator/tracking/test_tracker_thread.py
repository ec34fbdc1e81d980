from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from analysis.leaderboard import Leaderboard
from analysis.run_folder import RunFolder
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.sweep_identity import SweepIdentity
from orchestrator.tracking.tracker import TrackedTrial, TrialContext
from orchestrator.tracking.tracker_thread import TrackerThread
from trainables.config import Objective
from trainables.result import EpochReport, TrialResult
from trainables.status import Status


class Unsteady:
    """A tracker that fails to start the trials that it is given."""

    name = "unsteady"

    def __init__(self, failing: str) -> None:
        self.failing = failing
        self.started = ""

    def start(self, context: TrialContext) -> TrackedTrial:
        if context.name in self.failing:
            raise TimeoutError(context.name)
        self.started += context.name
        tracker, name = self, context.name

        class Trial:
            def log(self, report: EpochReport) -> None:
                tracker.started += "+"

            def finish(self, status: Status, summary: Mapping[str, float]) -> None:
                tracker.started += name.upper()

        return Trial()

    def publish(self, summary: SweepSummary) -> None:
        raise AssertionError("not called")


@pytest.fixture
def context(trial: Callable[..., TrialResult], tmp_path: Path) -> Callable[[str], TrialContext]:
    config = trial("0000").config
    return lambda name: TrialContext(SweepIdentity("digits"), RunFolder(tmp_path), name, "trial", config)


@pytest.mark.parametrize(("failing", "started"), [("", "abcd"), ("ac", "bd"), ("b", "acd"), ("bc", "a"), ("ab", "")])
def test_two_failed_starts_in_a_row_switch_a_tracker_off(
    context: Callable[[str], TrialContext], failing: str, started: str
) -> None:
    problems: list[str] = []
    tracker = Unsteady(failing)
    thread = TrackerThread(tracker, problems.append, lambda name, status: None)
    for name in "abcd":
        thread.start(context(name))
    thread.close()
    assert thread.join(10) is None
    assert tracker.started == started
    assert [problem.partition(",")[0] for problem in problems] == ["unsteady: start failed"] * bool(failing)


def test_messages_arrive_in_order_and_only_for_open_trials(context: Callable[[str], TrialContext]) -> None:
    report = EpochReport(epoch=1, metrics={}, seconds=1, checkpoint="best")
    tracker = Unsteady("")
    thread = TrackerThread(tracker, lambda problem: None, lambda name, status: None)
    thread.start(context("a"))
    thread.log("a", report)
    thread.log("b", report)
    thread.finish("a", Status.COMPLETED, {})
    thread.log("a", report)
    thread.finish("a", Status.COMPLETED, {})
    thread.close()
    assert thread.join(10) is None
    assert tracker.started == "a+A"


class Diary:
    """A tracker that notes its calls; `failing` is the call that raises, counted from 0."""

    name = "diary"

    def __init__(self, failing: int | None = None) -> None:
        self.failing = failing
        self.calls: list[str] = []

    def note(self, call: str) -> None:
        if len(self.calls) == self.failing:
            raise ConnectionError("out of reach")
        self.calls.append(call)

    def start(self, context: TrialContext) -> TrackedTrial:
        self.note(f"start {context.name}")
        diary, name = self, context.name

        class Trial:
            def log(self, report: EpochReport) -> None:
                diary.note(f"log {name} {report.epoch}")

            def finish(self, status: Status, summary: Mapping[str, float]) -> None:
                diary.note(f"finish {name}")

        return Trial()

    def publish(self, summary: SweepSummary) -> None:
        self.note("publish")


class Service(Diary):
    """An online tracker; another diary takes over."""

    def __init__(self, failing: int | None = None) -> None:
        super().__init__(failing)
        self.local = Diary()
        self.ended: list[str] = []

    def explain(self, error: Exception, run: RunFolder) -> str:
        return f"{error}, see {run.root.name}"

    def close(self) -> None:
        self.ended.append("close")

    def kill(self) -> None:
        self.ended.append("kill")


CALLS = ["start a", "log a 1", "start b", "log b 1", "log a 2", "finish a", "log b 2", "finish b", "publish"]


@pytest.mark.parametrize("failing", [*range(len(CALLS)), None])
def test_whatever_call_fails_the_local_tracker_gets_the_open_trials_from_their_start(
    context: Callable[[str], TrialContext], tmp_path: Path, failing: int | None
) -> None:
    service, problems, recorded = Service(failing), list[str](), set[str]()
    thread = TrackerThread(service, problems.append, lambda name, status: recorded.add(name))
    for call in CALLS:
        verb, *words = call.split()
        if verb == "start":
            thread.start(context(words[0]))
        elif verb == "log":
            thread.log(words[0], EpochReport(epoch=int(words[1]), metrics={}, seconds=1, checkpoint="best"))
        elif verb == "finish":
            thread.finish(words[0], Status.COMPLETED, {})
        else:
            thread.publish(
                SweepSummary(SweepIdentity("digits"), RunFolder(tmp_path), Leaderboard.from_trials(Objective(), []))
            )
    thread.close()
    assert thread.join(10) is None
    if failing is None:
        assert (service.calls, service.local.calls, service.ended, problems) == (CALLS, [], ["close"], [])
        assert recorded == {"a", "b"}
        return
    assert service.calls == CALLS[:failing], "nothing is sent after the first failure"
    assert problems == [f"out of reach, see {tmp_path.name}"]
    assert service.ended == ["kill"]
    ended = {call.split()[1] for call in service.calls if call.startswith("finish")}
    assert recorded == ended, "the service lacks the others, and gets them when the run is resumed"
    wanted = [call for call in CALLS if call.split()[-1] == "publish" or call.split()[1] not in ended]
    assert sorted(service.local.calls) == sorted(wanted)
    for name in "ab":
        own = [call for call in service.local.calls if f" {name}" in call]
        assert own == [call for call in wanted if f" {name}" in call], "in order"


def test_the_failure_of_a_local_tracker_is_one_more_line(context: Callable[[str], TrialContext]) -> None:
    service, problems = Service(0), list[str]()
    service.local.failing = 1
    thread = TrackerThread(service, problems.append, lambda name, status: None)
    thread.start(context("a"))
    for epoch in (1, 2):
        thread.log("a", EpochReport(epoch=epoch, metrics={}, seconds=1, checkpoint="best"))
    thread.close()
    assert thread.join(10) is None
    assert [problem.partition(",")[0] for problem in problems] == ["out of reach", "diary: log failed"]
