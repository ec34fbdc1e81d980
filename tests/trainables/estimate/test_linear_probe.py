from pathlib import Path

import pytest

from trainables.config import TrialConfig
from trainables.estimate.linear_probe import RECIPE, linear_probe
from trainables.loop.train import train
from trainables.storage.folders import TrialFolders


@pytest.fixture
def config(digits: Path) -> TrialConfig:
    return TrialConfig.model_validate(
        {
            "data": {"root": digits, "image_size": 32, "resize_mode": "squash"},
            "architecture": "test_efficientnet",
            "weights": "none",
            "seed": 3,
            # None of this has a say in a probe.
            "strategy": "partial",
            "trainable_stages": 1,
            "lr": 9.0,
            "epochs": 50,
            "batch_size": 7,
            "augmentation": "strong",
            "mixing": "mixup",
            "dropout": 0.5,
            "balance": "loss",
            "optimizer": "sgd",
        }
    )


def test_a_probe_is_the_head_trial_of_its_recipe(config: TrialConfig, tmp_path: Path, cache_dir: Path) -> None:
    kept = {"data": config.data, "architecture": "test_efficientnet", "weights": "none", "seed": 3}
    trial = TrialConfig.model_validate({**kept, **RECIPE})
    reports = list(train(trial, TrialFolders(tmp_path / "checkpoints", tmp_path / "predictions.parquet", cache_dir)))
    assert linear_probe(config, cache_dir) == max(report.metrics["val/macro_f1"] for report in reports)


def test_a_probe_leaves_its_features_and_nothing_else(
    config: TrialConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    linear_probe(config, tmp_path / "cache")
    assert list((tmp_path / "cache" / "features").glob("*.npy"))
    assert list(temporary.iterdir()) == []


def test_a_loss_is_scored_by_its_smallest_value(config: TrialConfig, cache_dir: Path) -> None:
    by_loss = config.model_copy(update={"objective": type(config.objective)(metric="val/loss")})
    assert linear_probe(by_loss, cache_dir) < 2.4  # a fresh head over ten classes begins at ln 10 = 2.3, or above
