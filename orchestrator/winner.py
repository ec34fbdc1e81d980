"""What becomes of the best trial: retrained, measured once on the test split, exported."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.leaderboard import Leaderboard
from analysis.run_folder import RunFolder, open_run, write_atomically
from orchestrator.preflight import cache_budget, cache_folder
from orchestrator.spec import load
from orchestrator.tracking import WandbRun
from search_spaces.errors import InvalidInput
from trainables.bundle.export import ExportBundle, export_bundle
from trainables.checkpoint import load_trained
from trainables.data.arrays import decode_rest, load_arrays
from trainables.data.preprocess import Preprocessing
from trainables.data.readers import SPLITS, open_dataset
from trainables.evaluation import Evaluation, evaluate_checkpoint
from trainables.folders import TrialFolders
from trainables.result import EpochReport, Status, TrialResult
from trainables.train import train

RETRAIN_JSON = "retrain.json"


@dataclass(frozen=True)
class Retrained:
    """The winner, trained anew."""

    trial: TrialResult
    """The trial whose configuration was used."""

    checkpoint: Path
    """Its best epoch."""

    test: Evaluation
    """Measured on the test split, for the first time in this run."""


def retrain(folder: Path, on_epoch: Callable[[EpochReport], None] = lambda _report: None) -> Retrained:
    """Train the winner's configuration on the training split again and measure it once on the test split.

    Writes RUN/winner. Raises InvalidInput when the run has no completed trial or the data set no test split.
    """
    run = open_run(folder)
    winner = Leaderboard.from_run(run).winner()
    spec = load(run.sweep_yaml)
    cache, budget = cache_folder(spec.storage.cache_dir), cache_budget(spec.storage.cache_budget)
    data = winner.config.data
    if "test" not in open_dataset(data.root, data.manifest).splits:
        raise InvalidInput(f"{data.root}: retraining ends with the test split, but there is none; add a folder test/")
    # An image that cannot be read is found now, not after the training.
    decode_rest(load_arrays(data, cache, SPLITS, budget=budget))
    fresh = run.winner.with_name(f".{run.winner.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    folders = TrialFolders(fresh / "checkpoints", fresh / "predictions.parquet", cache, budget)
    # Every image is seen anew in every epoch: fixed views are for the search.
    config = winner.config.model_copy(update={"feature_views": 0})
    tracker = WandbRun(
        spec.tracking.wandb, sweep=spec.name, name="retrain", job_type="retrain", config=config, folder=run.root
    )
    for report in train(config, folders):
        tracker.log(report)
        on_epoch(report)
    test = evaluate_checkpoint(folders.best, "test", cache, budget=budget)
    tracker.finish(Status.COMPLETED, {f"test/{name}": value for name, value in test.scalars().items()})
    record = {"trial_id": winner.trial_id, "test": test.to_json()}
    write_atomically(fresh / RETRAIN_JSON, json.dumps(record, indent=1))
    shutil.rmtree(run.winner, ignore_errors=True)
    fresh.rename(run.winner)
    return Retrained(winner, run.winner / "checkpoints" / "best", test)


def export(folder: Path) -> tuple[ExportBundle, str]:
    """Export the winner to RUN/export: the retrained model where there is one, else the trial's own checkpoint.

    Returns the bundle and a phrase for where the weights came from. Raises ExportRefused when the ONNX model does not
    predict what the PyTorch model predicts on the validation images.
    """
    run = open_run(folder)
    winner = Leaderboard.from_run(run).winner()
    checkpoint, origin = winner_checkpoint(run, winner)
    model, state = load_trained(checkpoint)
    dataset = open_dataset(state.config.data.root, state.config.data.manifest)
    bundle = export_bundle(
        model,
        labels=state.classes,
        preprocessing=Preprocessing(
            state.config.data.image_size, state.config.data.resize_mode, mean=state.mean, std=state.std
        ),
        config=_portable(state.config.to_json()),
        fingerprint=state.fingerprint,
        images=((sample.path, dataset.read(sample)) for sample in dataset.splits["val"]),
        folder=run.export,
    )
    return bundle, origin


def winner_checkpoint(run: RunFolder, winner: TrialResult) -> tuple[Path, str]:
    """The winner's weights, and a phrase for where they came from: retrained where that was done, and done of it."""
    record = run.winner / RETRAIN_JSON
    if record.is_file() and json.loads(record.read_text())["trial_id"] == winner.trial_id:
        return run.winner / "checkpoints" / "best", f"trial {winner.trial_id}, retrained"
    return run.best(winner.trial_id), f"trial {winner.trial_id}, as trained in the sweep"


def _portable(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration without the folders of this machine, for a file that travels."""
    data = {key: value for key, value in config["data"].items() if key not in ("root", "manifest", "weights_dir")}
    return {**config, "data": data, "weights": Path(config["weights"]).name}
