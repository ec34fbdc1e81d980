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
from trainables.task import classification
from trainables.task.evaluation import evaluate_logits
from trainables.task.inference import predict_logits

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
    image = next((config.data.root / "test").rglob("*.png"))
    Image.new("RGB", (32, 32)).save(image)
    with pytest.raises(InvalidInput, match=r"data set must be the one that was trained on, but .* has changed since; "):
        evaluate_checkpoint(folders.best, "val", folders.cache)


def test_every_metric_of_known_logits() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    chances = np.array([[8, 1, 1], [8, 1, 1], [1, 8, 1], [8, 1, 1], [1, 1, 8], [1, 8, 1]]) / 10
    found = evaluate_logits(np.log(chances), labels, ("a", "b", "c", "absent")[:3], "val")
    assert found.metrics["accuracy"] == pytest.approx(4 / 6)
    assert found.top_k == {"1": pytest.approx(4 / 6)}
    assert found.calibration_error == pytest.approx(0.8 - 4 / 6)
    assert found.confusion == [[2, 0, 0], [1, 1, 0], [0, 1, 1]]
    low, high = found.intervals["accuracy"]
    assert 1 / 3 <= low < 4 / 6 < high <= 1
    assert found.recall_intervals["a"] == (1, 1)
    assert found.scalars() == {**found.metrics, "calibration_error": found.calibration_error}
    wide = evaluate_logits(
        np.log(np.tile([0.4, 0.2, 0.2, 0.1, 0.05, 0.05], (4, 1))), np.array([0, 1, 2, 3]), "abcdef", "val"
    )
    assert wide.top_k == {"1": 0.25, "3": 0.75, "5": 1.0}
    assert list(wide.scalars())[4:] == ["top_3_accuracy", "top_5_accuracy", "calibration_error"]
    assert wide.recall_intervals["f"] is None
    assert json.loads(json.dumps(wide.to_json(), allow_nan=False))["intervals"].keys() == found.intervals.keys()


def test_field_names_of_json_are_frozen() -> None:
    found = evaluate_logits(np.eye(2), np.array([0, 1]), ("a", "b"), "val").to_json()
    assert list(found) == [
        "split",
        "classes",
        "metrics",
        "top_k",
        "calibration_error",
        "per_class",
        "confusion",
        "intervals",
        "recall_intervals",
    ]
    assert list(found["intervals"]) == ["accuracy", "balanced_accuracy", "macro_f1"]
    assert json.loads(json.dumps(found))["recall_intervals"] == {"a": [1.0, 1.0], "b": [1.0, 1.0]}


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
        split = load_arrays(config.data, cache, ["test"]).splits["test"]
        votes.append(predict_logits(model, split, state.mean, state.std, torch.device("cpu")))
    voted = evaluate_checkpoints(checkpoints, "test", cache)
    expected = classification.metrics(classification.soft_vote(votes), split.labels)
    assert voted.metrics == pytest.approx(expected, rel=1e-6)
    # The log of a mean is at least the mean of the logs.
    alone = [evaluate_checkpoint(checkpoint, "test", cache).metrics["loss"] for checkpoint in checkpoints]
    assert voted.metrics["loss"] <= np.mean(alone)
    assert evaluate_checkpoint(checkpoints[0], "test", cache) == evaluate_checkpoints(checkpoints[:1], "test", cache)

    views = evaluate_checkpoint(checkpoints[0], "test", cache, "flip")
    assert views == evaluate_checkpoint(checkpoints[0], "test", cache, "flip")
    assert not math.isclose(views.metrics["loss"], alone[0])

    spoil(checkpoints[1], fingerprint="0" * 64)
    with pytest.raises(InvalidInput, match=r"the same images, got fingerprint \w{12} in .* and 000000000000 in"):
        evaluate_checkpoints(checkpoints, "test", cache)
    spoil(checkpoints[1], classes=["0", "1", "9"])
    with pytest.raises(InvalidInput, match=r"must have the same classes, got 0, 1, 2 in .* and 0, 1, 9 in .*; choose"):
        evaluate_checkpoints(checkpoints, "test", cache)
    with pytest.raises(InvalidInput, match="must be one or more, got none"):
        evaluate_checkpoints([], "test", cache)


def spoil(checkpoint: Path, **fields: object) -> None:
    path = checkpoint / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
