import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from sklearn.metrics import f1_score
from torch import nn

from search_spaces.errors import InvalidInput
from trainables import evaluate
from trainables.config import TrialConfig
from trainables.data.arrays import Split
from trainables.data.preprocess import Preprocessing
from trainables.data.readers import Sample
from trainables.folders import TrialFolders
from trainables.train import train

pytestmark = pytest.mark.usefixtures("one_thread")

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)


def noise(count: int, size: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def test_the_input_is_that_of_predict(tmp_path: Path) -> None:
    images = noise(1)
    Image.fromarray(images[0]).save(tmp_path / "image.png")
    preprocess = Preprocessing(image_size=8, resize_mode="squash", mean=MEAN, std=STD)
    served = preprocess((tmp_path / "image.png").read_bytes(), "image.png")
    ours = evaluate.to_input(images, MEAN, STD, torch.device("cpu"))
    torch.testing.assert_close(ours[0], torch.from_numpy(served))


class Means(nn.Module):
    """Logits are the channel means; remembers how it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert not self.training
        assert torch.is_inference_mode_enabled()
        self.sizes.append(len(images))
        return images.mean(dim=(2, 3))


def test_logits_of_every_image_in_order_whatever_the_batches() -> None:
    images = noise(300)
    model = Means().train()
    logits = evaluate.predict_logits(model, Split(images, np.zeros(300, np.int64)), MEAN, STD, torch.device("cpu"))
    assert model.sizes == [128, 128, 44]
    assert logits.dtype == np.float32
    expected = (images.mean(axis=(1, 2)) / 255 - MEAN) / STD
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_predictions_name_what_was_seen_and_said(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "predictions.parquet"
    samples = [Sample("val/a/1.png", 0), Sample("val/path/ü.png", 1)]
    logits = np.array([[0.0, 2.0], [1.0, 1.0]], dtype=np.float32)
    evaluate.write_predictions(path, samples, ("a", "path"), logits)
    table = pq.read_table(path).to_pydict()
    assert list(table) == ["path", "label", "predicted", "p(a)", "p(path)"]
    assert table["path"] == ["val/a/1.png", "val/path/ü.png"]
    assert (table["label"], table["predicted"]) == (["a", "path"], ["path", "a"])
    assert table["p(path)"] == pytest.approx([1 / (1 + np.exp(-2)), 0.5])
    assert [file.name for file in path.parent.iterdir()] == [path.name]


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
    measured = evaluate.evaluate_checkpoint(folders.best, "val", folders.cache)
    assert {f"val/{name}": value for name, value in measured.metrics.items()} == {
        name: value for name, value in report["metrics"].items() if name.startswith("val/")
    }
    table = pq.read_table(folders.predictions).to_pydict()
    assert f1_score(table["label"], table["predicted"], average="macro") == measured.metrics["macro_f1"]

    test = evaluate.evaluate_checkpoint(folders.best, "test", folders.cache)
    assert test.classes == ("0", "1", "2")
    assert [sum(row) for row in test.confusion] == [test.per_class[name]["support"] for name in test.classes]
    assert json.loads(json.dumps(test.to_json()))["split"] == "test"


def test_a_split_that_is_not_there_and_data_that_has_changed(trained: tuple[TrialConfig, TrialFolders]) -> None:
    config, folders = trained
    with pytest.raises(InvalidInput, match="split must be one of train, val, test, got 'holdout'"):
        evaluate.evaluate_checkpoint(folders.best, "holdout", folders.cache)
    image = next((config.data.root / "test").rglob("*.png"))
    Image.fromarray(noise(1, 32)[0]).save(image)
    with pytest.raises(InvalidInput, match=r"data set must be the one that was trained on, but .* has changed since; "):
        evaluate.evaluate_checkpoint(folders.best, "val", folders.cache)
