"""The report of a sweep without one; whole sweeps are followed in `tests/integration/test_follow.py`."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import typer

from analysis.leaderboard import Leaderboard
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.commands.follow import LogFormat, SweepReporter, _show, ended, sweep_reporter
from orchestrator.spec.sweep_spec import SweepSpec
from search_spaces.errors import InvalidInput, SweepFailed
from trainables.result import TrialResult
from trainables.status import Status


def test_silence_and_events_exclude_each_other() -> None:
    with (
        pytest.raises(InvalidInput, match="--quiet must not be given with --log-format json"),
        sweep_reporter(quiet=True, log_format=LogFormat.JSON),
    ):
        pytest.fail("nothing is done")


def test_progress_is_printed_unless_the_sweep_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with sweep_reporter(quiet=False, log_format=LogFormat.TEXT) as loud:
        loud.say("3 classes")
        loud.warn("batch [32] is large")
    assert capsys.readouterr().err == "3 classes\nwarning: batch [32] is large\n"
    quiet = SweepReporter(quiet=True)
    quiet.say("3 classes")
    quiet.warn("a tracker has failed")
    assert capsys.readouterr() == ("", "warning: a tracker has failed\n")


def test_each_message_is_one_event_per_line_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    with sweep_reporter(quiet=False, log_format=LogFormat.JSON) as log:
        log.say("3 classes")
        log.warn("a tracker has failed")
    told = capsys.readouterr()
    (event,) = map(json.loads, told.err.splitlines())
    assert (told.out, event["event"], event["message"]) == ("", "warning", "a tracker has failed")


@pytest.mark.parametrize(("error", "code"), [(InvalidInput("no photos"), 2), (SweepFailed("no trial completed"), 1)])
def test_an_error_is_an_event_and_keeps_its_exit_code(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as caught, sweep_reporter(quiet=False, log_format=LogFormat.JSON):
        raise error
    assert caught.value.exit_code == code
    (event,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert (event["event"], event["message"], event["exit_code"]) == ("error", str(error), code)


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_a_sweep_that_is_ended_at_once_says_how_to_go_on(
    small_spec: Callable[..., SweepSpec], tmp_path: Path, capsys: pytest.CaptureFixture[str], log_format: LogFormat
) -> None:
    spec = small_spec(storage={"root": str(tmp_path)})

    def cut(observers: object) -> NoReturn:
        raise KeyboardInterrupt

    def said() -> str:
        with pytest.raises(typer.Exit, match="130"), sweep_reporter(quiet=False, log_format=log_format) as tell:
            tell.follow(spec, spec.run_root, cut)
        return capsys.readouterr().err

    assert "stopped before the first trial; nothing was written" in said()
    spec.run_root.mkdir(parents=True)
    RunFolder(spec.run_root).run_json.touch()
    resume = f"stopped at once; epochs in progress are lost. Go on with: thaw resume {spec.run_root}"
    assert resume in said().replace("\n", "" if log_format is LogFormat.JSON else " ")


def test_an_error_is_left_to_the_command_line_to_show(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InvalidInput), sweep_reporter(quiet=False, log_format=LogFormat.TEXT):
        raise InvalidInput("no photos")
    assert capsys.readouterr().err == ""


def test_a_budget_that_ended_a_run_is_named_with_the_command_that_continues_it() -> None:
    text = ended("budget.wall_clock: 1h of 1h are used", "runs/a")  # type: ignore[arg-type]
    assert text == (
        "ended by budget.wall_clock: 1h of 1h are used; go on with: thaw extend runs/a --set budget.wall_clock=..."
    )


@pytest.mark.parametrize(
    ("folds", "steps"),
    [
        (None, ["retrain and test the best:", "export it to ONNX:"]),
        (5, ["first train it on all:", "then export it to"]),
    ],
)
def test_the_next_steps_are_in_their_order(
    folds: int | None,
    steps: list[str],
    empty_run: RunFolder,
    trial: Callable[..., TrialResult],
    digits: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings: dict[str, Any] = {"strategy": "head", "data": {"root": digits, "folds": folds}}
    Ledger(empty_run).write_trial(trial("0000", [0.5], Status.COMPLETED, **settings))
    board = Leaderboard.from_run(empty_run)
    outcome: Any = SimpleNamespace(run=empty_run, leaderboard=board, baseline=None, ended=None, interrupted=False)
    _show(outcome, hints=True)
    told = capsys.readouterr().err
    first, then = (told.index(step) for step in steps)
    assert first < told.index("thaw retrain") < then < told.index("thaw export")
