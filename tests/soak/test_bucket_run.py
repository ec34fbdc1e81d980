"""The whole chain in a bucket, over HTTP: swept, killed, resumed, read, retrained, exported, used."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from analysis import heartbeat
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder, open_run
from analysis.run_store import RunStore
from trainables.status import Status
from trainables.storage.place import as_place

pytestmark = [pytest.mark.soak, pytest.mark.seconds(95)]

TRIALS, EPOCHS = 4, 6


@pytest.mark.timeout(2400)
def test_a_run_in_a_bucket(
    bucket: str,
    write_sweep: Callable[..., Path],
    start_thaw: Callable[..., subprocess.Popen[str]],
    thaw: Callable[..., subprocess.CompletedProcess[str]],
    digits: Path,
    cache_dir: Path,
    tmp_path: Path,
):
    file = write_sweep(
        tmp_path,
        trial={"architecture": "test_efficientnet", "strategy": "full", "epochs": EPOCHS},
        search={"trials": TRIALS, "seed": 1},
        storage={"root": f"{bucket}/team", "keep_best": 1},
    )
    run = RunFolder(as_place(f"{bucket}/team/sweep"))
    ledger = Ledger(run)

    def told(*arguments: str) -> object:
        ended = thaw(*arguments, "--format", "json", cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    process = start_thaw("sweep", file, "--quiet", cwd=tmp_path)
    deadline = time.monotonic() + 900
    while not run.run_json.is_file() or not any(len(trial.reports) > 1 for trial in ledger.trials()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert told("status", str(run.root))["driven"] is True  # type: ignore[index]
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert not heartbeat.is_alive(run.root)
    before = {trial.trial_id: len(trial.reports) for trial in ledger.trials()}
    assert max(before.values()) < EPOCHS

    # As on another machine: nothing of the run is on its disk.
    resumed = thaw("resume", run.root, cwd=tmp_path, timeout=900, THAW_CACHE_DIR=str(tmp_path / "other cache"))
    assert resumed.returncode == 0, resumed.stderr
    assert f"thaw export {run.root}" in resumed.stderr
    trials = ledger.trials()
    assert [trial.trial_id for trial in trials] == [f"{number:04d}" for number in range(TRIALS)]
    assert {trial.status for trial in trials} == {Status.COMPLETED}
    for trial in trials:
        assert [report.epoch for report in trial.reports] == list(range(1, EPOCHS + 1))
    logs = {trial.trial_id: thaw("logs", run.root, trial.trial_id, cwd=tmp_path).stdout for trial in trials}
    assert all(f"epoch {EPOCHS}: train/loss" in log for log in logs.values())
    assert any("resumed after epoch" in logs[trial_id] for trial_id, epochs in before.items() if epochs)
    assert "trials to go" in thaw("logs", run.root, cwd=tmp_path).stdout

    board = told("leaderboard", str(run.root))
    best, second = [entry["trial_id"] for entry in board][:2]  # type: ignore[attr-defined]
    store = RunStore(run)
    assert [
        trial.trial_id for trial in trials if store.has(store.newest(partial(RunFolder.best, trial_id=trial.trial_id)))
    ] == [best]
    assert not any(store.has(layer.last(trial.trial_id)) for trial in trials for layer in open_run(run.root).layers())
    assert all(store.has(store.newest(partial(RunFolder.predictions, trial_id=trial.trial_id))) for trial in trials)
    gone = thaw("evaluate", run.root, second, cwd=tmp_path)
    assert gone.returncode == 2
    assert f"got {second}, which is COMPLETED and has none: storage.keep_best is 1" in gone.stderr
    assert told("export", str(run.root))["origin"] == f"trial {best}, as trained in the sweep"  # type: ignore[index]

    assert told("retrain", str(run.root))["trial_id"] == best  # type: ignore[index]
    assert told("evaluate", str(run.root))["origin"] == f"trial {best}, retrained"  # type: ignore[index]
    exported = told("export", str(run.root))
    assert exported["origin"] == f"trial {best}, retrained"  # type: ignore[index]
    model = exported["model"]  # type: ignore[index]
    assert model == f"{run.root}/export/model.onnx"
    predicted = told("predict", model, str(digits / "test" / "3"))
    assert len(predicted) == len(list((digits / "test" / "3").iterdir()))  # type: ignore[arg-type]
    left = [path for path in (tmp_path / "other cache" / "runs").rglob("*") if path.suffix in (".safetensors", ".tar")]
    assert left == [], "what a bucket keeps is not left on a node"
    assert list((cache_dir / "runs").glob("*/.reading-*")) == []
