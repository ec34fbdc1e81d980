import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from analysis.leaderboard import Leaderboard
from analysis.run_folder import RunFolder
from orchestrator.tracking.dispatcher import Dispatcher
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.sweep_identity import SweepIdentity
from orchestrator.tracking.tracker import TrackedTrial, TrialContext, TrialFiles
from trainables.config import Objective
from trainables.result import EpochReport, TrialResult
from trainables.status import Status

Trial = Callable[..., TrialResult]


class Recorder:
    """A tracker that writes down its calls."""

    name = "recorder"

    def __init__(self) -> None:
        self.contexts: list[TrialContext] = []
        self.calls: list[tuple[Any, ...]] = []

    def start(self, context: TrialContext) -> TrackedTrial:
        self.contexts.append(context)
        self.calls.append(("start", context.name, len(context.earlier)))
        calls, name = self.calls, context.name

        class Recorded:
            def log(self, report: EpochReport) -> None:
                calls.append(("log", name, report.epoch))

            def finish(self, status: Status, summary: Mapping[str, float]) -> None:
                calls.append(("finish", name, status.value, dict(summary)))

        return Recorded()

    def publish(self, summary: SweepSummary) -> None:
        self.calls.append(("publish", summary.sweep))


def calls(changes: list[TrialResult], folder: Path, known: list[TrialResult] | None = None) -> list[tuple[Any, ...]]:
    recorder = Recorder()
    with Dispatcher([recorder], SweepIdentity("digits"), RunFolder(folder), known or []) as dispatcher:
        for trial in changes:
            dispatcher.on_trial(trial)
    return recorder.calls


def test_a_trial_is_started_once_its_epochs_are_logged_once_and_its_end_is_its_status(
    trial: Trial, tmp_path: Path
) -> None:
    changes = [trial("0000"), trial("0000", [0.5]), trial("0000", [0.5, 0.75]), trial("0000", [0.5, 0.75])]
    assert calls([*changes, trial("0000", [0.5, 0.75], Status.PRUNED)], tmp_path) == [
        ("start", "0000", 0),
        ("log", "0000", 1),
        ("log", "0000", 2),
        ("finish", "0000", "PRUNED", {"best/epoch": 2, "best/val/macro_f1": 0.75}),
    ]


def test_a_trial_that_falls_back_to_a_checkpoint_is_started_again_from_there(trial: Trial, tmp_path: Path) -> None:
    changes = [trial("0000", scores) for scores in ([], [0.5], [0.5, 0.6], [0.5], [0.5, 0.7], [], [0.4])]
    assert [call[:3] for call in calls(changes, tmp_path)] == [
        *(("start", "0000", 0), ("log", "0000", 1), ("log", "0000", 2), ("finish", "0000", "RUNNING")),
        *(("start", "0000", 1), ("log", "0000", 2), ("finish", "0000", "RUNNING")),
        *(("start", "0000", 0), ("log", "0000", 1), ("finish", "0000", "RUNNING")),
    ]


def test_what_is_open_at_the_end_is_finished_with_the_status_it_has(trial: Trial, tmp_path: Path) -> None:
    assert calls([trial("0000", [0.5])], tmp_path)[-1] == (
        "finish",
        "0000",
        "RUNNING",
        {"best/epoch": 1, "best/val/macro_f1": 0.5},
    )


def test_a_trial_of_an_earlier_part_goes_on_after_its_logged_epochs(trial: Trial, tmp_path: Path) -> None:
    known = trial("0000", [0.5, 0.6], Status.INTERRUPTED)
    assert calls([trial("0000", [0.5, 0.6]), trial("0000", [0.5, 0.6, 0.7], Status.COMPLETED)], tmp_path, [known]) == [
        ("start", "0000", 2),
        ("log", "0000", 3),
        ("finish", "0000", "COMPLETED", {"best/epoch": 3, "best/val/macro_f1": 0.7}),
    ]


def test_an_end_that_was_told_before_is_not_told_again_but_another_one_is(trial: Trial, tmp_path: Path) -> None:
    known = trial("0000", [0.5], Status.INTERRUPTED)
    assert calls([known, known], tmp_path, [known]) == []
    assert calls([known, trial("0000", [0.5], Status.PRUNED)], tmp_path, [known]) == [
        ("start", "0000", 1),
        ("finish", "0000", "PRUNED", {"best/epoch": 1, "best/val/macro_f1": 0.5}),
    ]


def test_a_tracker_gets_the_facts_of_a_trial(trial: Trial, tmp_path: Path) -> None:
    recorder, changed = Recorder(), trial("0000", parameters={"lr": 0.01})
    with Dispatcher([recorder], SweepIdentity("digits"), RunFolder(tmp_path)) as dispatcher:
        dispatcher.on_trial(changed)
    files = TrialFiles(tmp_path / "predictions" / "0000.parquet", tmp_path / "checkpoints" / "0000" / "best")
    expected = TrialContext(
        SweepIdentity("digits"), RunFolder(tmp_path), "0000", "trial", changed.config, {"lr": 0.01}, files=files
    )
    assert recorder.contexts == [expected]


def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    dispatcher = Dispatcher([Recorder()], SweepIdentity("digits"), RunFolder(tmp_path))
    assert dispatcher.close() == dispatcher.close() == ()


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.RUNNING])
def test_a_trial_that_ended_unseen_is_shown_whole(trial: Trial, tmp_path: Path, status: Status) -> None:
    first, *others = calls([trial("0000", [0.5], status)], tmp_path)
    assert first == ("start", "0000", 0)
    assert [call[:3] for call in others] == [("log", "0000", 1), ("finish", "0000", status.value)]


def test_a_summary_that_cannot_be_read_costs_nothing_else(trial: Trial, tmp_path: Path) -> None:
    def unreadable() -> SweepSummary:
        raise ValueError("no JSON")

    recorder = Recorder()
    dispatcher = Dispatcher([recorder], SweepIdentity("digits"), RunFolder(tmp_path))
    dispatcher.publish(unreadable)
    dispatcher.on_trial(trial("0000", [0.5], Status.COMPLETED))
    assert dispatcher.close() == ("the summary of the sweep is not published: ValueError: no JSON",)
    assert recorder.calls[-1][:3] == ("finish", "0000", "COMPLETED")


def test_a_summary_is_read_only_where_a_tracker_wants_it(tmp_path: Path) -> None:
    asked = []
    Dispatcher([], SweepIdentity("digits"), RunFolder(tmp_path)).publish(lambda: asked.append(1))  # type: ignore[arg-type, return-value]
    assert asked == []


def test_a_ctrl_c_while_trackers_are_awaited_ends_the_wait_alone(
    trial: Trial, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked, over = threading.Event(), threading.Event()

    class Slow(Recorder):
        def publish(self, summary: SweepSummary) -> None:
            asked.set()
            over.wait(30)

    dispatcher = Dispatcher([Slow()], SweepIdentity("digits"), RunFolder(tmp_path))
    board = Leaderboard.from_trials(Objective(), [trial("0000", [0.5], Status.COMPLETED)])
    dispatcher.publish(lambda: SweepSummary(SweepIdentity("digits"), RunFolder(tmp_path), board))
    assert asked.wait(30)
    interrupt = threading.Timer(0.2, signal.pthread_kill, [threading.get_ident(), signal.SIGINT])
    interrupt.start()
    try:
        problems = dispatcher.close(20.0)
    finally:
        over.set()
        interrupt.join()
    assert problems == ("trackers: not waited for, on request; some records may be missing",)
    assert problems[0] in caplog.text
