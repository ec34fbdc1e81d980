"""Trials that fail in their own ways: each ends with its own status and reason, and the sweep goes on."""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from analysis.leaderboard import Leaderboard
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.driver.sweep import SweepOutcome
from orchestrator.tuner.restarts import MAX_RESTARTS
from trainables.status import Status

pytestmark = pytest.mark.seconds(20)

KILLER, DIVERGING, GOOD = 0.002, 100.0, 0.004


@pytest.mark.timeout(900)
def test_each_ends_with_its_own_reason_and_the_sweep_goes_on(sweep: Callable[..., SweepOutcome], tmp_path: Path):
    run = RunFolder(tmp_path / "runs" / "sweep")
    with crashing_at_birth(run, "0000"):
        outcome = sweep(
            trial={"architecture": "test_efficientnet", "strategy": "full", "epochs": 1, "optimizer": "sgd"},
            space={"lr": {"choice": [KILLER, DIVERGING, GOOD]}},
            search={"trials": 3, "points": [{"lr": lr} for lr in (KILLER, DIVERGING, GOOD)]},
            resources={"concurrent": 1},
        )
    killed, diverged, good = Ledger(run).trials()
    assert [trial.status for trial in (killed, diverged, good)] == [Status.FAILED, Status.FAILED, Status.COMPLETED]
    assert outcome.leaderboard.winner().trial_id == "0002"
    assert killed.failure is not None
    assert (
        killed.failure.message
        == "its process died 3 times in the same epoch, by a signal or for lack of memory; see its log"
    )
    assert starts(run, "0000") == MAX_RESTARTS + 1 == 3
    assert run.log("0000").read_text().count("Fatal Python error: Segmentation fault") == 3, "where it happened"
    assert diverged.failure is not None
    assert "loss must be finite" in diverged.failure.message
    assert "Traceback" in diverged.failure.traceback
    assert starts(run, "0001") == starts(run, "0002") == 1


@pytest.mark.soak  # what becomes of the message is shown by tests/orchestrator/tuner/test_restarts.py
@pytest.mark.timeout(900)
def test_what_ray_kills_for_want_of_memory_does_not_end_the_sweep(
    write_sweep: Callable[..., Path], thaw: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
):
    file = write_sweep(tmp_path, search={"trials": 2}, resources={"concurrent": 1})
    # Ray looks every 100 ms whether more than 1 % of the memory is in use, and if so kills a worker.
    starved = {"RAY_memory_usage_threshold": "0.01", "RAY_memory_monitor_refresh_ms": "100"}
    ended = thaw("sweep", file, "--quiet", cwd=tmp_path, **starved)
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "no trial of" in ended.stderr
    entries = Leaderboard.from_run(RunFolder(tmp_path / "runs" / "sweep")).entries
    assert [entry.trial.status for entry in entries] == [Status.PRUNED_OOM] * 2
    for entry in entries:
        assert entry.trial.failure is not None
        assert entry.trial.failure.message.startswith("its node ran low on memory, and Ray killed its process, 3 times")
        assert "lower batch_size" in entry.trial.failure.message


@contextmanager
def crashing_at_birth(run: RunFolder, trial_id: str) -> Iterator[None]:
    """Crash every process that takes up a trial, as a faulty extension does."""
    over = threading.Event()

    def kill() -> None:
        killed: set[int] = set()
        while not over.is_set():
            if run.log(trial_id).is_file():
                for pid in map(int, re.findall(r"\[(\d+)\] INFO orchestrator: trial ", run.log(trial_id).read_text())):
                    if pid not in killed and psutil.pid_exists(pid):
                        os.kill(pid, signal.SIGSEGV)
                        killed.add(pid)
            time.sleep(0.02)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def starts(run: RunFolder, trial_id: str) -> int:
    return run.log(trial_id).read_text().count(f" trial {trial_id}: ")
