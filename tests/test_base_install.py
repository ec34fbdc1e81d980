"""The base install: the wheel in an environment that holds what the base requires, and nothing else."""

import importlib.metadata
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from PIL import Image

from analysis.ledger import Ledger, RunRecord
from analysis.run_folder import RunFolder
from trainables.bundle.export import export_bundle
from trainables.config import Objective, TrialConfig
from trainables.data.preprocess import Preprocessing
from trainables.result import EpochReport, TrialResult
from trainables.status import Status

ROOT = Path(__file__).parents[1]
DRIVER = """
import sys, time
from pathlib import Path
from analysis.claim import claim_run
from analysis.run_folder import RunFolder
run = RunFolder(Path(sys.argv[1]))
claim = claim_run(run, None)
print("ready", flush=True)
while not run.stop_request.exists():
    time.sleep(0.05)
claim.end()
"""


def closure(requirements: Iterable[Requirement], known: set[str]) -> set[str]:
    """Names of the distributions that the requirements bring, among those installed here."""
    for requirement in requirements:
        if requirement.name not in known and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            known.add(requirement.name)
            closure(map(Requirement, importlib.metadata.requires(requirement.name) or ()), known)
    return known


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, and links to the installed packages that the base brings; it needs no network."""
    folder = tmp_path_factory.mktemp("base")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True, timeout=120
    )
    (wheel,) = folder.glob("thaw-*.whl")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, timeout=120)
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    own = importlib.metadata.PathDistribution(zipfile.Path(wheel, f"{'-'.join(wheel.stem.split('-')[:2])}.dist-info/"))
    for name in closure(map(Requirement, own.requires or ()), set()):
        distribution = importlib.metadata.distribution(name)
        for top in {Path(file).parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(str(distribution.locate_file(top))))
    # Without an index pip installs only if every requirement is there already.
    pip = [folder / "venv/bin/pip", "install", "--quiet", "--no-index", "--disable-pip-version-check", wheel]
    result = subprocess.run(pip, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return folder / "venv/bin"


def thaw(base: Path, cwd: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `thaw` of the environment, and of it alone."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | {"COLUMNS": "200"}
    command = [str(base / "thaw"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    """A sweep file, and a run with one trial."""
    folder = tmp_path_factory.mktemp("work")
    assert thaw(base, folder, "init", "sweep.yaml", "--preset", "quickstart", "--data", "photos").returncode == 0
    run = RunFolder(folder / "run")
    ledger = Ledger(run)
    ledger.write_run(
        RunRecord(
            name="run",
            objective=Objective(),
            space={},
            distributions={},
            created=datetime.now(UTC),
            classes=("a", "b"),
            fingerprint="0",
            sample_counts={"train": 2, "val": 2},
            trials_planned=1,
            versions={},
        )
    )
    config = {"data": {"root": "photos"}, "architecture": "resnet18", "strategy": "head", "epochs": 1, "lr": 0.1}
    report = EpochReport(epoch=1, metrics={"val/macro_f1": 0.75}, seconds=1, checkpoint="best", ended_by="budget")
    trial = TrialResult(
        trial_id="0000",
        config=TrialConfig.from_mapping(config, "test"),
        parameters={"lr": 0.1},
        status=Status.COMPLETED,
        reports=(report,),
    )
    ledger.write_trial(trial)
    for log in (run.log("0000"), run.sweep_log):
        log.parent.mkdir(exist_ok=True)
        log.write_text("epoch 1\n")
    return folder


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--version", "thaw "),
        ("--help", "leaderboard"),
        ("init other.yaml --preset small-data --data photos", "wrote other.yaml"),
        ("schema", "json-schema.org"),
        ("space sweep.yaml", "tried first"),
        ("leaderboard run", "0.7500"),
        ("leaderboard run --format json", '"trial_id": "0000"'),
        ("status run", "COMPLETED"),
        ("logs run 0000", "epoch 1"),
    ],
)
def test_a_command_of_the_base(base: Path, folder: Path, arguments: str, said: str) -> None:
    result = thaw(base, folder, *arguments.split())
    assert result.returncode == 0, result.stderr
    assert said in result.stdout + result.stderr


def test_stop_waits_for_the_driver(base: Path, folder: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", DRIVER, folder / "run"], stdout=subprocess.PIPE) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == b"ready\n"
        result = thaw(base, folder, "stop", "run")
        driver.kill()
    assert result.returncode == 0, result.stderr
    assert "stopped" in result.stderr
    assert thaw(base, folder, "stop", "run").returncode == 2


def test_predict(base: Path, folder: Path) -> None:
    photo = folder / "photo.png"
    Image.new("RGB", (40, 30), "red").save(photo)
    model = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2)).eval()
    bundle = export_bundle(
        model,
        labels=("cat", "dog"),
        preprocessing=Preprocessing(32, "squash", mean=(0.5,) * 3, std=(0.5,) * 3),
        config={},
        fingerprint="0",
        images=[("photo.png", photo.read_bytes())],
        folder=folder / "export",
    )
    result = thaw(base, folder, "predict", bundle.model, photo, "--format", "json")
    assert result.returncode == 0, result.stderr
    (prediction,) = json.loads(result.stdout)
    assert {entry["label"] for entry in prediction["top"]} == {"cat", "dog"}


def test_the_face_of_the_base(base: Path, folder: Path) -> None:
    code = (
        "from pathlib import Path; from thaw import Leaderboard, Predictor, load; import thaw; "
        "print(thaw.__file__, len(Leaderboard.from_run('run').entries), load(Path('sweep.yaml')).name)"
    )
    command = [str(base / "python"), "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=60)
    assert result.returncode == 0, result.stderr
    path, *rest = result.stdout.split()
    assert Path(path).is_relative_to(base.parent)
    assert rest == ["1", "sweep"]


@pytest.mark.parametrize(
    "arguments", ["sweep sweep.yaml", "plan sweep.yaml", "retrain run", "trial trial.yaml", "doctor", "demo"]
)
def test_a_command_that_needs_more_says_what_to_install(base: Path, folder: Path, arguments: str) -> None:
    trial = "data: {root: photos}\narchitecture: resnet18\nstrategy: head\nepochs: 1\nlr: 0.1\n"
    (folder / "trial.yaml").write_text(trial)
    result = thaw(base, folder, *arguments.split())
    assert result.returncode == 1
    assert "install thaw[train]" in result.stderr
    assert "Traceback" not in result.stderr
