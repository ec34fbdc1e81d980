"""Trackers of a sweep that is killed at seeded moments and resumed: their files, read alone, equal the ledger."""

import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tracker_files import leveldb_records, mlflow_runs, tensorboard_events, wandb_values

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder, open_run
from trainables.result import TrialResult

pytestmark = [pytest.mark.soak, pytest.mark.seconds(130)]

KILLS = 4


def test_every_tracker_equals_the_ledger_after_kills(
    write_sweep: Callable[..., Path],
    start_thaw: Callable[..., subprocess.Popen[str]],
    thaw: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
) -> None:
    file = write_sweep(
        tmp_path,
        trial={"architecture": "test_efficientnet", "epochs": 6},
        space={"strategy": {"choice": ["head", "full"]}, "lr": {"log": [1e-3, 4e-3]}},
        search={"trials": 10, "seed": 3},
        stopping={"asha": {"grace": 1, "reduction": 3}},
        tracking={"wandb": {"mode": "offline"}, "tensorboard": {}, "mlflow": {}},
    )
    rng, root = random.Random(14), tmp_path / "runs" / "sweep"
    for number in range(KILLS):
        driver = start_thaw(*(["resume", root] if number else ["sweep", file]), "--quiet", cwd=tmp_path)
        wanted = trained_epochs(root) + rng.randint(2, 9)
        while trained_epochs(root) < wanted:
            assert driver.poll() is None, driver.communicate()
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.5))
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
    ended = thaw("resume", root, "--quiet", cwd=tmp_path, timeout=600)
    assert ended.returncode == 0, ended.stderr

    run = open_run(root)
    trials = Ledger(run).trials()
    assert len(trials) == 10
    for trial in trials:
        wanted_rows = [(r.epoch, {**r.metrics, "time/epoch_s": r.seconds}) for r in trial.reports]
        assert wandb_run(run, trial) == (wanted_rows, trial.status.value)
        assert tensorboard_run(run, trial) == (wanted_rows, trial.status.value)
        assert mlflow_run(run, trial) == (wanted_rows, trial.status.value)


def trained_epochs(root: Path) -> int:
    if not (root / "trials").is_dir():
        return 0
    return sum(len(trial.reports) for trial in Ledger(open_run(root)).trials())


def wandb_run(run: RunFolder, trial: TrialResult) -> tuple[list[Any], str]:
    """Rows of the one offline file that has some, and the status in its summary."""
    uid = Ledger(run).read_run().uid
    found: list[tuple[list[Any], str]] = []
    for path in run.wandb.glob(f"offline-run-*/run-{uid}-{trial.trial_id}.wandb"):
        records = list(leveldb_records(path.read_bytes()))
        history = [wandb_values(record.history.item) for record in records if record.HasField("history")]
        rows = [
            (row["epoch"], {name: value for name, value in row.items() if name != "epoch" and not name.startswith("_")})
            for row in history
        ]
        summary: dict[str, Any] = {}
        for record in records:
            if record.HasField("summary"):
                summary |= wandb_values(record.summary.update)
        if rows:
            assert records[-1].HasField("exit")
            found.append((rows, summary["status"]))
    (only,) = found
    return only


def tensorboard_run(run: RunFolder, trial: TrialResult) -> tuple[list[Any], str]:
    """Rows of a folder; a value of TensorBoard has 32 bits, and the ledger's own takes its place where they agree."""
    exact = [{**report.metrics, "time/epoch_s": report.seconds} for report in trial.reports]
    rows: dict[int, dict[str, float]] = {}
    status = ""
    for event in tensorboard_events(run.local / "tensorboard" / trial.trial_id):
        for value in event.summary.value:
            if value.HasField("simple_value") and not value.tag.startswith("best/"):
                wanted = exact[event.step - 1].get(value.tag)
                near = wanted is not None and value.simple_value == pytest.approx(wanted, rel=1e-6)
                assert value.tag not in rows.setdefault(event.step, {})
                rows[event.step][value.tag] = wanted if wanted is not None and near else value.simple_value
            elif value.tag.startswith("status"):
                status = value.tensor.string_val[0].decode()
    return sorted(rows.items()), status


def mlflow_run(run: RunFolder, trial: TrialResult) -> tuple[list[Any], str]:
    (found,) = [each for each in mlflow_runs(run.local / "mlruns") if each.tags.get("thaw.trial") == trial.trial_id]
    rows: dict[int, dict[str, float]] = {}
    for name, values in found.metrics.items():
        for step, value in values if not name.startswith("best/") else ():
            assert name not in rows.setdefault(step, {})
            rows[step][name] = value
    return sorted(rows.items()), found.tags["status"]
