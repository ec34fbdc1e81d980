"""Reports of unknown errors: what they hold, what they hide, and where they lie."""

import stat
import tempfile
from pathlib import Path

import pytest

from orchestrator.commands.fault_report import FaultReport, without_secrets


def report(arguments: list[str]) -> FaultReport:
    try:
        raise TypeError("odd https://me:secret@host/x")
    except TypeError as error:
        return FaultReport(error, arguments)


def test_a_report_is_private_and_names_versions_and_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    message = report(["space", "my file.yaml"]).write()
    (file,) = tmp_path.iterdir()
    assert str(file) in message
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    assert "command: thaw space 'my file.yaml'" in text
    assert "pydantic 2." in text
    assert "TypeError: odd https://***@host/x" in text
    assert "secret" not in text + message


def test_without_a_place_for_it_the_message_holds_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert "Traceback (most recent call last)" in report([]).write()


@pytest.mark.parametrize(
    "text",
    [
        "http://user:hidden-value@host",
        "https://hidden-value@host",
        "WANDB_API_KEY=hidden-value",
        "api_key: hidden-value",
        "tracking.token=hidden-value",
        "it was hidden-value",
    ],
)
def test_secrets_are_hidden(text: str) -> None:
    assert "hidden-value" not in without_secrets(text, {"MY_TOKEN": "hidden-value"})


def test_other_text_stays() -> None:
    text = "keyword=1 s3://bucket/prefix key 'name' is given twice"
    assert without_secrets(text, {"HOME": "/home/someone"}) == text
