"""Exit codes and messages of the command line itself; each group of commands has its own file."""

import errno
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.cli import run
from orchestrator.spec import loading
from search_spaces.errors import InvalidInput, StorageFailed, SweepFailed


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, small: Callable[..., Path]) -> Callable[[BaseException], int]:
    """Runs a command whose work raises an error; returns the exit code."""

    def code(error: BaseException) -> int:
        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr(loading, "load", fail)
        return run(["space", str(small())])

    return code


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which reports are written."""
    folder = tmp_path / "reports"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInput("bad [b]value[/b]"), 2),
        (StorageFailed("bad [b]value[/b]"), 1),
        (SweepFailed("bad [b]value[/b]"), 1),
    ],
)
def test_an_error_of_ours_is_one_message_and_its_exit_code(
    error: Exception, code: int, failing: Callable[[BaseException], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(error) == code
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "error: bad [b]value[/b]\n")


@pytest.mark.parametrize("name", ["torch", "ray.tune", "optuna"])
def test_a_package_of_the_extra_is_named_with_the_remedy(
    name: str, failing: Callable[[BaseException], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(ModuleNotFoundError(f"No module named '{name}'", name=name)) == 1
    assert capsys.readouterr().err == f"error: this needs {name}: install thaw[train]\n"


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'sooner'", name="sooner"),
        ZeroDivisionError("by [red]zero[/red]"),
        RecursionError("too deep"),
        MemoryError(),
        OSError(errno.ENAMETOOLONG, "File name too long", "a" * 300),
        UnicodeEncodeError("ascii", "\u00fc", 0, 1, "no"),
        TypeError("first line\nsecond line"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_other_error_is_one_message_with_the_path_of_its_report(
    error: Exception, failing: Callable[[BaseException], int], reports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(error) == 1
    told = capsys.readouterr()
    (report,) = reports.iterdir()
    assert told.out == ""
    assert told.err.startswith(f"error: unexpected {type(error).__name__}")
    assert told.err.endswith(f"the report is in {report}: please send it with the sweep file\n")
    assert "second line" not in told.err
    text = report.read_text()
    assert "Traceback (most recent call last)" in text
    assert "command: thaw space" in text


def test_with_a_log_of_json_the_message_is_one_event(
    monkeypatch: pytest.MonkeyPatch, small: Callable[..., Path], reports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise TypeError("odd")

    monkeypatch.setattr(loading, "load", fail)
    for option in (["--log-format", "json"], ["--log-format=json"]):
        assert run(["sweep", str(small()), *option]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        event = json.loads(line)
        assert (event["event"], event["exit_code"]) == ("error", 1)
        assert "TypeError: odd; the report is in" in event["message"]


def test_ctrl_c_is_one_line_wherever_it_comes(
    failing: Callable[[BaseException], int], reports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(KeyboardInterrupt()) == 130
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "interrupted\n")
    assert list(reports.iterdir()) == []


_WITHOUT_TRACEBACK = """
import os, signal, sys, threading, time
from orchestrator import cli
from orchestrator.commands import app

def work(*_, **__):
    {work}

app.make_app = lambda command: work
sys.argv[1:] = ["status", "RUN"]
cli.main()
"""


@pytest.mark.parametrize(
    ("work", "code", "told"),
    [
        ("os.kill(os.getpid(), signal.SIGINT); time.sleep(9)", 130, "interrupted\n"),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", 130, "interrupted\n"),
        ("import threading as t; x = t.Thread(target=lambda: 1 / 0); x.start(); x.join()", 0, ""),
        ("type('Odd', (), {'__del__': lambda self: 1 / 0})()", 0, ""),
    ],
    ids=["Ctrl-C", "SIGTERM", "an error in a thread", "an error in a destructor"],
)
def test_the_terminal_shows_no_traceback(work: str, code: int, told: str) -> None:
    command = [sys.executable, "-c", _WITHOUT_TRACEBACK.format(work=work)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", told)


def test_a_reader_that_leaves_ends_the_command_without_a_word() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [str(Path(sys.executable).with_name("thaw")), "schema"]
    ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_a_terminal_without_the_characters_gets_their_escapes(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("thaw")), "schema"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_run_that_is_no_address_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["leaderboard", "gs://bucket/run"]) == 2
    assert "must be a folder or s3://bucket/prefix, got 'gs://bucket/run'" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["--help"], 0), (["sweep", "--help"], 0), (["swep"], 2)])
def test_the_command_line_s_own_exit_codes(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == code
    told = capsys.readouterr()
    assert "Usage: thaw" in told.out + told.err
