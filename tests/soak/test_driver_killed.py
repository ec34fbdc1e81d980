"""A driver that is killed at seeded moments, and hundreds of trials: the sweep is what it would have been."""

import contextlib
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder, open_run
from orchestrator.driver.sweep import run_sweep
from orchestrator.search.study import STATES
from orchestrator.spec.loading import load
from trainables.result import TrialResult

pytestmark = [pytest.mark.soak, pytest.mark.seconds(230)]

TRIALS = 12

# The driver of a sweep or a resume that ends itself, as a SIGKILL would, right after a record of the ledger is written:
# between that and the next turn of Tune's loop. `ends` waits for the record of a trial that has ended.
KILLED = """
import os, signal, sys
from analysis.ledger import Ledger
from orchestrator.cli import run

writes, ends, left = Ledger.write_trial, sys.argv[1] == "ends", int(sys.argv[2])

def write_trial(self, result):
    global left
    writes(self, result)
    left -= not ends or not result.status.unfinished
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

Ledger.write_trial = write_trial
sys.exit(run(sys.argv[3:]))
"""


@pytest.fixture(scope="module")
def sweep_file(write_sweep: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One trial after another, so that what is proposed and what is stopped depends on nothing but the results."""
    return write_sweep(
        tmp_path_factory.mktemp("killed"),
        trial={"epochs": 4},
        space={
            "architecture": {"choice": ["test_efficientnet", "test_resnet"]},
            "strategy": {"choice": ["head", "full"]},
            "lr": {"log": [1e-3, 4e-3]},
        },
        search={"trials": TRIALS, "seed": 5},
        stopping={"asha": {"grace": 1, "reduction": 3}},
        resources={"concurrent": 1},
    )


def test_three_kills_change_nothing(sweep_file: Path, thaw: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    folder = sweep_file.parent
    whole = thaw("sweep", sweep_file, "--name", "whole", "--quiet", cwd=folder, timeout=600)
    assert whole.returncode == 0, whole.stderr
    expected = Ledger(RunFolder(folder / "runs" / "whole")).trials()
    assert len({trial.status for trial in expected}) == 2, "some are stopped early, some are not"

    rng = random.Random(0)
    run = RunFolder(folder / "runs" / "killed")
    begin = ["sweep", str(sweep_file), "--name", "killed", "--quiet"]
    resume = ["resume", str(run.root), "--quiet"]
    moments = [("any", rng.randint(2, 9)), ("ends", 2), ("any", rng.randint(2, 9))]
    for number, (kind, writes) in enumerate(moments):
        command = [sys.executable, "-c", KILLED, kind, str(writes), *(resume if number else begin)]
        died = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
        assert died.returncode == -signal.SIGKILL, died.stderr
        if number == 1:
            open_run(run.root).study_log.unlink()
    ended = thaw(*resume, cwd=folder, timeout=600)
    assert ended.returncode == 0, ended.stderr

    assert [essence(trial) for trial in Ledger(run).trials()] == [essence(trial) for trial in expected]
    for name in ("killed", "whole"):
        study = open_study(RunFolder(folder / "runs" / name), name)
        trials = Ledger(RunFolder(folder / "runs" / name)).trials()
        assert [asked.state for asked in study.trials] == [STATES[trial.status] for trial in trials]
        for asked, trial in zip(study.trials, trials, strict=True):
            scores = {report.epoch: report.metrics["val/macro_f1"] for report in trial.reports}
            assert asked.intermediate_values == scores
            assert asked.user_attrs["trial_id"] == trial.trial_id


def essence(trial: TrialResult) -> dict[str, Any]:
    """Records that must be the same whatever happened to the driver: all but times."""
    reports = [(report.epoch, report.metrics, report.ended_by) for report in trial.reports]
    return {"id": trial.trial_id, "config": trial.config, "status": trial.status, "reports": reports}


def open_study(run: RunFolder, name: str) -> optuna.Study:
    return optuna.load_study(
        study_name=name, storage=JournalStorage(JournalFileBackend(str(open_run(run.root).study_log)))
    )


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random", "qmc", "grid", "nsga2"])
def test_every_sampler_leaves_the_truth_in_the_journal(
    sampler: str, ray_here: None, write_sweep: Callable[..., Path], tmp_path: Path
) -> None:
    lr = {"choice": [1e-3, 2e-3, 3e-3, 4e-3]} if sampler == "grid" else {"log": [1e-3, 4e-3]}
    file = write_sweep(
        tmp_path,
        trial={"architecture": "test_efficientnet", "epochs": 3},
        space={"strategy": {"choice": ["head", "full"]}, "lr": lr},
        search={"trials": 8, "sampler": sampler, "seed": 2},
        stopping={"asha": {"grace": 1, "reduction": 2}},
    )
    run = run_sweep(load(file)).run
    trials = {trial.trial_id: trial for trial in Ledger(run).trials()}
    study = open_study(run, "sweep")
    assert len(study.trials) == len(trials) == 8
    for asked in study.trials:
        trial = trials[asked.user_attrs["trial_id"]]
        assert asked.state is STATES[trial.status]
        assert asked.intermediate_values == {r.epoch: r.metrics["val/macro_f1"] for r in trial.reports}
        assert asked.state is not optuna.trial.TrialState.COMPLETE or asked.value == trial.objective
        assert asked.params == trial.parameters


def test_hundreds_of_trials_leave_the_driver_as_it_was(
    write_sweep: Callable[..., Path], start_thaw: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    from trainables.data.digits import write_digits

    write_digits(tmp_path / "few", dict.fromkeys(range(10), 0.06))
    file = write_sweep(
        tmp_path,
        data={"root": str(tmp_path / "few"), "image_size": 32, "resize_mode": "squash"},
        trial={"architecture": "test_efficientnet", "strategy": "full", "epochs": 1},
        search={"trials": 400, "sampler": "random"},
    )
    driver = start_thaw("sweep", file, "--quiet", cwd=tmp_path)
    process, run = psutil.Process(driver.pid), RunFolder(tmp_path / "runs" / "sweep")
    memory: dict[int, int] = {}
    while driver.poll() is None:
        count = len(list(run.trials.glob("0*.json")))
        with contextlib.suppress(psutil.NoSuchProcess):
            memory[count] = process.memory_info().rss
        psutil.wait_procs([process], timeout=0.5)
    _, err = driver.communicate()
    assert driver.returncode == 0, err
    assert len(Ledger(run).trials()) == 400
    # Not its end: there everything is read once more, for the leaderboard.
    after_hundred = min(size for count, size in memory.items() if 100 <= count < 200)
    near_the_end = max(size for count, size in memory.items() if 350 <= count < 400)
    # Tune and Optuna keep a record of every trial, some 12 kB of the two; the driver itself has a GiB.
    assert near_the_end - after_hundred < 20 * 2**20
