"""What becomes of the best trial: retrained, measured once on the test split, exported."""

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.leaderboard import Leaderboard
from analysis.run_folder import RunFolder, open_run, write_atomically
from orchestrator.cache_budget import cache_budget
from orchestrator.retention import trial_weights
from orchestrator.spec import load_run
from orchestrator.tracking import WandbRun
from search_spaces.errors import InvalidInput
from trainables.bundle.export import ExportBundle, export_bundle
from trainables.checkpoint import load_trained
from trainables.data.arrays import decode_rest, load_arrays
from trainables.data.preprocess import Preprocessing
from trainables.data.readers import SPLITS, open_dataset
from trainables.evaluation import Evaluation, evaluate_checkpoint
from trainables.folders import TrialFolders, cache_folder
from trainables.result import EpochReport, Status, TrialResult
from trainables.storage import Place
from trainables.train import train

RETRAIN_JSON = "retrain.json"


@dataclass(frozen=True)
class Retrained:
    """The winner, trained anew."""

    trial: TrialResult
    """The trial whose configuration was used."""

    checkpoint: Place
    """Its best epoch."""

    test: Evaluation
    """Measured on the test split, for the first time in this run."""


def retrain(folder: Place, on_epoch: Callable[[EpochReport], None] = lambda _report: None) -> Retrained:
    """Train the winner's configuration on the training split again and measure it once on the test split.

    Writes RUN/winner. Raises InvalidInput when the run has no completed trial or the data set no test split.
    """
    run = open_run(folder)
    winner = Leaderboard.from_run(run).winner()
    spec = load_run(run)
    cache, budget = cache_folder(spec.storage.cache_dir), cache_budget(spec.storage.cache_budget)
    data = winner.config.data
    if "test" not in open_dataset(data.root, data.manifest).splits:
        raise InvalidInput(f"{data.root}: retraining ends with the test split, but there is none; add a folder test/")
    # An image that cannot be read is found now, not after the training.
    decode_rest(load_arrays(data, cache, SPLITS, budget=budget))
    made = run.here(run.winner)
    fresh = made.with_name(f".{made.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    folders = TrialFolders(fresh / "checkpoints", fresh / "predictions.parquet", cache, budget)
    # Every image is seen anew in every epoch: fixed views are for the search.
    config = winner.config.model_copy(update={"feature_views": 0})
    tracker = WandbRun(
        spec.tracking.wandb, sweep=spec.name, name="retrain", job_type="retrain", config=config, folder=run.local
    )
    for report in train(config, folders):
        tracker.log(report)
        on_epoch(report)
    test = evaluate_checkpoint(folders.best, "test", cache, budget=budget)
    tracker.finish(Status.COMPLETED, {f"test/{name}": value for name, value in test.scalars().items()})
    record = {"trial_id": winner.trial_id, "test": test.to_json()}
    write_atomically(fresh / RETRAIN_JSON, json.dumps(record, indent=1))
    told, best = run.winner / RETRAIN_JSON, run.winner / "checkpoints" / "best"
    told.unlink(missing_ok=True)  # first: it says whose weights the others are
    shutil.rmtree(made, ignore_errors=True)
    fresh.rename(made)
    for place in (best, run.winner / folders.predictions.name, told):
        run.publish(place)
    run.release(run.winner)
    return Retrained(winner, best, test)


def export(folder: Place) -> tuple[ExportBundle, str]:
    """Export the winner to RUN/export: the retrained model where there is one, else the trial's own checkpoint.

    Returns the bundle on this machine and a phrase for where the weights came from. Raises ExportRefused when the ONNX
    model does not predict what the PyTorch model predicts on the validation images.
    """
    run = open_run(folder)
    winner = Leaderboard.from_run(run).winner()
    weights, origin = winner_weights(run, winner)
    with weights as checkpoint:
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
        folder=run.here(run.export),
    )
    # The model last: the others describe it, and it alone is complete.
    for name in sorted((file.name for file in bundle.model.parent.iterdir()), key=bundle.model.name.__eq__):
        run.publish(run.export / name)
    return bundle, origin


def winner_weights(run: RunFolder, winner: TrialResult) -> tuple[AbstractContextManager[Path], str]:
    """The winner's checkpoint on this machine, and a phrase for where it came from: retrained where that was done."""
    record = run.winner / RETRAIN_JSON
    if record.is_file() and json.loads(record.read_text())["trial_id"] == winner.trial_id:
        return run.reading(run.winner / "checkpoints" / "best"), f"trial {winner.trial_id}, retrained"
    return trial_weights(run, winner), f"trial {winner.trial_id}, as trained in the sweep"


def _portable(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration without the folders of this machine, for a file that travels."""
    data = {key: value for key, value in config["data"].items() if key not in ("root", "manifest", "weights_dir")}
    return {**config, "data": data, "weights": Path(config["weights"]).name}
