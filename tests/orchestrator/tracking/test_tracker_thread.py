from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.tracker import TrackedTrial, TrialContext
from orchestrator.tracking.tracker_thread import TrackerThread
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
    return lambda name: TrialContext("digits", tmp_path, name, "trial", config)


@pytest.mark.parametrize(("failing", "started"), [("", "abcd"), ("ac", "bd"), ("b", "acd"), ("bc", "a"), ("ab", "")])
def test_two_failed_starts_in_a_row_switch_a_tracker_off(
    context: Callable[[str], TrialContext], failing: str, started: str
) -> None:
    problems: list[str] = []
    tracker = Unsteady(failing)
    thread = TrackerThread(tracker, problems.append)
    for name in "abcd":
        thread.start(context(name))
    thread.close()
    assert thread.join(10) is None
    assert tracker.started == started
    assert sum("start failed, TimeoutError" in problem for problem in problems) == bool(failing), "reported once"
    assert any("off from now on" in problem for problem in problems) == (len(started) < 2)


def test_messages_arrive_in_order_and_only_for_open_trials(context: Callable[[str], TrialContext]) -> None:
    report = EpochReport(epoch=1, metrics={}, seconds=1, checkpoint="best")
    tracker = Unsteady("")
    thread = TrackerThread(tracker, lambda problem: None)
    thread.start(context("a"))
    thread.log("a", report)
    thread.log("b", report)
    thread.finish("a", Status.COMPLETED, {})
    thread.log("a", report)
    thread.finish("a", Status.COMPLETED, {})
    thread.close()
    assert thread.join(10) is None
    assert tracker.started == "a+A"
