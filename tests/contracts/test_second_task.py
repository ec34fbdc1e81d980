"""A second task runs from the sweep to the retrained winner with no change elsewhere: the proof of the seam."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest

from analysis.run_folder import RunFolder

pytestmark = pytest.mark.seconds(25)

# Runs the commands of a list one after the other; imports and Ray, the dear parts of each, are paid once.
COMMANDS = """
import contextlib, io, json, shutil, sys
from pathlib import Path
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.cli import run
from orchestrator.cluster import runtime
from trainables.result import Status

def crash(root):
    # As a driver leaves a trial that dies before it has ended its first epoch.
    folder = RunFolder(Path(root))
    ledger = Ledger(folder)
    trial = ledger.read_trial("0001")
    ledger.write_trial(trial.model_copy(update={"status": Status.RUNNING, "reports": ()}))
    shutil.rmtree(folder.best("0001").parent)

def say(command):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(command)
    print("said", json.dumps([code, out.getvalue(), err.getvalue()]))

with runtime.connected(Path.cwd(), cpus=2):
    for command in json.loads(sys.argv[1]):
        crash(command[1]) if command[0] == "crash" else say(command)
"""


class Said(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def ran(
    turned_digits: Path, rotation_distribution: Path, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunFolder, dict[str, Said]]:
    """A run of the task `rotation`, and what each command said of it."""
    from search_spaces.documents import dump_yaml

    root = tmp_path_factory.mktemp("rotation")
    sweep = {
        "name": "turned",
        "task": "rotation",
        "data": {"root": str(turned_digits), "image_size": 32, "resize_mode": "squash"},
        "trial": {"architecture": "test_efficientnet", "weights": "none", "strategy": "full", "epochs": 2},
        "space": {"lr": {"log": [1e-3, 1e-2]}},
        "search": {"trials": 3},
        "budget": {"target": 0.01},
        "stopping": "none",
        "resources": {"concurrent": 2},
        "tracking": {"wandb": {"mode": "disabled"}},
    }
    (root / "sweep.yaml").write_text(dump_yaml(sweep))
    run = RunFolder(root / "runs" / "turned")
    commands: dict[str, list[str]] = {
        "refused": ["sweep", "sweep.yaml", "--set", "trial.balance=sampler"],
        "sweep": ["sweep", "sweep.yaml"],
        "before": ["leaderboard", str(run.root), "--format", "json"],
        "crash": ["crash", str(run.root)],
        "resume": ["resume", str(run.root)],
        "after": ["leaderboard", str(run.root), "--format", "json"],
        "retrain": ["retrain", str(run.root)],
        "evaluate": ["evaluate", str(run.root), "--format", "json"],
        "tta": ["evaluate", str(run.root), "--tta", "flip"],
        "export": ["export", str(run.root)],
    }
    environment = {**os.environ, "PYTHONPATH": str(rotation_distribution), "COLUMNS": "200"}
    command = [sys.executable, "-c", COMMANDS, json.dumps(list(commands.values()))]
    ended = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    lines = [line.removeprefix("said ") for line in ended.stdout.splitlines() if line.startswith("said ")]
    names = [name for name in commands if name != "crash"]
    return run, {name: Said(*json.loads(line)) for name, line in zip(names, lines, strict=True)}


Ran = tuple[RunFolder, dict[str, Said]]


def test_a_sweep_minimizes_the_objective_of_its_task(ran: Ran) -> None:
    run, said = ran
    assert said["sweep"].code == 0, said["sweep"].err
    record = json.loads(run.run_json.read_text())
    assert record["objective"] == {"metric": "val/mae", "mode": "min"}
    entries = json.loads(said["before"].out)
    assert [entry["rank"] for entry in entries] == [1, 2, 3]
    assert [entry["objective"] for entry in entries] == sorted(entry["objective"] for entry in entries)
    assert all(0 < entry["objective"] < 90 for entry in entries)
    assert all(entry["config"]["task"] == "rotation" and "balance" not in entry["config"] for entry in entries)
    table = pq.read_table(run.predictions(entries[0]["trial_id"])).to_pydict()
    assert list(table) == ["path", "angle", "predicted"]
    assert all(Path(path).stem.endswith(f"_{angle:.0f}") for path, angle in zip(*list(table.values())[:2], strict=True))


def test_a_resumed_trial_is_the_same(ran: Ran) -> None:
    _, said = ran
    assert said["resume"].code == 0, said["resume"].err
    assert without_times(said["after"]) == without_times(said["before"])


def test_the_winner_is_retrained_and_measured(ran: Ran) -> None:
    run, said = ran
    assert said["retrain"].code == 0, said["retrain"].err
    assert said["retrain"].out.strip().startswith("test: mae ")
    record = json.loads((run.winner / "retrain.json").read_text())
    assert list(record["test"]) == ["split", "fingerprint", "metrics"]
    evaluated = json.loads(said["evaluate"].out)
    assert evaluated["metrics"] == record["test"]["metrics"]


def test_what_the_task_lacks_is_refused_in_one_message(ran: Ran) -> None:
    run, said = ran
    assert (said["export"].code, said["export"].out) == (1, "")
    (line,) = said["export"].err.splitlines()
    assert line.endswith("task rotation has no export; use its checkpoint")
    assert not list(run.export.glob("*"))
    assert said["tta"].code == 2
    assert "--tta must be one of none for the task rotation, got flip; leave it out" in said["tta"].err
    assert said["refused"].code == 2
    assert "task rotation reads no `balance`, got sampler; remove it" in said["refused"].err


def without_times(said: Said) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(said.out)
    return [{**entry, "seconds": None} for entry in entries]
