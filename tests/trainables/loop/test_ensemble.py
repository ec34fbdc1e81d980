from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig
from trainables.data.arrays import load_arrays
from trainables.loop.checkpoint import load_trained
from trainables.loop.ensemble import load_ensemble
from trainables.loop.evaluate_checkpoints import evaluate_checkpoints
from trainables.loop.train import train
from trainables.storage.folders import TrialFolders
from trainables.task.classification import CLASSIFICATION
from trainables.task.inference import predict_outputs

pytestmark = pytest.mark.usefixtures("one_thread")

Folders = Callable[[str], TrialFolders]


def checkpoint(config: TrialConfig, folders: TrialFolders) -> Path:
    list(train(config, folders))
    return folders.best


def test_one_model_votes_as_its_members_do_each_with_its_own_normalization(
    few_digits: Path, trial_config: Callable[..., TrialConfig], trial_folders: Folders
) -> None:
    data = {"root": few_digits, "image_size": 32}
    members = [
        checkpoint(trial_config(data=data, seed=1, epochs=1), trial_folders("one")),
        checkpoint(trial_config(data=data, normalization="dataset", epochs=1), trial_folders("two")),
    ]
    states = [load_trained(member)[1] for member in members]
    assert states[0].mean != states[1].mean
    model, state = load_ensemble(members)
    assert (state.mean, state.config.seed) == (states[0].mean, 1)
    cache = trial_folders("one").cache
    images = load_arrays(state.config.data, cache, ["val"]).splits["val"]
    outputs = predict_outputs(model, images, state.mean, state.std, torch.device("cpu"))
    measured = evaluate_checkpoints(members, "val", cache)
    labels = load_arrays(state.config.data, cache, ["val"]).dataset.labels("val")
    found = CLASSIFICATION.measure(outputs, labels, state.metrics_version)
    assert found["loss"] == pytest.approx(measured.metrics["loss"], rel=1e-4)
    np.testing.assert_allclose(np.exp(outputs).sum(axis=1), 1, rtol=1e-4)


def test_members_of_other_pixels_are_refused(
    few_digits: Path, trial_config: Callable[..., TrialConfig], trial_folders: Folders
) -> None:
    members = [
        checkpoint(trial_config(data={"root": few_digits, "image_size": size}, epochs=1), trial_folders(str(size)))
        for size in (32, 40)
    ]
    with pytest.raises(InvalidInput, match=r"must see the same pixels, got 32 px.* and 40 px.*; choose trials of one"):
        load_ensemble(members)
