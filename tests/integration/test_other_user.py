"""A colleague, who is another user, at a run: what may be read can be used, and for the rest the right is named."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from analysis.ledger import Ledger, RunRecord
from analysis.run_folder import RunFolder
from orchestrator.spec.loading import load
from search_spaces.documents import dump_yaml
from trainables.config import Objective, TrialConfig
from trainables.data.digits import write_digits
from trainables.data.fingerprint import examine_content
from trainables.data.readers import open_dataset
from trainables.loop.train import train
from trainables.result import TrialResult
from trainables.status import Status
from trainables.storage.folders import TrialFolders

pytestmark = [
    pytest.mark.seconds(40),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user"),
]

COLLEAGUE = 65534

# Each command runs once as the owner, since the packages may lie in a folder that is closed to another user, and is
# then run by the colleague, in a process forked for each case.
CODE = """
import contextlib, io, json, os, sys, traceback
import grp, pwd, encodings.idna, torch
torch.set_num_threads(1)
import orchestrator.driver.sweep
from orchestrator.cli import run

def call(arguments):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            code = run(arguments)
        except BaseException:
            code = traceback.format_exc()
    return [code, said.getvalue()]

warm, cases = json.load(sys.stdin)
warmed = [call(arguments) for arguments in warm]
results = {}
for name, case in cases.items():
    former = {path: os.stat(path).st_mode & 0o7777 for path in case["modes"]}
    for path, mode in case["modes"].items():
        os.chmod(path, mode)
    os.environ["THAW_CACHE_DIR"] = case["cache"]
    end, start = os.pipe()
    child = os.fork()
    if not child:
        os.close(end)
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        with os.fdopen(start, "w") as file:
            json.dump(call(case["arguments"]), file)
        os._exit(0)
    os.close(start)
    with os.fdopen(end) as file:
        results[name] = json.load(file)
    os.waitpid(child, 0)
    for path, mode in former.items():
        os.chmod(path, mode)
json.dump([warmed, results], sys.stdout)
"""


@dataclass(frozen=True)
class Place:
    """A run with one trial, exported, with its data and caches; all of it made under the umask 022."""

    folder: Path

    @property
    def run(self) -> RunFolder:
        return RunFolder(self.folder / "runs" / "sweep")

    @property
    def image(self) -> Path:
        return min((self.folder / "data" / "test" / "3").iterdir())

    @property
    def file(self) -> Path:
        return self.folder / "sweep.yaml"

    @property
    def best(self) -> Path:
        return Path(str(self.run.best("0000")))


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    # A folder of pytest's lies below one that is closed to other users.
    with tempfile.TemporaryDirectory(prefix="thaw-shared-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield made_place(Path(folder))


def made_place(folder: Path) -> Place:
    data = folder / "data"
    write_digits(data, keep=dict.fromkeys(range(10), 0.1))
    made = Place(folder)
    trial = {"architecture": "test_efficientnet", "strategy": "full", "weights": "none", "epochs": 1}
    settings = {"root": str(data), "image_size": 32, "resize_mode": "squash"}
    sweep = {"name": "sweep", "data": settings, "trial": trial, "space": {"lr": {"log": [1e-3, 1e-2]}}}
    made.file.write_text(dump_yaml({**sweep, "tracking": {"wandb": {"mode": "disabled"}}, "search": {"trials": 2}}))
    former = os.umask(0o022)
    try:
        write_run(made, TrialConfig.from_mapping({"data": settings, **trial, "lr": 0.005}, "trial"))
        (folder / "open cache").mkdir()
        (folder / "open cache").chmod(0o1777)
        (folder / "closed cache").mkdir()
    finally:
        os.umask(former)
    return made


def write_run(place: Place, config: TrialConfig) -> None:
    run = place.run
    folders = TrialFolders(place.best.parent, Path(str(run.predictions("0000"))), place.folder / "warm cache")
    reports = tuple(train(config, folders))
    dataset = open_dataset(config.data.root)
    ledger = Ledger(run)
    ledger.write_run(
        RunRecord(
            name="sweep",
            objective=Objective(),
            created=datetime.now(UTC),
            space={},
            distributions={},
            classes=dataset.classes,
            fingerprint=examine_content(dataset, folders.cache).fingerprints.trained,
            sample_counts={},
            trials_planned=2,
            versions={},
        )
    )
    Path(str(run.sweep_yaml)).write_text(load(place.file).to_yaml())
    Path(str(run.log("0000"))).parent.mkdir()
    Path(str(run.log("0000"))).write_text("epoch 1\n")
    ledger.write_trial(
        TrialResult(trial_id="0000", config=config, parameters={"lr": 0.005}, status=Status.COMPLETED, reports=reports)
    )


Case = tuple[list[object], dict[Path, int], int, str]
"""Command, changed modes, exit code, and the right that the message names: `path: * right`."""


def cases(place: Place) -> dict[str, Case]:
    """Return the cases by name."""
    run, root = place.run, place.folder / "runs" / "sweep"
    model = root / "export" / "model.onnx"
    record, trials, first = root / "run.json", root / "trials", root / "trials" / "0000.json"
    data, digit = place.folder / "data", place.folder / "data" / "val" / "3"
    reading = {
        command[0]: command
        for command in (["leaderboard", root], ["evaluate", root], ["export", root], ["resume", root], ["status", root])
    }
    found: dict[str, Case] = {
        "predict": (["predict", model, place.image], {}, 0, ""),
        "logs": (["logs", root, "0000"], {}, 0, ""),
    }
    for name in ("leaderboard", "evaluate", "status"):
        found[name] = (reading[name], {}, 0, "")
    for name, command in reading.items():
        found[f"{name}: a record"] = (command, {record: 0o600}, 2, f"{record}: * read this file")
        found[f"{name}: a run"] = (command, {root: 0o700}, 2, f"run.json: * enter {root}")
        found[f"{name}: all runs"] = (command, {root.parent: 0o700}, 2, f"run.json: * enter {root.parent}")
        found[f"{name}: all trials"] = (command, {trials: 0o711}, 2, f"{trials}: * list this folder")
        found[f"{name}: a trial"] = (command, {first: 0o600}, 2, f"{first}: * read this file")
    weights, state = place.best / "model.safetensors", place.best / "state.json"
    for name in ("evaluate", "export"):
        found[f"{name}: weights"] = (reading[name], {weights: 0o600}, 2, f"{weights}: * read this file")
        found[f"{name}: state"] = (reading[name], {state: 0o600}, 2, f"{state}: * read this file")
        found[f"{name}: checkpoint"] = (reading[name], {place.best: 0o700}, 2, f"state.json: * enter {place.best}")
        above = place.best.parent
        found[f"{name}: checkpoints"] = (reading[name], {above: 0o700}, 2, f"* enter {above}")
        found[f"{name}: sweep file"] = (
            reading[name],
            {root / "sweep.yaml": 0o600},
            2,
            f"{root / 'sweep.yaml'}: * read this file",
        )
        found[f"{name}: data"] = (reading[name], {data: 0o700}, 2, "* list this folder")
        found[f"{name}: a class"] = (reading[name], {digit: 0o700}, 2, f"{digit}: * list this folder")
    photo = min(digit.iterdir())
    found["export: a photo"] = (
        reading["export"],
        {photo: 0o600, root / "export": 0o777},
        2,
        f"{photo}: * read this file",
    )
    found["predict: the model"] = (["predict", model, place.image], {model: 0o600}, 2, f"{model}: * read this file")
    found["predict: a photo"] = (["predict", model, place.image], {place.image: 0o600}, 2, "* read this file")
    tested = place.image.parent
    found["predict: a folder"] = (
        ["predict", model, tested.parent],
        {tested: 0o700},
        2,
        f"{tested}: * list this folder",
    )
    found["predict: closed"] = (["predict", model, place.image], {tested: 0o700}, 2, f"* enter {tested}")
    log = Path(str(run.log("0000")))
    found["logs: a log"] = (["logs", root, "0000"], {log: 0o600}, 2, f"{log}: * read this file")
    found["logs: all logs"] = (["logs", root, "0000"], {log.parent: 0o700}, 2, f"* enter {log.parent}")
    found["space: the sweep file"] = (["space", place.file], {place.file: 0o600}, 2, f"{place.file}: * read this file")
    # An export writes into the run, which it claims first.
    found |= {
        name: (command, {root: 0o777, **modes}, code, right)
        for name, (command, modes, code, right) in found.items()
        if name.startswith("export:")
    }
    found["export: no right to write"] = (reading["export"], {}, 2, f"* write into {root}")
    found["resume: no right to write"] = (reading["resume"], {}, 1, f"* write into {root}")
    found["stop: no driver"] = (["stop", root], {}, 2, "must be running to be stopped")
    return found


@pytest.fixture(scope="module")
def results(place: Place) -> dict[str, tuple[int | str, str]]:
    root = place.folder / "runs" / "sweep"
    warm = [["export", root], ["predict", root / "export" / "model.onnx", place.image], ["leaderboard", root]]
    warm += [["evaluate", root], ["status", root], ["logs", root, "0000"], ["space", place.file], ["stop", root]]
    known = {
        name: {
            "arguments": [str(part) for part in case[0]],
            "modes": {str(k): v for k, v in case[1].items()},
            "cache": str(place.folder / "open cache"),
        }
        for name, case in cases(place).items()
    }
    # The owner's cache: arrays that are there are used; nothing can be added to one that is closed.
    for name, cache in (("evaluate: the owner's cache", "warm cache"), ("evaluate: a closed cache", "closed cache")):
        known[name] = {"arguments": ["evaluate", str(root)], "modes": {}, "cache": str(place.folder / cache)}
    given = json.dumps([[[str(part) for part in command] for command in warm], known])
    own = {"THAW_CACHE_DIR": str(place.folder / "warm cache"), "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        input=given,
        capture_output=True,
        text=True,
        env={**os.environ, **own},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    warmed, found = json.loads(done.stdout)
    assert [code for code, _ in warmed] == [0] * 7 + [2], warmed
    return {name: (code, said) for name, (code, said) in found.items()}


def test_the_right_that_is_missing_is_named(place: Place, results: dict[str, tuple[int | str, str]]) -> None:
    wrong = {}
    for name, (_, _, code, right) in cases(place).items():
        got, said = results[name]
        what, star, permission = right.partition("* ")
        wanted = [what.strip(), f"(uid {COLLEAGUE}) must have permission to {permission}"] if star else [right]
        if got != code or any(part not in said for part in wanted) or "Traceback" in said:
            wrong[name] = (got, said[-2000:])
    assert not wrong


def test_the_cache_of_another_user(place: Place, results: dict[str, tuple[int | str, str]]) -> None:
    code, said = results["evaluate: the owner's cache"]
    assert code == 0, said
    code, said = results["evaluate: a closed cache"]
    assert code == 1, said
    assert "the node's cache must be writable: " in said
    assert f"permission to write into {place.folder / 'closed cache'}" in said
    assert "or set storage.cache_dir to a folder of your own" in said
