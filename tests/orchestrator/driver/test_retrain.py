import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from analysis.winner import RETRAIN_JSON, retrained_trial, run_winner
from orchestrator.driver.retrain import retrain_winner
from orchestrator.results.evaluate import evaluate_trials
from orchestrator.results.export import WantedVariants, export_winner
from orchestrator.spec.sweep_spec import SweepSpec
from search_spaces.errors import InvalidInput
from trainables.bundle.variant import Variant
from trainables.checkpoint_state import CheckpointState
from trainables.data.arrays import load_arrays
from trainables.data.digits import write_digits
from trainables.data.readers import open_configured, open_dataset
from trainables.data_config import DataConfig, TrainedOn
from trainables.model.build import bare_model
from trainables.result import TrialResult
from trainables.status import Status

Trial = Callable[..., TrialResult]


@pytest.fixture
def run(empty_run: RunFolder, small_spec: Callable[..., SweepSpec]) -> RunFolder:
    """A run without a trial, with its sweep file."""
    empty_run.sweep_yaml.write_text(small_spec(tracking={"wandb": {"mode": "disabled"}}).to_yaml())
    return empty_run


def searched_on(run: RunFolder, root: Path, cache: Path) -> None:
    """Note the images of `root` as those of the run."""
    fingerprint = load_arrays(DataConfig(root=root, image_size=32), cache).fingerprints.trained
    Ledger(run).update_run(fingerprint=fingerprint)


def test_without_a_completed_trial_nothing_is_done(run: RunFolder, trial: Trial) -> None:
    Ledger(run).write_trial(trial("0000", [0.5], Status.PRUNED))
    with pytest.raises(InvalidInput, match=r"no trial of .* is COMPLETED, got 1 PRUNED"):
        retrain_winner(run.root)
    assert not run.winner.exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="a run must be an existing folder"):
        retrain_winner(tmp_path / "none")


def test_retraining_without_a_test_split_is_refused_before_anything_is_removed(
    run: RunFolder, trial: Trial, tmp_path: Path
) -> None:
    for split in ("train", "val"):
        for name in ("a", "b"):
            image = tmp_path / "photos" / split / name / "1.png"
            image.parent.mkdir(parents=True)
            image.write_bytes(b"not looked at yet")
    run.winner.mkdir()
    (run.winner / "kept").touch()
    Ledger(run).write_trial(trial("0000", [0.5], Status.COMPLETED, data={"root": tmp_path / "photos"}))
    with pytest.raises(InvalidInput, match=r"photos: retraining ends with the test split, .*; add a folder test/"):
        retrain_winner(run.root)
    assert (run.winner / "kept").exists()


def test_the_winner_is_trained_anew_and_measured_on_the_test_split(
    run: RunFolder, trial: Trial, digits: Path, cache_dir: Path
) -> None:
    """In place of an older winner, whose folder goes only once the new one is complete."""
    settings: dict[str, Any] = {"architecture": "test_efficientnet", "weights": "none", "batch_size": 128, "epochs": 1}
    data = {"root": digits, "image_size": 32, "resize_mode": "squash"}
    Ledger(run).write_trial(trial("0000", [0.5], Status.COMPLETED, data=data, **settings))
    with pytest.raises(InvalidInput, match=r"takes the images that the search had, but train or val has changed since"):
        retrain_winner(run.root)
    searched_on(run, digits, cache_dir)
    run.winner.mkdir()
    (run.winner / "older").touch()
    epochs: list[int] = []
    retrained = retrain_winner(run.root, lambda report: epochs.append(report.epoch))
    assert epochs == [1]
    assert retrained.test is not None
    assert (retrained.trial.trial_id, retrained.test.split) == ("0000", "test")
    assert retrained.checkpoint == run.winner / "checkpoints" / "best"
    record = json.loads((run.winner / RETRAIN_JSON).read_text())
    assert record["trial_id"] == "0000"
    assert record["test"] == json.loads(json.dumps(retrained.test.to_json()))
    again = retrained_trial(run, retrained.trial)
    assert again is not None
    assert (again.trial_id, again.status, len(again.reports)) == ("retrain", Status.COMPLETED, 1)
    assert (again.config.lr, again.config.feature_views) == (retrained.trial.config.lr, 0)
    assert CheckpointState.read(run.winner / "checkpoints" / "best").metrics_version == 1, "as the run began"
    assert not (run.winner / "older").exists()
    assert list(run.root.glob(".*.new")) == []


def test_the_retrained_winner_is_whole_and_needs_no_weights_file(
    run: RunFolder, trial: Trial, digits: Path, cache_dir: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "weights.safetensors"
    save_file(bare_model("test_efficientnet", 3).state_dict(), weights)
    settings: dict[str, Any] = {"architecture": "test_efficientnet", "weights": str(weights), "batch_size": 128}
    data = {"root": digits, "image_size": 32, "resize_mode": "squash"}
    Ledger(run).write_trial(trial("0000", [0.5], Status.COMPLETED, data=data, **settings, epochs=1, strategy="head"))
    searched_on(run, digits, cache_dir)
    retrain_winner(run.root)
    checkpoints = run.winner / "checkpoints"
    assert set(load_file(checkpoints / "last" / "model.safetensors")) == {"classifier.weight", "classifier.bias"}
    whole = load_file(checkpoints / "best" / "model.safetensors")
    assert whole.keys() == bare_model("test_efficientnet", 10).state_dict().keys()
    weights.unlink()
    exported = export_winner(run.root)
    timm_weights = load_file(exported.bundle.model.parent / "timm" / "model.safetensors")
    torch.testing.assert_close(timm_weights, whole, rtol=0, atol=0)
    assert evaluate_trials(run.root, split="test").evaluation.split == "test"


def test_train_and_val_are_trained_on_to_the_epoch_that_was_best(
    run: RunFolder, trial: Trial, digits: Path, cache_dir: Path
) -> None:
    settings: dict[str, Any] = {"architecture": "test_efficientnet", "weights": "none", "batch_size": 128, "epochs": 3}
    data = {"root": digits, "image_size": 32, "resize_mode": "squash"}
    searched_on(run, digits, cache_dir)
    best_in_the_middle = trial("0000", [0.4, 0.6, 0.5], Status.COMPLETED, data=data, patience=1, **settings)
    Ledger(run).write_trial(best_in_the_middle)
    Ledger(run).write_trial(trial("0001", [0.9], Status.COMPLETED, data=data, **{**settings, "epochs": 1}))
    epochs: list[int] = []
    both = TrainedOn.TRAIN_AND_VAL
    retrained = retrain_winner(run.root, lambda report: epochs.append(report.epoch), None, best_in_the_middle, both)
    assert epochs == [1, 2]
    state = CheckpointState.read(run.winner / "checkpoints" / "best")
    assert (len(state.reports), state.config.data.train_on, state.config.epochs) == (2, both, 3)
    listed = open_configured(state.config.data, cache_dir)
    assert set(listed.splits["train"]) == {*open_dataset(digits).splits["train"], *listed.splits["val"]}
    record = json.loads((run.winner / RETRAIN_JSON).read_text())
    assert (record["trial_id"], record["on"], record["is_chosen"]) == ("0000", "train+val", True)
    assert retrained.test.split == "test"
    assert run_winner(run).trial_id == "0000", "chosen, though 0001 is the first of the leaderboard"
    exported = export_winner(run.root)
    assert exported.origin == "trial 0000, retrained on train+val"
    assert exported.bundle.calibration is None
    ((remark,), none) = (evaluate_trials(run.root, split=split).remarks for split in ("val", "test"))
    assert (remark.partition(";")[0], none) == ("--split val: its images were trained on", ())
    with pytest.raises(InvalidInput, match=r"--variant: is judged on images that were not trained on"):
        export_winner(run.root, None, WantedVariants((Variant.FP16,)))
    photo = next((digits / "train").rglob("*.png"))
    added = shutil.copy(photo, photo.with_name("added.png"))
    try:
        with pytest.raises(
            InvalidInput, match=r"proven on the images that the model was trained with, but train or val"
        ):
            export_winner(run.root)
    finally:
        added.unlink()


def test_a_trial_that_follows_val_cannot_be_trained_on_it(run: RunFolder, trial: Trial, digits: Path) -> None:
    data = {"root": digits, "image_size": 32}
    Ledger(run).write_trial(trial("0000", [0.5], Status.COMPLETED, data=data, scheduler="plateau"))
    with pytest.raises(InvalidInput, match=r"0000 must be trained without a look at val, got the scheduler plateau"):
        retrain_winner(run.root, on=TrainedOn.TRAIN_AND_VAL)


def test_a_trial_of_folds_becomes_one_model_on_all_images(
    run: RunFolder, trial: Trial, cache_dir: Path, tmp_path: Path
) -> None:
    """Also without a test split: each image has been measured by a head that had not seen it."""
    write_digits(tmp_path / "digits", keep={**dict.fromkeys(range(10), 0.0), 0: 0.2, 1: 0.2, 2: 0.2})
    weights = tmp_path / "weights.safetensors"
    save_file(bare_model("test_efficientnet", 3).state_dict(), weights)
    settings: dict[str, Any] = {"architecture": "test_efficientnet", "weights": str(weights), "batch_size": 128}
    data = {"root": tmp_path / "digits", "image_size": 32, "resize_mode": "squash", "folds": 5, "test": "none"}
    Ledger(run).write_trial(trial("0000", [0.4, 0.6, 0.5], Status.COMPLETED, data=data, **settings, epochs=3))
    config = DataConfig.model_validate(data)
    Ledger(run).update_run(fingerprint=load_arrays(config, cache_dir).fingerprints.trained)
    for refused in (lambda: export_winner(run.root), lambda: evaluate_trials(run.root, split="val")):
        with pytest.raises(InvalidInput, match=r"one head for each of 5 folds; train it on all images: `thaw retrain"):
            refused()
    with pytest.raises(InvalidInput, match=r"--on: must be train\+val for a trial of 5 folds"):
        retrain_winner(run.root, on=TrainedOn.TRAIN)
    epochs: list[int] = []
    retrained = retrain_winner(run.root, lambda report: epochs.append(report.epoch))
    assert epochs == [1, 2], "to the epoch with the best mean"
    assert (retrained.test, retrained.on) == (None, TrainedOn.TRAIN_AND_VAL)
    record = json.loads((run.winner / RETRAIN_JSON).read_text())
    assert (record["on"], record["test"]) == ("train+val", None)
    with pytest.raises(InvalidInput, match=r"--split must be one of train, val, got 'test'.*; val was trained on too"):
        evaluate_trials(run.root)
    exported = export_winner(run.root)
    assert (exported.origin, exported.on) == ("trial 0000, retrained on train+val", TrainedOn.TRAIN_AND_VAL)
    card = (run.export / "model_card.md").read_text()
    assert "training images" in card
    assert "the mean of 5 folds, each measured by a head that had not seen it" in card
    assert "no test images have measured it" in card
