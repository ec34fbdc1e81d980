import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig
from trainables.estimate.phase_cost import measure_phase, sample_images
from trainables.model.build import build_model
from trainables.model.stages import stage_table

Config = Callable[..., TrialConfig]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    monkeypatch.setattr("trainables.estimate.phase_cost.LEAST_SECONDS", 0.1)


# Images in folders are not copied.
CACHE = Path("unused")


def test_a_sample_is_spread_over_the_classes_and_counts_the_whole(trial_config: Config) -> None:
    data = trial_config().data
    sample = sample_images(data, 20, CACHE)
    assert sample.counts == {"train": 81, "val": 18, "test": 18}
    assert {name: len(split) for name, split in sample.arrays.splits.items()} == {"train": 20, "val": 18}
    train = sample.arrays.splits["train"]
    assert set(sample.arrays.dataset.labels("train")) == {0, 1, 2}
    assert isinstance(train.images, np.ndarray)
    assert train.images.shape == (20, 32, 32, 3)
    assert sample.decode > 0


def test_a_sample_leaves_out_bad_images_where_they_are_skipped(trial_config: Config, tmp_path: Path) -> None:
    data = trial_config().data
    shutil.copytree(data.root, tmp_path / "digits")
    bad = sorted((tmp_path / "digits" / "train").rglob("*.png"))[0]
    bad.write_bytes(b"not an image")
    moved = data.model_copy(update={"root": tmp_path / "digits"})
    assert len(sample_images(moved.model_copy(update={"on_bad_image": "skip"}), 20, CACHE).arrays.splits["train"]) == 19
    with pytest.raises(InvalidInput, match="image must be complete"):
        sample_images(moved, 20, CACHE)


@pytest.mark.parametrize("stages", [0, 1, "all"])
def test_a_phase_is_measured_as_it_is_trained(trial_config: Config, stages: int | str, cache_dir: Path) -> None:
    before = sorted(cache_dir.rglob("*"))
    config = trial_config(strategy="gradual", last_stage_epoch=1, full_after=1, epochs=3, balance="sampler", patience=1)
    cost = measure_phase(config, stages, sample_images(config.data, 64, CACHE), threads=1)  # type: ignore[arg-type]
    model = build_model(config, 3)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    trainable = stage_table(model).trainable(stages)  # type: ignore[arg-type]
    assert cost.parameters == sum(sizes.values())
    assert cost.trainable == sum(sizes[name] for name in trainable)
    assert (cost.features is None) == (stages == "all")
    for seconds in (cost.start, cost.image, cost.validation, cost.checkpoint):
        assert 0 < seconds < 60
    assert cost.memory >= cost.baseline > 0
    assert cost.notes == ()
    assert sorted(cache_dir.rglob("*")) == before


def test_without_fixed_views_a_frozen_phase_is_measured_on_images(trial_config: Config) -> None:
    config = trial_config(strategy="head", augmentation="light")
    sample = sample_images(config.data, 64, CACHE)
    assert measure_phase(config, 0, sample, threads=1).features is None
    views = trial_config(strategy="head", augmentation="light", feature_views=2)
    assert measure_phase(views, 0, sample, threads=1).features is not None


def test_what_cannot_be_built_says_so(trial_config: Config) -> None:
    config = trial_config(architecture="resnet_18")
    with pytest.raises(InvalidInput, match="did you mean resnet18"):
        measure_phase(config, "all", sample_images(config.data, 16, CACHE), threads=1)
    config = trial_config(strategy="partial", trainable_stages=50)
    with pytest.raises(InvalidInput, match="trainable_stages must be below"):
        measure_phase(config, 50, sample_images(config.data, 16, CACHE), threads=1)
