import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from trainables.bundle.pixels_model import PixelsModel
from trainables.data.preprocess import Preprocessing, ResizeMode, resize

SIZE = 32


class Means(nn.Module):
    """Logits are the means of the channels."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))


def photo(height: int, width: int, seed: int) -> np.ndarray:
    """Smooth shapes with noise, as a photo has."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (1 + height // 8, 1 + width // 8, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), dtype=int)
    return np.clip(smooth + generator.integers(-20, 21, smooth.shape), 0, 255).astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.sampled_from(["squash", "crop", "pad"]), st.integers(0, 9))
def test_the_pixels_are_those_of_pillow(height: int, width: int, mode: ResizeMode, seed: int) -> None:
    image = photo(height, width, seed)
    model = PixelsModel(Means(), Preprocessing(SIZE, mode, (0.5,) * 3, (0.25,) * 3), 1.0)
    found = model.resized(torch.from_numpy(image)).permute(1, 2, 0).numpy()
    expected = resize(Image.fromarray(image), SIZE, mode).astype(int)
    # Pillow sums in whole numbers: a sum beside a half is rounded the other way at times.
    assert np.abs(found - expected).max() <= 1
    assert np.abs(found - expected).mean() < (0.01 if min(height, width) >= SIZE else 0.1)


def test_the_softmax_has_the_temperature_and_the_input_is_normalized() -> None:
    image = photo(40, 50, 0)
    ours = Preprocessing(SIZE, "squash", (0.1, 0.2, 0.3), (0.5, 0.25, 0.125))
    found = PixelsModel(Means(), ours, 2.0)(torch.from_numpy(image))
    expected = torch.softmax(Means()(torch.from_numpy(ours.of_pixels(image))[None]) / 2.0, dim=1)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert found.sum().item() == pytest.approx(1)


def test_an_image_of_the_right_size_is_left_as_it_is() -> None:
    image = photo(SIZE, SIZE, 1)
    model = PixelsModel(Means(), Preprocessing(SIZE, "pad", (0.5,) * 3, (0.25,) * 3), 1.0)
    np.testing.assert_array_equal(model.resized(torch.from_numpy(image)).permute(1, 2, 0).numpy(), image)
