import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from sklearn.metrics import f1_score

from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig
from trainables.data.arrays import load_arrays
from trainables.loop.checkpoint import load_trained
from trainables.loop.evaluate_checkpoints import evaluate_checkpoint, evaluate_checkpoints
from trainables.loop.train import train
from trainables.storage.folders import TrialFolders
from trainables.task import classification_scores
from trainables.task.inference import predict_outputs

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def trained(
    few_digits: Path,
    tmp_path: Path,
    trial_config: Callable[..., TrialConfig],
    trial_folders: Callable[[str], TrialFolders],
) -> tuple[TrialConfig, TrialFolders]:
    root = tmp_path / "digits"
    shutil.copytree(few_digits, root)
    config, folders = trial_config(data={"root": root}), trial_folders("trial")
    list(train(config, folders))
    return config, folders


def test_a_checkpoint_measures_what_its_trial_reported(trained: tuple[TrialConfig, TrialFolders]) -> None:
    _, folders = trained
    report = json.loads((folders.best / "state.json").read_text())["reports"][-1]
    measured = evaluate_checkpoint(folders.best, "val", folders.cache)
    assert {f"val/{name}": value for name, value in measured.metrics.items()} == {
        name: value for name, value in report["metrics"].items() if name.startswith("val/")
    }
    table = pq.read_table(folders.predictions).to_pydict()
    assert f1_score(table["label"], table["predicted"], average="macro") == measured.metrics["macro_f1"]

    test = evaluate_checkpoint(folders.best, "test", folders.cache)
    assert test.classes == ("0", "1", "2")
    assert [sum(row) for row in test.confusion] == [test.per_class[name]["support"] for name in test.classes]
    assert json.loads(json.dumps(test.to_json()))["split"] == "test"


def test_a_split_that_is_not_there_and_data_that_has_changed(trained: tuple[TrialConfig, TrialFolders]) -> None:
    config, folders = trained
    with pytest.raises(InvalidInput, match="split must be one of train, val, test, got 'holdout'"):
        evaluate_checkpoint(folders.best, "holdout", folders.cache)
    before = evaluate_checkpoint(folders.best, "test", folders.cache)
    shutil.rmtree(config.data.root / "test" / "2")
    measured = []
    for version in ({}, {"metrics_version": 1}):
        spoil(folders.best, **version)
        measured.append(evaluate_checkpoint(folders.best, "test", folders.cache))
    scores = np.array([row["f1"] for row in measured[0].per_class.values()])
    occurs = np.sum(measured[0].confusion, axis=0) + np.sum(measured[0].confusion, axis=1) > 0
    assert measured[0].metrics["macro_f1"] == pytest.approx(scores.mean()), "a class that test lacks counts as 0"
    assert measured[1].metrics["macro_f1"] == pytest.approx(scores[occurs].mean()), "in an older run it does not"
    for split, kept in (("test", True), ("train", False)):
        Image.new("RGB", (32, 32)).save(next((config.data.root / split).rglob("*.png")))
        if kept:
            after = evaluate_checkpoint(folders.best, "test", folders.cache)
            assert after.fingerprint != before.fingerprint, "the two do not compare"
    with pytest.raises(InvalidInput, match=r"data set must be the one that was trained on, but .* has changed since; "):
        evaluate_checkpoint(folders.best, "val", folders.cache)


def test_several_models_vote_each_with_its_own_preprocessing(
    trial_config: Callable[..., TrialConfig], trial_folders: Callable[[str], TrialFolders]
) -> None:
    other = trial_config(epochs=1, seed=8, architecture="test_resnet", data={"image_size": 48})
    checkpoints, votes, cache = [], [], trial_folders("0").cache
    for number, config in enumerate((trial_config(epochs=1), other)):
        folders = trial_folders(str(number))
        list(train(config, folders))
        checkpoints.append(folders.best)
        model, state = load_trained(folders.best)
        arrays = load_arrays(config.data, cache, ["test"])
        votes.append(predict_outputs(model, arrays.splits["test"], state.mean, state.std, torch.device("cpu")))
    voted = evaluate_checkpoints(checkpoints, "test", cache)
    expected = classification_scores.metrics(classification_scores.soft_vote(votes), arrays.dataset.labels("test"))
    assert voted.metrics == pytest.approx(expected, rel=1e-6)
    # The log of a mean is at least the mean of the logs.
    alone = [evaluate_checkpoint(checkpoint, "test", cache).metrics["loss"] for checkpoint in checkpoints]
    assert voted.metrics["loss"] <= np.mean(alone)
    assert evaluate_checkpoint(checkpoints[0], "test", cache) == evaluate_checkpoints(checkpoints[:1], "test", cache)

    views = evaluate_checkpoint(checkpoints[0], "test", cache, "flip")
    assert views == evaluate_checkpoint(checkpoints[0], "test", cache, "flip")
    assert not math.isclose(views.metrics["loss"], alone[0])

    spoil(checkpoints[1], fingerprint="0" * 64)
    with pytest.raises(InvalidInput, match="data set must be the one that was trained on"):
        evaluate_checkpoints(checkpoints, "test", cache)
    spoil(checkpoints[1], classes=["0", "1", "9"])
    with pytest.raises(InvalidInput, match=r"must have the same classes, got 0, 1, 2 in .* and 0, 1, 9 in .*; choose"):
        evaluate_checkpoints(checkpoints, "test", cache)
    with pytest.raises(InvalidInput, match="must be one or more, got none"):
        evaluate_checkpoints([], "test", cache)


def spoil(checkpoint: Path, **fields: object) -> None:
    path = checkpoint / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
