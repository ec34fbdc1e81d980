"""The README's promise on real photos: a short search with ImageNet weights, exported and checked on the test split."""

import os
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from trainables.bundle.predict import Predictor
from trainables.data.arrays import load_arrays
from trainables.loop.checkpoint import load_trained
from trainables.status import Status
from trainables.task.inference import predict_outputs

pytestmark = [pytest.mark.soak, pytest.mark.seconds(270)]

ASSETS = Path(os.environ.get("THAW_TEST_ASSETS", Path(__file__).parents[3] / "shared"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    archive = ASSETS / "data" / "trashnet6.tar"
    if not archive.is_file():
        pytest.skip(f"no {archive}: set THAW_TEST_ASSETS to the folder that holds data/trashnet6.tar and weights/")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    return tmp_path / "trashnet6"


@pytest.mark.timeout(3000)
def test_quickstart_on_real_photos(
    photos: Path, thaw: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, cache_dir: Path
):
    def run_thaw(*arguments: object) -> None:
        ended = thaw(*arguments, cwd=tmp_path, timeout=2400)
        assert ended.returncode == 0, ended.stderr

    run_thaw("init", "trash.yaml", "--preset", "quickstart", "--data", photos)
    started = time.monotonic()
    offline = "tracking={wandb: {mode: offline}}"
    run_thaw("sweep", "trash.yaml", "--set", f"data.weights_dir={ASSETS / 'weights'}", "--set", offline)
    seconds = time.monotonic() - started

    run = RunFolder(tmp_path / "runs" / "trash")
    trials = Ledger(run).trials()
    for trial in trials:
        print(f"{trial.trial_id} {trial.status} {trial.objective:.4f} {trial.seconds:.0f} s {trial.parameters}")
    print(f"{len(trials)} trials in {seconds:.0f} s")
    assert len(trials) == 12
    assert {trial.status for trial in trials} <= {Status.COMPLETED, Status.PRUNED}
    best = max(trial.objective or 0 for trial in trials if trial.status is Status.COMPLETED)
    assert best >= 0.80

    run_thaw("export", run.root)
    (winner,) = [trial for trial in trials if trial.status is Status.COMPLETED and trial.objective == best][:1]
    model, state = load_trained(run.best(winner.trial_id))
    arrays = load_arrays(state.config.data, cache_dir, ["test"])
    logits = predict_outputs(model, arrays.splits["test"], state.mean, state.std, torch.device("cpu"))
    samples = arrays.dataset.splits["test"]
    predictions = Predictor.open(run.export / "model.onnx").predict_files([photos / sample.path for sample in samples])
    expected = [arrays.classes[index] for index in logits.argmax(axis=1)]
    assert [prediction.label for prediction in predictions] == expected
