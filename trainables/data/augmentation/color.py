"""Changes of color, each image by its own amount: images (n, 3, s, s) in [0, 1], one number an image.

What each computes is torchvision's function of the same name (`torchvision.transforms.v2.functional`), which takes one
number for the whole batch.
"""

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from trainables.data.augmentation.geometry import Floats

_LUMA = (0.299, 0.587, 0.114)


def jitter(images: Tensor, factors: Floats) -> Tensor:
    """Brightness, contrast and saturation, in this order, by factors (n, 3)."""
    images = adjust_brightness(images, factors[:, 0])
    images = adjust_contrast(images, factors[:, 1])
    return adjust_saturation(images, factors[:, 2])


def adjust_brightness(images: Tensor, factors: Floats) -> Tensor:
    """Scale the image; 0 is black."""
    return (images * _per_image(factors, images)).clamp(0, 1)


def adjust_contrast(images: Tensor, factors: Floats) -> Tensor:
    """Scale the distance to the mean gray; 0 is that gray everywhere."""
    return _blend(_gray(images).mean(dim=(2, 3), keepdim=True), images, factors)


def adjust_saturation(images: Tensor, factors: Floats) -> Tensor:
    """Scale the distance to the gray image; 0 is gray."""
    return _blend(_gray(images), images, factors)


def adjust_sharpness(images: Tensor, factors: Floats) -> Tensor:
    """Scale the distance to the smoothed image; 0 is smooth, the outermost pixels stay."""
    # The kernel has 5 in the middle, 1 around it, over 13: a mean of nine and the middle once more.
    smooth = images.clone()
    around = torch.nn.functional.avg_pool2d(images, kernel_size=3, stride=1)
    smooth[:, :, 1:-1, 1:-1] = (9 * around + 4 * images[:, :, 1:-1, 1:-1]) / 13
    return _blend(smooth, images, factors)


def posterize(images: Tensor, bits: Floats) -> Tensor:
    """Keep so many bits of each channel, 1 to 8."""
    levels = _per_image(2.0**bits, images)
    return torch.minimum((images * levels).floor(), levels - 1) / levels


def solarize(images: Tensor, thresholds: Floats) -> Tensor:
    """Invert what is at the threshold or above."""
    return torch.where(images >= _per_image(thresholds, images), 1 - images, images)


def autocontrast(images: Tensor) -> Tensor:
    """Stretch each channel to the whole range; a channel of one value stays."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    flat = low == high
    low, scale = low.masked_fill(flat, 0), (high - low).masked_fill(flat, 1)
    return ((images - low) / scale).clamp(0, 1)


def equalize(images: Tensor) -> Tensor:
    """Give every gray level of a channel about as many pixels, on 256 levels."""
    levels: Tensor = functional.equalize((images * 255).round().to(torch.uint8))
    return levels.to(images.dtype) / 255


def _per_image(values: Floats, images: Tensor) -> Tensor:
    return torch.from_numpy(values).to(images.device, images.dtype)[:, None, None, None]


def _blend(other: Tensor, images: Tensor, factors: Floats) -> Tensor:
    return (other + (images - other) * _per_image(factors, images)).clamp(0, 1)


def _gray(images: Tensor) -> Tensor:
    red, green, blue = images.unbind(dim=1)
    return (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue)[:, None]
