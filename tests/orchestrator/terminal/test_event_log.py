import io
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from analysis.comparisons.baseline import Baseline
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.terminal.event_log import EventLog
from orchestrator.tracking.observer import SweepEnding, SweepStart, TrackerProblem
from trainables.interval import Difference, Interval
from trainables.result import TrialResult
from trainables.status import Status

Trial = Callable[..., TrialResult]


@pytest.fixture
def log() -> EventLog:
    return EventLog(io.StringIO())


def events(log: EventLog) -> list[dict[str, Any]]:
    stream = log._stream
    assert isinstance(stream, io.StringIO)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_trial_is_told_from_its_start_to_its_end(log: EventLog, trial: Trial) -> None:
    log.on_trial(trial("0000", parameters={"lr": 0.1}))
    log.on_trial(trial("0000", [0.5]))
    log.on_trial(trial("0000", [0.5, 0.75, 0.7], Status.COMPLETED))
    log.on_trial(trial("0001", [], Status.FAILED, failure="NaN"))
    told = events(log)
    assert [(event["event"], event["trial_id"]) for event in told] == [
        ("trial_started", "0000"),
        *[("epoch", "0000")] * 3,
        ("trial_ended", "0000"),
        ("trial_started", "0001"),
        ("trial_ended", "0001"),
    ]
    assert [(event["epoch"], event["objective"]) for event in told[1:4]] == [(1, 0.5), (2, 0.75), (3, 0.7)]
    end = told[4]
    assert (end["status"], end["objective"], end["epoch"], end["epochs_done"]) == ("COMPLETED", 0.75, 2, 3)
    assert told[-1]["failure"] == "NaN"
    for event in told:
        assert datetime.fromisoformat(event["time"]).tzinfo is not None


def test_that_a_sweep_is_ending_is_told(log: EventLog) -> None:
    log.on_closing("asked to stop")
    assert [(event["event"], event["reason"]) for event in events(log)] == [("sweep_ending", "asked to stop")]


def test_a_resumed_trial_does_not_tell_its_epochs_again(log: EventLog, trial: Trial) -> None:
    log.on_trial(trial("0000", [0.5, 0.6]))
    log.on_trial(trial("0000", [0.5, 0.6, 0.7]))
    started, epoch = events(log)
    assert started["epochs_done"] == 2
    assert epoch["epoch"] == 3


def test_problems_are_told_without_secrets(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_TOKEN", "planted-0123456789")
    log.warning("not sent with planted-0123456789")
    log.error("no answer from http://me:secret@host/x", 1)
    assert [event["message"] for event in events(log)] == ["not sent with ***", "no answer from http://***@host/x"]


def test_a_problem_of_a_tracker_is_a_warning(log: EventLog) -> None:
    log.on_problem(TrackerProblem("W&B", "W&B: does not answer"))
    (event,) = events(log)
    assert (event["event"], event["message"]) == ("warning", "W&B: does not answer")


def test_names_of_events_and_fields_are_frozen(
    log: EventLog, trial: Trial, small_spec: Callable[..., SweepSpec], tmp_path: Path
) -> None:
    best = trial("0000", [0.5], Status.COMPLETED, {"lr": 0.1})
    log.warning("odd")
    spec = small_spec()
    log.on_start(SweepStart(spec.name, tmp_path, spec.objective, spec.search.trials, (best,)))
    log.on_trial(trial("0001", [], parameters={"lr": 0.1}))
    log.on_trial(trial("0001", [0.5], Status.PRUNED))
    log.on_close(SweepEnding("small", tmp_path, "completed", "done", (best,), best))
    log.baseline(
        Baseline(best, "vgg16", 0.45, frozenset({"vgg16"}), 378, Difference(0.05, Interval(0.01, 0.09), 0.5, 0.45))
    )
    log.error("wrong", 2)
    told = events(log)
    assert {event["event"]: list(event)[2:] for event in told} == {
        "warning": ["message"],
        "sweep_started": ["name", "run", "objective", "trials_planned", "trials_known"],
        "trial_started": ["trial_id", "parameters", "epochs", "epochs_done"],
        "epoch": ["trial_id", "epoch", "epochs", "objective", "metrics", "seconds", "notes"],
        "trial_ended": ["trial_id", "status", "objective", "epoch", "epochs_done", "seconds", "failure"],
        "sweep_ended": ["status", "message", "trials", "best"],
        "baseline": ["trial_id", "architecture", "probe", "difference", "interval", "beaten", "message"],
        "error": ["message", "exit_code"],
    }
    assert all(list(event)[:2] == ["event", "time"] for event in told)
    by_name = {event["event"]: event for event in told}
    assert by_name["sweep_ended"]["trials"] == {"COMPLETED": 1}
    assert by_name["sweep_ended"]["best"] == {
        "trial_id": "0000",
        "objective": 0.5,
        "epoch": 1,
        "parameters": {"lr": 0.1},
    }
    assert by_name["baseline"]["interval"] == [0.01, 0.09]
    assert "0000 beats the best linear probe" in by_name["baseline"]["message"]
    assert by_name["sweep_started"]["objective"] == {"metric": "val/macro_f1", "mode": "max"}


def test_a_sweep_without_a_completed_trial_has_no_best(log: EventLog, tmp_path: Path) -> None:
    log.on_close(SweepEnding("small", tmp_path, "failed", "no trial completed", (), None))
    assert events(log)[0]["best"] is None
