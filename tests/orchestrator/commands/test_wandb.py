"""`thaw wandb ...`, as people type it."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_wandb import FakeWandb

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.cli import run
from trainables.result import TrialResult
from trainables.status import Status


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeWandb]:
    """A service, and the key to it."""
    for name in [name for name in os.environ if name.startswith("WANDB_") and name != "WANDB_SERVICE"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "home"))
    with FakeWandb("garbage") as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        yield fake


@pytest.fixture
def searched(empty_run: RunFolder, small: Callable[..., Path], trial: Callable[..., TrialResult]) -> str:
    Ledger(empty_run).write_trial(trial("0000", [0.75], Status.COMPLETED))
    small("sweep.yaml")
    return str(empty_run.root)


def test_pages_are_published_and_replaced(fake: FakeWandb, searched: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["wandb", "publish", searched, "--format", "json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    pages = json.loads(printed.out)
    assert (pages["entity"], pages["project"], pages["group"]) == ("someone", "thaw", "small")
    assert run(["wandb", "publish", searched]) == 0
    assert capsys.readouterr().out == f"workspace: {pages['workspace']}\nreport:    {pages['report']}\n"
    assert len(fake.views) == 2


def test_another_project_and_entity_can_be_named(
    fake: FakeWandb, searched: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.projects.append("other")
    arguments = ["--entity", "team", "--project", "other", "--format", "json"]
    assert run(["wandb", "publish", searched, *arguments]) == 0
    assert "/team/other" in json.loads(capsys.readouterr().out)["workspace"]


def test_what_cannot_be_published_is_refused(
    fake: FakeWandb,
    searched: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run(["wandb", "publish", f"{searched}/none"]) == 2
    assert "a run must be an existing folder" in capsys.readouterr().err
    monkeypatch.delenv("WANDB_API_KEY")
    assert run(["wandb", "publish", searched]) == 2
    assert "W&B: needs a key, found none" in capsys.readouterr().err
    assert run(["wandb", "sync", searched, "--check", "--replace"]) == 2
    assert "--check: must stand without --replace" in capsys.readouterr().err
    assert run(["wandb", "sync", searched, "--project", "a/b"]) == 2
    assert "--entity, --project: project: must be at most 128 characters" in capsys.readouterr().err
    assert fake.requests == []


def test_a_service_that_fails_is_one_message_and_exit_code_1(
    fake: FakeWandb, searched: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.fail()
    assert run(["wandb", "publish", searched]) == 1
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert printed.err.startswith(f"error: W&B: {fake.url} failed")
