"""Exit codes and messages of the command line itself; each group of commands has its own file."""

import importlib.metadata
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


def test_any_other_error_is_a_fault_and_shown_whole(failing: Callable[[BaseException], int]) -> None:
    with pytest.raises(ModuleNotFoundError, match="sooner"):
        failing(ModuleNotFoundError("No module named 'sooner'", name="sooner"))
    with pytest.raises(ZeroDivisionError):
        failing(ZeroDivisionError())


def test_a_run_that_is_no_address_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["leaderboard", "gs://bucket/run"]) == 2
    assert "must be a folder or s3://bucket/prefix, got 'gs://bucket/run'" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["--help"], 0), (["sweep", "--help"], 0), (["swep"], 2)])
def test_the_command_line_s_own_exit_codes(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == code
    told = capsys.readouterr()
    assert "Usage: thaw" in told.out + told.err


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"thaw {importlib.metadata.version('thaw')}\n"
