import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wandb

from orchestrator.spec.sections import Wandb
from orchestrator.tracking import wandb_tracker
from orchestrator.tracking.wandb_tracker import WandbRun, resolve_mode
from trainables.config import TrialConfig
from trainables.result import EpochReport, Status, TrialResult

REPORT = EpochReport(epoch=1, metrics={"val/macro_f1": 0.5, "train/loss": 1.5}, seconds=2.0, checkpoint="best")


@pytest.fixture
def config(trial: Callable[..., TrialResult]) -> TrialConfig:
    return trial("0000", architecture="tf_mobilenetv3_small_100.in1k").config


@pytest.fixture(autouse=True)
def _nobody_is_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def open_run(config: TrialConfig, folder: Path, mode: Any = "offline", **settings: Any) -> WandbRun:
    wandb = Wandb(mode=mode, **settings)
    return WandbRun(wandb, sweep="digits", name="0007", job_type="trial", config=config, folder=folder)


def test_an_offline_run_lies_in_the_run_s_folder_and_holds_what_was_logged(
    config: TrialConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = open_run(config, tmp_path / "run")
    run.log(REPORT)
    run.finish(Status.COMPLETED, {"best/val/macro_f1": 0.5})
    assert not [record for record in caplog.records if record.name == wandb_tracker.__name__]
    (file,) = (tmp_path / "run" / "wandb").glob("offline-run-*-digits-0007/run-digits-0007.wandb")
    # The client's own process may write the file a moment after `finish` has returned.
    deadline = time.monotonic() + 10
    while b"COMPLETED" not in (written := file.read_bytes()) and time.monotonic() < deadline:
        time.sleep(0.05)
    for text in (
        b"val/macro_f1",
        b"time/epoch_s",
        b"digits",
        b"tf_mobilenetv3_small_100",
        b"COMPLETED",
        b"balance-none",
    ):
        assert text in written, text
    assert os.environ.get("WANDB_MODE") is None


def test_one_process_logs_one_trial_after_another(config: TrialConfig, tmp_path: Path) -> None:
    for _ in range(2):
        open_run(config, tmp_path / "run").finish(Status.PRUNED, {})
    abandoned = open_run(config, tmp_path / "run")
    open_run(config, tmp_path / "run").finish(Status.COMPLETED, {})
    abandoned.log(REPORT)
    abandoned.finish(Status.FAILED, {})


def test_a_disabled_run_writes_nothing(config: TrialConfig, tmp_path: Path) -> None:
    run = open_run(config, tmp_path / "run", mode="disabled")
    run.log(REPORT)
    run.finish(Status.COMPLETED, {})
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written_costs_no_trial(
    config: TrialConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        run = open_run(config, tmp_path / "file" / "run")
        run.log(REPORT)
        run.finish(Status.COMPLETED, {})
    (message,) = caplog.messages
    assert message.startswith("W&B: NotADirectoryError: ")
    assert message.endswith("the trial goes on without it")


def test_a_setting_that_wandb_refuses_costs_no_trial(
    config: TrialConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        run = open_run(config, tmp_path, project="a/b:c#d")
        run.log(REPORT)
        run.finish(Status.COMPLETED, {})
    assert any(message.endswith("the trial goes on without it") for message in caplog.messages)


def test_a_run_that_breaks_in_the_middle_costs_no_trial(
    config: TrialConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = open_run(config, tmp_path)
    wandb.finish()
    with caplog.at_level(logging.WARNING):
        run.log(REPORT)
        run.finish(Status.COMPLETED, {})
    assert any(message.startswith("W&B: ") for message in caplog.messages)


@pytest.mark.parametrize("mode", ["online", "offline", "disabled"])
def test_a_mode_that_is_set_is_kept(mode: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled" if mode == "online" else "online")
    assert resolve_mode(Wandb(mode=mode)) == mode


@pytest.mark.parametrize(
    ("environment", "mode"),
    [
        ({}, "offline"),
        ({"WANDB_API_KEY": "x" * 40}, "online"),
        ({"WANDB_MODE": "offline", "WANDB_API_KEY": "x" * 40}, "offline"),
        ({"WANDB_MODE": "disabled"}, "disabled"),
        ({"WANDB_MODE": "online"}, "online"),
        ({"WANDB_MODE": "whatever"}, "offline"),
    ],
)
def test_auto_follows_the_environment_then_the_key(
    environment: dict[str, str], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert resolve_mode(Wandb()) == mode


def test_a_key_of_wandb_login_counts(tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai\n  login user\n  password {'y' * 40}\n")
    (tmp_path / "netrc").chmod(0o600)
    assert resolve_mode(Wandb()) == "online"
