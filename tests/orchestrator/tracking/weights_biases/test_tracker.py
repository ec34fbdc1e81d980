import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import wandb

from analysis.run_folder import RunFolder
from orchestrator.spec.sections import Wandb
from orchestrator.tracking.dispatcher import Dispatcher
from orchestrator.tracking.sweep_identity import SweepIdentity
from orchestrator.tracking.tracker import TrialContext
from orchestrator.tracking.weights_biases.tracker import WandbTracker
from trainables.config import TrialConfig
from trainables.result import EpochReport, TrialResult
from trainables.status import Status

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


def context(config: TrialConfig, folder: Path) -> TrialContext:
    return TrialContext(SweepIdentity("digits"), RunFolder(folder), "0007", "trial", config)


def test_an_offline_run_lies_in_the_run_s_folder_and_holds_what_was_logged(config: TrialConfig, tmp_path: Path) -> None:
    run = WandbTracker(Wandb(mode="offline")).start(context(config, tmp_path / "run"))
    run.log(REPORT)
    run.finish(Status.COMPLETED, {"best/val/macro_f1": 0.5})
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
    assert written.index(b"time/epoch_s") < written.index(b"COMPLETED"), "a row waits for nothing"
    assert os.environ.get("WANDB_MODE") is None


def test_a_run_of_the_user_s_own_is_left_alone(config: TrialConfig, tmp_path: Path) -> None:
    with wandb.init(mode="offline", dir=tmp_path, settings=wandb.Settings(silent=True, console="off")) as own:
        WandbTracker(Wandb(mode="offline")).start(context(config, tmp_path)).finish(Status.COMPLETED, {})
        assert wandb.run is own
        own.log({"a": 1})


@pytest.mark.parametrize(
    ("project", "in_the_way", "error"), [("a/b:c#d", False, "UsageError"), ("thaw", True, "FileExistsError")]
)
def test_what_wandb_refuses_costs_no_trial(
    config: TrialConfig,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    project: str,
    in_the_way: bool,
    error: str,
) -> None:
    if in_the_way:
        (tmp_path / "run").write_text("a file")
    tracker = WandbTracker(Wandb(mode="offline").model_copy(update={"project": project}))
    with (
        caplog.at_level(logging.WARNING),
        Dispatcher([tracker], SweepIdentity("digits"), RunFolder(tmp_path / "run")) as dispatcher,
    ):
        dispatcher.start(context(config, tmp_path / "run"))
        dispatcher.log("0007", REPORT)
        dispatcher.finish("0007", Status.COMPLETED, {})
    (message,) = [record.message for record in caplog.records if record.name == "orchestrator.tracking.dispatcher"]
    assert message.startswith(f"W&B: start failed, {error}: ")
    assert message.endswith("the rest goes on without it")
