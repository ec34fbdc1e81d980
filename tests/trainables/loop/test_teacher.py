"""Distillation: what a teacher says of the training images, and a student that learns it."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from search_spaces.errors import InvalidInput
from trainables.bundle.export import export_bundle
from trainables.bundle.predict import Predictor
from trainables.config import TrialConfig
from trainables.data.arrays import Arrays, load_arrays
from trainables.data.fingerprint import Fingerprints
from trainables.data.node_cache import NodeCache
from trainables.data.preprocess import Preprocessing
from trainables.loop.checkpoint import load_trained
from trainables.loop.learner import Learner
from trainables.loop.teacher import foreign_teacher_remark, teacher_outputs
from trainables.loop.train import train
from trainables.storage.folders import TrialFolders
from trainables.task.inference import predict_outputs

pytestmark = pytest.mark.usefixtures("one_thread")

Config = Callable[..., TrialConfig]


def arrays_of(config: TrialConfig, cache: Path) -> Arrays:
    return load_arrays(config.data, cache)


@pytest.fixture(scope="module")
def taught(few_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose exported winner has the classes in another order, and sees other pixels than its students."""
    root = tmp_path_factory.mktemp("taught")
    torch.manual_seed(0)
    labels = sorted((path.name for path in (few_digits / "train").iterdir()), reverse=True)
    model = timm.create_model("test_resnet", pretrained=False, num_classes=len(labels))
    way = Preprocessing(48, "crop", (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    photos = [(path.name, path.read_bytes()) for path in sorted((few_digits / "val").glob("*/*"))[:12]]
    calibrate = {"temperature": 2.0}
    export_bundle(
        model, labels, way, {"architecture": "x"}, "f", photos, root / "export", calibrate=lambda _: calibrate
    )
    return root


def test_it_says_what_predict_says_and_is_asked_once(
    taught: Path, trial_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = trial_config(teacher=str(taught))
    arrays, cache = arrays_of(config, tmp_path), NodeCache(tmp_path)
    found = teacher_outputs(config, arrays, cache)
    dataset = arrays.dataset
    samples = dataset.splits["train"]
    assert found is not None
    assert found.shape == (len(samples), len(dataset.classes))
    for row in (0, len(samples) - 1):
        said = Predictor.open(taught / "export" / "model.onnx").predict_bytes(
            [(samples[row].path, dataset.read(samples[row]))], top=len(dataset.classes)
        )
        chances = np.exp(found[row]) / np.exp(found[row]).sum()
        expected = dict(said[0].top)
        np.testing.assert_allclose(chances, [expected[name] for name in dataset.classes], rtol=1e-4)
    monkeypatch.setattr(Predictor, "logits", None)
    file = str(taught / "export" / "model.onnx")
    np.testing.assert_array_equal(teacher_outputs(trial_config(teacher=file), arrays, cache), found)
    monkeypatch.undo()
    # Without room in the cache it is asked by each trial.
    np.testing.assert_array_equal(teacher_outputs(config, arrays, NodeCache(tmp_path / "none", budget=10)), found)


def test_another_model_under_the_same_path_is_asked_anew(taught: Path, trial_config: Config, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(taught, run)
    config = trial_config(teacher=str(run))
    arrays, cache = arrays_of(config, tmp_path), NodeCache(tmp_path)
    before = np.array(teacher_outputs(config, arrays, cache))
    model = run / "export" / "model.onnx"
    other = timm.create_model("test_resnet", pretrained=False, num_classes=len(arrays.dataset.classes))
    way = Preprocessing(32, "crop", (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    photo = [("one", arrays.dataset.read(arrays.dataset.splits["val"][0]))]
    export_bundle(other, arrays.dataset.classes, way, {}, "f", photo, model.parent)
    assert not np.allclose(teacher_outputs(config, arrays, cache), before)


def test_a_student_learns_what_the_teacher_says(taught: Path, trial_config: Config, tmp_path: Path) -> None:
    """The teacher is random: its answers are not the labels."""
    settings = {"strategy": "full", "lr": 3e-3, "epochs": 12, "scheduler": "constant"}
    agreed = []
    for number, own in enumerate(({}, {"teacher": str(taught), "teacher_weight": 1.0})):
        config, folder = trial_config(**settings, **own), tmp_path / str(number)
        folders = TrialFolders(folder / "checkpoints", folder / "predictions.parquet", tmp_path / "cache")
        assert len(list(train(config, folders))) == 12
        model, state = load_trained(folders.last)
        arrays = arrays_of(config, folders.cache)
        said = predict_outputs(model, arrays.splits["train"], state.mean, state.std, torch.device("cpu"))
        taught_config = trial_config(teacher=str(taught))
        teacher = teacher_outputs(taught_config, arrays, NodeCache(folders.cache))
        agreed.append(float((said.argmax(axis=1) == teacher.argmax(axis=1)).mean()))
    assert agreed[1] > agreed[0] + 0.2, agreed


def test_a_teacher_that_may_know_the_images_of_val_is_remarked_upon(taught: Path) -> None:
    file = taught / "export" / "model.onnx"
    teacher = Predictor.open(file)
    own, other = (Fingerprints(trained, None, "s") for trained in ("f", "g"))
    assert foreign_teacher_remark(file, teacher, own) is None
    assert "was trained on other images, and those of val may be among them" in str(
        foreign_teacher_remark(file, teacher, other)
    )
    both = replace(teacher, config={"data": {"train_on": "train+val"}})
    assert "was trained on train and val: the scores of its students may be too high" in str(
        foreign_teacher_remark(file, both, own)
    )


def test_a_folder_without_a_model_and_other_classes_are_refused(
    taught: Path, trial_config: Config, tmp_path: Path
) -> None:
    config = trial_config(teacher=str(tmp_path))
    arrays, cache = arrays_of(config, tmp_path / "cache"), NodeCache(tmp_path / "cache")
    with pytest.raises(InvalidInput, match=r"teacher: must be a run with an exported winner.*export it: `thaw export"):
        teacher_outputs(config, arrays, cache)
    with pytest.raises(InvalidInput, match=r"teacher: .*missing.onnx: no such model"):
        teacher_outputs(trial_config(teacher=str(tmp_path / "missing.onnx")), arrays, cache)
    photo = [("one", arrays.dataset.read(arrays.dataset.splits["val"][0]))]
    way = Preprocessing(32, "crop", (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    labels = [*arrays.dataset.classes[1:], "cat"]
    model = timm.create_model("test_resnet", pretrained=False, num_classes=len(labels))
    export_bundle(model, labels, way, {}, "f", photo, tmp_path / "export")
    with pytest.raises(InvalidInput, match=rf"got none of {arrays.dataset.classes[0]} and also cat; take a model"):
        Learner(config, arrays, cache)
