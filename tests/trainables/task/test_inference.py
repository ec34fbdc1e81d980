from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import nn

from trainables.data.arrays import Split
from trainables.data.preprocess import Preprocessing
from trainables.task import inference
from trainables.task.classification_scores import probabilities, soft_vote

pytestmark = pytest.mark.usefixtures("one_thread")

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)


def noise(count: int, size: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def test_the_input_is_that_of_predict(tmp_path: Path) -> None:
    images = noise(1)
    Image.fromarray(images[0]).save(tmp_path / "image.png")
    preprocess = Preprocessing(image_size=8, resize_mode="squash", mean=MEAN, std=STD)
    served = preprocess((tmp_path / "image.png").read_bytes(), "image.png")
    ours = inference.to_input(torch.from_numpy(images), MEAN, STD)
    torch.testing.assert_close(ours[0], torch.from_numpy(served))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_normalising_is_the_same_in_either_layout(layout: torch.memory_format) -> None:
    images = inference.to_unit(torch.from_numpy(noise(5)))
    expected = (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    result = inference.normalize_(images.contiguous(memory_format=layout), MEAN, STD)
    torch.testing.assert_close(result, expected, rtol=0, atol=0)
    assert result.is_contiguous(memory_format=layout)


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
    logits = inference.predict_outputs(model, Split(images), MEAN, STD, torch.device("cpu"))
    assert model.sizes == [128, 128, 44]
    assert logits.dtype == np.float32
    expected = (images.mean(axis=(1, 2)) / 255 - MEAN) / STD
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_predictions_are_a_file_that_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "predictions.parquet"
    for number in (0.0, 1.0):
        inference.write_predictions(path, {"path": ["val/a/1.png", "val/path/ü.png"], "angle": np.full(2, number)})
        table = pq.read_table(path).to_pydict()
        assert table == {"path": ["val/a/1.png", "val/path/ü.png"], "angle": [number] * 2}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


class Left(nn.Module):
    """Two logits: the mean of the left half, and of the right."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        half = images.shape[-1] // 2
        return torch.stack([images[..., :half].mean(dim=(1, 2, 3)), images[..., half:].mean(dim=(1, 2, 3))], dim=1)


def test_views_are_averaged_as_probabilities() -> None:
    split, device = Split(noise(140, 16)), torch.device("cpu")

    def voted(tta: inference.Tta) -> np.ndarray:
        return soft_vote(inference.predict_views(Left(), split, MEAN, STD, device, tta))

    whole = voted("none")
    mirrored = np.stack([whole[:, 1], whole[:, 0]], axis=1)
    flipped = voted("flip")
    expected = (probabilities(whole) + probabilities(mirrored)) / 2
    np.testing.assert_allclose(probabilities(flipped), expected, atol=1e-6)
    # Every view has its mirror image, so left and right end even.
    crops = voted("flip+crops")
    np.testing.assert_allclose(probabilities(crops), 0.5, atol=1e-6)
    again = voted("flip+crops")
    assert np.array_equal(crops, again)


@pytest.mark.parametrize("size", [16, 17, 31])
def test_the_views_of_an_image(size: int) -> None:
    images = torch.rand(2, 3, size, size)
    assert [len(inference.VIEWS[name]) for name in ("none", "flip", "flip+crops")] == [1, 2, 10]
    views = [view(images) for view in inference.VIEWS["flip+crops"]]
    assert all(view.shape == images.shape for view in views)
    assert all(not torch.equal(one, other) for n, one in enumerate(views) for other in views[:n])
    assert torch.equal(views[0], images)
    for plain, mirrored in zip(views[::2], views[1::2], strict=True):
        assert torch.equal(plain.flip(-1), mirrored)
    # A corner stays where it is.
    torch.testing.assert_close(views[2][..., 0, 0], images[..., 0, 0])
    torch.testing.assert_close(views[-2][..., -1, -1], images[..., -1, -1])
