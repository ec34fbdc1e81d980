"""Drivers and workers that die at moments nobody chose: nothing is lost, nothing is done twice."""

import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import torch
from driver_faults import KINDS, Hunt, kill_sweep
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from analysis import heartbeat
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder, open_run
from orchestrator.search.study import STATES
from trainables.loop.train import train
from trainables.result import TrialResult
from trainables.status import Status
from trainables.storage.folders import TrialFolders

pytestmark = [pytest.mark.soak, pytest.mark.seconds(160)]

TRIALS, EPOCHS = 12, 24

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def launched(write_sweep: Callable[..., Path], start_thaw: Start, tmp_path: Path) -> subprocess.Popen[str]:
    file = write_sweep(
        tmp_path,
        trial={"epochs": EPOCHS},
        space={
            "architecture": {"choice": ["test_efficientnet", "test_resnet"]},
            "strategy": {"choice": ["progressive", "full"]},
            "unfreeze_epoch": {"int": [1, 3], "when": {"strategy": "progressive"}},
            "lr": {"log": [1e-3, 4e-3]},
        },
        search={"trials": TRIALS, "seed": 1},
        stopping={"asha": {"grace": 4, "reduction": 3}},
        tracking={"wandb": {"mode": "offline"}},
    )
    return start_thaw("sweep", file, "--quiet", cwd=tmp_path)


def test_a_driver_that_dies(launched: subprocess.Popen[str], start_thaw: Start, tmp_path: Path, cache_dir: Path):
    rng = random.Random(0)
    run = RunFolder(tmp_path / "runs" / "sweep")
    process, kills = launched, 0
    finished: dict[str, bytes] = {}
    for end in (signal.SIGKILL, signal.SIGTERM):
        wait_for_progress(run, process)
        time.sleep(rng.uniform(0, 6))
        if process.poll() is not None:
            break
        kills += 1
        process.send_signal(end)
        process.communicate(timeout=120)
        assert not heartbeat.is_alive(run.root)
        assert all(Ledger(run).path(trial_id).read_bytes() == record for trial_id, record in finished.items())
        trials = Ledger(run).trials()
        finished = {t.trial_id: Ledger(run).path(t.trial_id).read_bytes() for t in trials if not t.status.unfinished}
        process = start_thaw("resume", run.root, "--quiet", cwd=tmp_path)
    _, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    assert kills

    assert all(Ledger(run).path(trial_id).read_bytes() == record for trial_id, record in finished.items())
    trials = Ledger(run).trials()
    assert [trial.trial_id for trial in trials] == [f"{number:04d}" for number in range(TRIALS)]
    assert {trial.status for trial in trials} <= {Status.COMPLETED, Status.PRUNED}
    for trial in trials:
        assert [report.epoch for report in trial.reports] == list(range(1, len(trial.reports) + 1))
        assert trial.status is Status.PRUNED or len(trial.reports) == EPOCHS
    study = optuna.load_study(
        study_name="sweep", storage=JournalStorage(JournalFileBackend(str(open_run(run.root).study_log)))
    )
    states = {asked.user_attrs["trial_id"]: asked.state for asked in study.trials}
    assert len(study.trials) == TRIALS
    assert states == {trial.trial_id: STATES[trial.status] for trial in trials}

    for trial in resumed_trials(run)[:2]:
        assert [report.metrics for report in trial.reports] == alone(trial, tmp_path / trial.trial_id, cache_dir)


def test_five_kills_at_random_moments(start_thaw: Start, tmp_path: Path, cache_dir: Path):
    """A driver, a worker, each of Ray's servers, and all at once; `make faults` has a hundred."""
    rng = random.Random(0)
    kinds = rng.sample(KINDS, len(KINDS))
    hunt = Hunt(start_thaw, *kill_sweep(tmp_path, tmp_path), rng)
    hunt.run(kinds)
    assert sum(hunt.kills.values()) == len(KINDS), hunt.kills
    runs = [RunFolder(root) for root in hunt.roots]
    resumed = [trial for run in runs for trial in resumed_trials(run)]
    for number, trial in enumerate(resumed[:2]):
        assert [report.metrics for report in trial.reports] == alone(trial, tmp_path / f"alone{number}", cache_dir)


def resumed_trials(run: RunFolder) -> list[TrialResult]:
    return [trial for trial in Ledger(run).trials() if "resumed after epoch" in run.log(trial.trial_id).read_text()]


def wait_for_progress(run: RunFolder, process: subprocess.Popen[str]) -> None:
    """Wait until `process` drives the run and a trial has reported, or until it has ended by itself."""
    deadline = time.monotonic() + 240
    before: dict[str, bytes] = {}
    while time.monotonic() < deadline and process.poll() is None:
        driver = heartbeat.read(run.root)
        if run.run_json.is_file() and driver is not None and driver.pid == process.pid:
            records = {trial.trial_id: Ledger(run).path(trial.trial_id).read_bytes() for trial in Ledger(run).trials()}
            before = before or records
            reported = any(trial.reports for trial in Ledger(run).trials())
            if reported and records != before:
                return
        time.sleep(0.05)
    assert process.poll() is not None, "no trial has begun"


def alone(trial: TrialResult, folder: Path, cache: Path) -> list[dict[str, float]]:
    """The metrics of as many epochs of the same trial in this process, one thread as in a sweep, undisturbed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        reports = train(trial.config, TrialFolders(folder, folder / "predictions.parquet", cache))
        return [report.metrics for report, _ in zip(reports, trial.reports, strict=False)]
    finally:
        torch.set_num_threads(threads)
