"""Refusals; what needs trained models is in `tests/integration/test_chain.py`."""

from pathlib import Path

import pytest

from orchestrator.cli import run


@pytest.mark.parametrize("command", ["leaderboard", "evaluate", "retrain", "export"])
def test_a_folder_that_is_no_run_is_refused(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, str(tmp_path / "none")]) == 2
    told = capsys.readouterr()
    assert (told.out, "a run must be an existing folder" in told.err) == ("", True)


def test_a_message_shows_a_path_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["leaderboard", "wandb:x:smile:"]) == 2
    assert "wandb:x:smile:: must be wandb:ENTITY/PROJECT/GROUP" in " ".join(capsys.readouterr().err.split())
