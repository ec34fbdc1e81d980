"""The report of a sweep without one; whole sweeps are followed in `tests/integration/test_follow.py`."""

import json

import pytest
import typer

from orchestrator.commands.follow import LogFormat, SweepReporter, ended, sweep_reporter
from search_spaces.errors import InvalidInput, SweepFailed


def test_silence_and_events_exclude_each_other() -> None:
    with (
        pytest.raises(InvalidInput, match="--quiet must not be given with --log-format json"),
        sweep_reporter(quiet=True, log_format=LogFormat.JSON),
    ):
        pytest.fail("nothing is done")


def test_a_person_reads_what_goes_on_unless_told_to_be_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with sweep_reporter(quiet=False, log_format=LogFormat.TEXT) as loud:
        loud.say("3 classes")
        loud.warn("batch [32] is large")
    assert capsys.readouterr().err == "3 classes\nwarning: batch [32] is large\n"
    quiet = SweepReporter(quiet=True)
    quiet.say("3 classes")
    quiet.warn("a tracker has failed")
    assert capsys.readouterr() == ("", "warning: a tracker has failed\n")


def test_a_machine_reads_one_event_a_line(capsys: pytest.CaptureFixture[str]) -> None:
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


def test_an_error_is_a_person_s_to_read_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InvalidInput), sweep_reporter(quiet=False, log_format=LogFormat.TEXT):
        raise InvalidInput("no photos")
    assert capsys.readouterr().err == "", "the command line shows it"


def test_a_budget_that_ended_a_run_is_named_with_how_to_go_on() -> None:
    text = ended("budget.wall_clock: 1h of 1h are used", "runs/a")  # type: ignore[arg-type]
    assert text == (
        "ended by budget.wall_clock: 1h of 1h are used; go on with: thaw extend runs/a --set budget.wall_clock=..."
    )
