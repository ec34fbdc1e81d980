"""A sweep that is stopped, killed and resumed, as people see it: real processes, real signals."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import psutil
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from analysis import heartbeat
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder, open_run
from orchestrator.cli import run as cli
from trainables.result import TrialResult
from trainables.status import Status

pytestmark = [pytest.mark.soak, pytest.mark.seconds(60)]

Start = Callable[..., subprocess.Popen[str]]

# Short trials that end soon, and long ones that are caught in the middle.
LONG, SHORT = 32, 2
POINTS = [{"epochs": epochs, "lr": lr} for lr in (1e-3, 2e-3, 4e-3) for epochs in (SHORT, LONG)]


@pytest.fixture
def launched(write_sweep: Callable[..., Path], start_thaw: Start, tmp_path: Path) -> subprocess.Popen[str]:
    file = write_sweep(
        tmp_path,
        trial={"architecture": "test_efficientnet", "strategy": "full"},
        space={"epochs": {"choice": [SHORT, LONG]}, "lr": {"choice": [1e-3, 2e-3, 4e-3]}},
        search={"trials": len(POINTS), "points": POINTS},
        resources={"concurrent": 1},
        tracking={"wandb": {"mode": "offline"}},
    )
    return start_thaw("sweep", file, cwd=tmp_path)


@pytest.mark.timeout(1200)
def test_interrupted_stopped_killed_and_resumed(
    launched: subprocess.Popen[str],
    start_thaw: Start,
    ray_here: None,
    tmp_path: Path,
    cache_dir: Path,
    capsys: pytest.CaptureFixture[str],
):
    run = RunFolder(tmp_path / "runs" / "sweep")

    # Ctrl-C reaches every process of the terminal's group.
    in_the_middle(run, launched, done=1)
    driven = told(capsys, "status", run.root, "--format", "json")
    assert driven["driven"] is True
    assert cli(["status", str(run.root)]) == 0
    assert f"driven by process {launched.pid} on " in capsys.readouterr().out
    assert cli(["resume", str(run.root)]) == 2
    assert "must have one driver" in capsys.readouterr().err
    assert heartbeat.is_alive(run.root)
    workers = psutil.Process(launched.pid).children(recursive=True)
    os.killpg(launched.pid, signal.SIGINT)
    _, err = launched.communicate(timeout=120)
    assert launched.returncode == 130, err
    assert f"thaw resume {run.root}" in err
    assert "Traceback" not in err
    assert not psutil.wait_procs(workers, timeout=30)[1], "processes of Ray are left"
    finished = finished_records(run)
    assert finished
    assert unfinished(run) == {Status.INTERRUPTED}
    assert told(capsys, "status", run.root, "--format", "json")["driven"] is False
    assert cli(["status", str(run.root)]) == 0
    out = capsys.readouterr().out
    assert "not running" in out
    assert "go on with: thaw resume" in out

    # Resumed from another folder, by a relative path; stopped from another process.
    resumed = start_thaw("resume", "sweep", cwd=run.root.parent)
    in_the_middle(run, resumed, done=len(finished) + 1)
    assert cli(["stop", str(run.root)]) == 0
    _, err = resumed.communicate(timeout=120)
    assert resumed.returncode == 130, err
    assert "thaw resume " in err
    assert not run.stop_request.exists()
    assert unchanged(run, finished)
    finished = finished_records(run)
    assert unfinished(run) == {Status.INTERRUPTED}
    assert cli(["stop", str(run.root)]) == 2
    assert "must be running to be stopped" in capsys.readouterr().err

    # Killed without a chance to say anything, and the derived study lost.
    resumed = start_thaw("resume", run.root, cwd=tmp_path)
    in_the_middle(run, resumed, done=len(finished))
    children = psutil.Process(resumed.pid).children(recursive=True)
    # Between two epochs a worker is named IDLE.
    workers = [child for child in children if re.search("Trainable|IDLE", " ".join(child.cmdline()))]
    assert workers
    resumed.kill()
    resumed.communicate(timeout=60)
    # Ray's own agents take minutes to notice; what trains, and writes checkpoints, must be gone at once.
    assert not psutil.wait_procs(workers, timeout=10)[1], "workers outlive their driver"
    assert not heartbeat.is_alive(run.root)
    assert unchanged(run, finished)
    run.study_log.unlink()
    shutil.rmtree(run.tune)

    assert cli(["resume", str(run.root)]) == 0
    assert "COMPLETED" in capsys.readouterr().out
    assert unchanged(run, finished)
    trials = Ledger(run).trials()
    assert [trial.trial_id for trial in trials] == [f"{number:04d}" for number in range(len(POINTS))]
    assert [trial.parameters for trial in trials] == POINTS
    assert {trial.status for trial in trials} == {Status.COMPLETED}
    for trial in trials:
        assert [report.epoch for report in trial.reports] == list(range(1, trial.config.epochs + 1))
    journal = JournalFileBackend(str(open_run(run.root).study_log))
    study = optuna.load_study(study_name="sweep", storage=JournalStorage(journal))
    assert sorted(asked.user_attrs["trial_id"] for asked in study.trials) == [trial.trial_id for trial in trials]
    assert {asked.state.name for asked in study.trials} == {"COMPLETE"}
    assert told(capsys, "status", run.root, "--format", "json")["trials"] == {"COMPLETED": len(POINTS)}


def in_the_middle(run: RunFolder, process: subprocess.Popen[str], done: int) -> None:
    """Wait until `done` trials have ended and one more has begun to train since `process` drives the run."""
    ledger = Ledger(run)
    deadline = time.monotonic() + 240
    before: dict[str, int] = {}
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        driver = heartbeat.read(run.root)
        if run.run_json.is_file() and driver is not None and driver.pid == process.pid:
            trials = ledger.trials()
            before = before or {trial.trial_id: len(trial.reports) for trial in trials}
            ended = sum(not trial.status.unfinished for trial in trials)
            if ended >= done and any(progressed(trial, before) for trial in trials):
                return
        time.sleep(0.05)
    pytest.fail(f"no trial in the middle: {[(t.trial_id, t.status, len(t.reports)) for t in ledger.trials()]}")


def progressed(trial: TrialResult, before: dict[str, int]) -> bool:
    return trial.status is Status.RUNNING and len(trial.reports) >= before.get(trial.trial_id, 0) + 2


def finished_records(run: RunFolder) -> dict[str, bytes]:
    ended = [trial.trial_id for trial in Ledger(run).trials() if not trial.status.unfinished]
    return {trial_id: Ledger(run).path(trial_id).read_bytes() for trial_id in ended}


def unchanged(run: RunFolder, records: dict[str, bytes]) -> bool:
    return all(Ledger(run).path(trial_id).read_bytes() == record for trial_id, record in records.items())


def unfinished(run: RunFolder) -> set[Status]:
    return {trial.status for trial in Ledger(run).trials() if trial.status is not Status.COMPLETED}


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, object]:
    """JSON that a command prints."""
    capsys.readouterr()
    assert cli([str(argument) for argument in arguments]) == 0
    document: dict[str, object] = json.loads(capsys.readouterr().out)
    return document
