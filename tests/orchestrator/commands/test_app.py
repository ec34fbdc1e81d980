"""The app: every command, and the version."""

import importlib.metadata

import pytest

from orchestrator.cli import run


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"thaw {importlib.metadata.version('thaw')}\n"
