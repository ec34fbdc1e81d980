import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.metrics import f1_score

from trainables.config import TrialConfig
from trainables.data.arrays import load_arrays, open_used
from trainables.data.node_cache import NodeCache
from trainables.estimate.linear_probe import linear_probe
from trainables.loop.learner import Learner
from trainables.loop.train import train
from trainables.model.build import bare_model
from trainables.storage.folders import TrialFolders
from trainables.task.classification_scores import metrics
from trainables.task.inference import predict_outputs


@pytest.fixture
def config(digits: Path) -> TrialConfig:
    return TrialConfig.model_validate(
        {
            "data": {"root": digits, "image_size": 32, "resize_mode": "squash"},
            "architecture": "test_efficientnet",
            "weights": "none",
            "seed": 3,
            "balance": "loss",
            # None of this has a say in a probe.
            "strategy": "partial",
            "trainable_stages": 1,
            "lr": 9.0,
            "epochs": 50,
            "batch_size": 7,
            "augmentation": "strong",
            "mixing": "mixup",
            "dropout": 0.5,
            "optimizer": "sgd",
        }
    )


def test_a_probe_is_the_start_of_a_head(config: TrialConfig, cache_dir: Path) -> None:
    kept = {"data": config.data, "architecture": "test_efficientnet", "weights": "none", "seed": 3, "balance": "loss"}
    trial = TrialConfig.model_validate({**kept, "strategy": "head", "head_init": "probe", "epochs": 1, "lr": 1.0})
    arrays = load_arrays(trial.data, cache_dir)
    learner = Learner(trial, arrays, NodeCache(cache_dir))
    learner.start_head()
    logits = predict_outputs(learner.model, arrays.splits["val"], learner.mean, learner.std, torch.device("cpu"))
    expected = metrics(logits, arrays.dataset.labels("val"))["macro_f1"]
    found = linear_probe(config, cache_dir)
    assert found.objective == pytest.approx(expected, abs=1e-6)
    assert found.predictions["predicted"] == [arrays.classes[label] for label in logits.argmax(axis=1)]


def test_a_probe_leaves_what_trials_find(config: TrialConfig, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    linear_probe(config, cache)
    left = sorted(path.name for path in cache.glob("*/*.npy"))
    assert {path.parent.name for path in cache.glob("*/*.npy")} == {"images", "features", "heads"}
    kept = {"data": config.data, "architecture": "test_efficientnet", "weights": "none", "seed": 3, "balance": "loss"}
    trial = TrialConfig.model_validate({**kept, "strategy": "head", "head_init": "probe", "epochs": 1, "lr": 1e-3})
    list(train(trial, TrialFolders(tmp_path / "checkpoints", tmp_path / "predictions.parquet", cache)))
    assert sorted(path.name for path in cache.glob("*/*.npy")) == left


def test_a_probe_beats_a_guess_by_any_metric(config: TrialConfig, cache_dir: Path) -> None:
    by_loss = config.model_copy(update={"objective": type(config.objective)(metric="val/loss")})
    assert linear_probe(by_loss, cache_dir).objective < np.log(10)
    assert linear_probe(config, cache_dir).objective > 0.3


def test_a_probe_of_an_older_run_leaves_out_a_class_without_images(
    config: TrialConfig, few_digits: Path, tmp_path: Path
) -> None:
    root = tmp_path / "digits"
    shutil.copytree(few_digits, root)
    shutil.rmtree(root / "val" / "2")
    data = config.data.model_copy(update={"root": root})
    settings = (config.model_copy(update={"data": data}), tmp_path / "cache", None)
    old, new = (linear_probe(*settings, version) for version in (1, 2))
    labels, predicted = (new.predictions[name] for name in ("label", "predicted"))
    assert old.objective == pytest.approx(f1_score(labels, predicted, average="macro"))
    expected = f1_score(labels, predicted, labels=["0", "1", "2"], average="macro", zero_division=0)
    assert new.objective == pytest.approx(expected)


def test_a_probe_of_folds_is_fitted_on_the_others(digits: Path, tmp_path: Path) -> None:
    """Each fold is measured by the probe of a data set whose val it is."""
    settings = {"architecture": "test_efficientnet", "strategy": "head", "epochs": 1, "lr": 1.0, "seed": 3}
    weights = tmp_path / "weights.safetensors"
    save_file(bare_model("test_efficientnet", 3).state_dict(), weights)
    data = {"root": digits, "image_size": 32, "resize_mode": "squash"}
    config = TrialConfig.model_validate({**settings, "weights": str(weights), "data": {**data, "folds": 2}})
    found = linear_probe(config, tmp_path / "cache")
    dataset = open_used(config.data, tmp_path / "cache")
    apart = []
    for fold in range(2):
        own, manifest = dataset.of_fold(fold), tmp_path / f"{fold}.csv"
        lines = [
            f"{each.path},{own.classes[each.label]},{split}" for split in ("train", "val") for each in own.splits[split]
        ]
        manifest.write_text("\n".join(["path,label,split", *lines]))
        changed = config.data.model_copy(update={"folds": None, "manifest": manifest})
        apart.append(linear_probe(config.model_copy(update={"data": changed}), tmp_path / "cache").objective)
    assert found.objective == pytest.approx(sum(apart) / 2, abs=1e-6)
    assert found.predictions["path"] == [each.path for each in dataset.splits["val"]]
