"""The group `thaw data`."""

import pytest

from orchestrator.cli import run


def test_help_lists_the_commands_of_the_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "--help"]) == 0
    printed = capsys.readouterr().out
    assert "Look at the data before anything is trained." in printed
    assert "preview" in printed
