"""The app: every command, and the version."""

import importlib.metadata

import pytest
import typer.main

from orchestrator.cli import run
from orchestrator.commands.app import COMMANDS, make_app


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"thaw {importlib.metadata.version('thaw')}\n"


@pytest.mark.parametrize("module", dict.fromkeys(COMMANDS.values()))
def test_a_command_is_found_in_its_module_alone(module: str) -> None:
    names = [name for name, home in COMMANDS.items() if home == module]
    for name in names:
        group = typer.main.get_command(make_app(name))
        assert [*getattr(group, "commands", {})] == names


def test_without_a_known_command_all_are_there() -> None:
    for unknown in (None, "leaderbord", "--help"):  # groups come after commands
        assert {*getattr(typer.main.get_command(make_app(unknown)), "commands", {})} == {*COMMANDS}
