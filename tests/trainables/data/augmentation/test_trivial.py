import math

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode, functional

from trainables.data.augmentation.trivial import OPERATIONS, trivial_augment

SIZE = 32


def images(count: int) -> torch.Tensor:
    coarse = torch.from_numpy(np.random.default_rng(0).random((count, 3, 6, 6), dtype=np.float32))
    smooth = torch.nn.functional.interpolate(coarse, size=SIZE, mode="bicubic").clamp(0, 1)
    return (smooth * 255).round() / 255


def draw(operation: str, magnitude: float, sign: float = 0.9, mirror: float = 0.9) -> np.ndarray:
    return np.array([[mirror, (OPERATIONS.index(operation) + 0.5) / len(OPERATIONS), magnitude, sign]])


def affine(image, translate=(0.0, 0.0), shear=(0.0, 0.0)):
    return functional.affine(
        image, 0, list(translate), 1, [math.degrees(math.atan(s)) for s in shear], InterpolationMode.BILINEAR
    )


# Of an image and a signed magnitude, which torchvision's own TrivialAugmentWide hands to these functions.
EXPECTED = {
    "identity": lambda image, m: image,
    "shear_x": lambda image, m: affine(image, shear=(0.99 * m, 0)),
    "shear_y": lambda image, m: affine(image, shear=(0, 0.99 * m)),
    "translate_x": lambda image, m: affine(image, translate=(m * 32 / 224 * SIZE, 0)),
    "translate_y": lambda image, m: affine(image, translate=(0, m * 32 / 224 * SIZE)),
    "rotate": lambda image, m: functional.rotate(image, 135 * m, InterpolationMode.BILINEAR),
    "brightness": lambda image, m: functional.adjust_brightness(image, 1 + 0.99 * m),
    "color": lambda image, m: functional.adjust_saturation(image, 1 + 0.99 * m),
    "contrast": lambda image, m: functional.adjust_contrast(image, 1 + 0.99 * m),
    "sharpness": lambda image, m: functional.adjust_sharpness(image, 1 + 0.99 * m),
    "posterize": lambda image, m: functional.posterize(image, 8 - round(6 * abs(m))),
    "solarize": lambda image, m: functional.solarize(image, 1 - abs(m)),
    "autocontrast": lambda image, m: functional.autocontrast(image),
    "equalize": lambda image, m: functional.equalize(image),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("signed", [-0.8, -0.1, 0.35, 0.99])
def test_each_operation_is_torchvisions(operation, signed):
    image = images(1)
    # torchvision's shifts are the other way for the same sign, which is as likely as this one.
    turned = -signed if operation.startswith("translate") else signed
    result = trivial_augment(image, draw(operation, abs(signed), sign=0.9 if turned > 0 else 0.1))
    expected = EXPECTED[operation](image, signed)
    if operation in ("shear_x", "shear_y", "translate_x", "translate_y", "rotate"):
        result, expected = result[..., 12:-12, 12:-12], expected[..., 12:-12, 12:-12]
    torch.testing.assert_close(result, expected, atol=2e-3, rtol=0)


def test_there_are_the_papers_fourteen_operations():
    assert list(OPERATIONS) == list(EXPECTED)
    assert len(OPERATIONS) == 14


def test_mirroring_comes_first_and_is_exact():
    image = images(1)
    assert torch.equal(trivial_augment(image, draw("identity", 0.7, mirror=0.1)), image.flip(-1))
    assert torch.equal(trivial_augment(image, draw("identity", 0.7)), image)
