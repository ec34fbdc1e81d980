from collections.abc import Callable
from pathlib import Path

import numpy as np

from trainables.config import TrialConfig
from trainables.data.arrays import load_arrays
from trainables.data.summary.image_sample import sample_arrays


def test_a_sample_has_each_class_in_its_share(trial_config: Callable[..., TrialConfig], cache_dir: Path) -> None:
    arrays = load_arrays(trial_config().data, cache_dir)
    sample = sample_arrays(arrays, {"train": 30, "val": 10_000})
    assert sample.splits["val"] is arrays.splits["val"]
    whole, taken = (np.bincount(each.dataset.labels("train")) for each in (arrays, sample))
    assert abs(len(sample.splits["train"]) - 30) <= len(whole)
    assert np.abs(taken / taken.sum() - whole / whole.sum()).max() < 0.05
    places = {each.path: place for place, each in enumerate(arrays.dataset.splits["train"])}
    for row, each in enumerate(sample.dataset.splits["train"]):
        own = arrays.splits["train"].images[np.array([places[each.path]])]
        assert np.array_equal(own, sample.splits["train"].images[np.array([row])])
    assert sample.fingerprints.stored != arrays.fingerprints.stored, "the caches would mix them up"
    assert sample.fingerprints == sample_arrays(arrays, {"train": 30, "val": 10_000}).fingerprints


def test_a_class_keeps_an_image(trial_config: Callable[..., TrialConfig], cache_dir: Path) -> None:
    sample = sample_arrays(load_arrays(trial_config().data, cache_dir), {"train": 2})
    assert set(sample.dataset.labels("train")) == {0, 1, 2}


def test_images_that_fit_stay_as_they_are(trial_config: Callable[..., TrialConfig], cache_dir: Path) -> None:
    arrays = load_arrays(trial_config().data, cache_dir)
    assert sample_arrays(arrays, {"train": 10_000}) is arrays


def test_with_folds_val_has_the_sample_of_train(trial_config: Callable[..., TrialConfig], cache_dir: Path) -> None:
    data = trial_config().data.model_copy(update={"folds": 2})
    arrays = load_arrays(data, cache_dir)
    sample = sample_arrays(arrays, {"train": 30, "val": 20})
    assert sample.splits["val"] is sample.splits["train"]
    assert sample.dataset.splits["val"] == sample.dataset.splits["train"]
    folds = dict(zip(arrays.dataset.splits["train"], arrays.dataset.fold_of, strict=True))
    assert sample.dataset.fold_of == tuple(folds[each] for each in sample.dataset.splits["train"])
