import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional

from trainables.data.augmentation import color


def images(count: int, size: int = 16) -> torch.Tensor:
    """Pictures as the image cache has them: whole grey levels."""
    levels = np.random.default_rng(0).integers(0, 256, (count, 3, size, size))
    return torch.from_numpy(levels / 255).float()


FACTORS = np.array([0.01, 0.5, 0.9, 1.0, 1.3, 1.99])

# torchvision's grey weighs 0.2989, not 0.299.
CASES = [
    (color.adjust_brightness, functional.adjust_brightness, FACTORS, 1e-6),
    (color.adjust_contrast, functional.adjust_contrast, FACTORS, 1e-3),
    (color.adjust_saturation, functional.adjust_saturation, FACTORS, 1e-3),
    (color.adjust_sharpness, functional.adjust_sharpness, FACTORS, 1e-5),
    (
        color.posterize,
        lambda image, bits: functional.posterize(image, int(bits)),
        np.array([8.0, 7, 5, 3, 2, 1]),
        1e-6,
    ),
    (color.solarize, functional.solarize, np.array([0.0, 0.2, 0.5, 0.77, 0.999, 1.0]), 1e-6),
]


@pytest.mark.parametrize(("ours", "theirs", "amounts", "tolerance"), CASES)
def test_each_agrees_with_torchvision_image_by_image(ours, theirs, amounts, tolerance):
    batch = images(len(amounts))
    result = ours(batch, amounts)
    for image, amount, got in zip(batch, amounts, result, strict=True):
        torch.testing.assert_close(got, theirs(image, amount), atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", ["autocontrast", "equalize"])
def test_those_without_an_amount_agree_with_torchvision(name):
    batch = images(4) * 0.4 + 0.2
    batch[1] = 0.25
    batch[2, 0] = 0.5
    batch = (batch * 255).round() / 255
    result = getattr(color, name)(batch)
    for image, got in zip(batch, result, strict=True):
        torch.testing.assert_close(got, getattr(functional, name)(image), atol=1e-5, rtol=0)


def test_jitter_agrees_with_torchvision():
    batch = images(5)
    factors = 0.6 + 0.8 * np.random.default_rng(1).random((5, 3))
    result = color.jitter(batch, factors)
    for image, (brightness, contrast, saturation), got in zip(batch, factors, result, strict=True):
        image = functional.adjust_brightness(image, brightness)
        image = functional.adjust_contrast(image, contrast)
        image = functional.adjust_saturation(image, saturation)
        torch.testing.assert_close(got, image, atol=2e-3, rtol=0)
