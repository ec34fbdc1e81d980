"""Random changes to training images, on whole batches, on the trial's device.

Each image's change is a function of (seed, epoch, sample index): the same in any batch, on any rank, after any restart.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from search_spaces.errors import InvalidInput, closest

# Separates this stream from the others that are keyed by (seed, epoch).
_AUGMENT_STREAM = 2

_MAX_RATIO = 4 / 3
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Policy:
    """How far a policy may go."""

    min_area: float
    """Smallest share of the image's area that a random resized crop keeps, in (0, 1]."""

    max_angle: float
    """Largest rotation to either side, in degrees."""

    jitter: float
    """Brightness, contrast and saturation are scaled by a factor within 1 +- this."""


POLICIES: Mapping[str, Policy] = {
    "light": Policy(min_area=0.85, max_angle=0, jitter=0),
    "medium": Policy(min_area=0.85, max_angle=10, jitter=0.2),
    "strong": Policy(min_area=0.7, max_angle=20, jitter=0.4),
}
"""Every policy mirrors half of the images."""


@torch.no_grad()
def augment(images: Tensor, policy: str, seed: int, epoch: int, indices: npt.NDArray[np.int64]) -> Tensor:
    """Change each image by its own draw; float (n, 3, s, s) in [0, 1], on any device.

    `indices` (n,) are the images' positions in the training split. Mirroring, rotation and crop are one bilinear
    resampling (edges reflected); brightness, contrast and saturation follow, in this order, as in torchvision.
    `none` returns the images as they are; raises InvalidInput for an unknown policy.
    """
    if policy == "none":
        return images
    if policy not in POLICIES:
        valid = ("none", *POLICIES)
        raise InvalidInput(f"augmentation: must be one of {', '.join(valid)}, got {policy!r}; {closest(policy, valid)}")
    limits = POLICIES[policy]
    uniform = draws(seed, epoch, indices, 9)
    images = _resample(images, _affine(uniform[:, :6], limits))
    return _jitter(images, 1 + limits.jitter * (2 * uniform[:, 6:] - 1)) if limits.jitter else images


def draws(seed: int, epoch: int, indices: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.float64]:
    """Uniform draws in [0, 1), shape (n, count); row i is a function of (seed, epoch, indices[i]) alone.

    SplitMix64 (Steele, Lea and Flood, 2014) with the counter set directly, so that no draw waits for another.
    """
    key = np.random.SeedSequence([seed, epoch, _AUGMENT_STREAM]).generate_state(1, np.uint64)
    columns = np.arange(1, count + 1, dtype=np.uint64)
    counter = np.asarray(indices).astype(np.uint64)[:, None] * np.uint64(count) + columns
    z = np.asarray(key + counter * np.uint64(0x9E3779B97F4A7C15), dtype=np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    uniform: npt.NDArray[np.float64] = (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return uniform


def _affine(uniform: npt.NDArray[np.float64], limits: Policy) -> npt.NDArray[np.float64]:
    """Maps (n, 2, 3) from output to input coordinates in [-1, 1], of six draws an image."""
    mirror, area, ratio, x, y, angle = uniform.T
    area = limits.min_area + (1 - limits.min_area) * area
    # Width / height of the crop, uniform in the logarithm, within what fits into the image.
    bound = np.log(np.minimum(_MAX_RATIO, 1 / area))
    ratio = np.exp(bound * (2 * ratio - 1))
    width, height = np.sqrt(area * ratio), np.sqrt(area / ratio)
    angle = np.deg2rad(limits.max_angle) * (2 * angle - 1)
    cos, sin = np.cos(angle), np.sin(angle)
    sign = np.where(mirror < 0.5, -1.0, 1.0)
    rows = [
        [sign * width * cos, -height * sin, (1 - width) * (2 * x - 1)],
        [sign * width * sin, height * cos, (1 - height) * (2 * y - 1)],
    ]
    return np.array(rows).transpose(2, 0, 1)


def _resample(images: Tensor, affine: npt.NDArray[np.float64]) -> Tensor:
    size = images.shape[-1]
    maps = torch.from_numpy(affine).to(images.device, images.dtype)[:, :, :, None, None]
    steps = (torch.arange(size, device=images.device, dtype=images.dtype) * 2 + 1) / size - 1
    # Not affine_grid: it is a matrix product, which TF32 or autocast would round to a tenth of a pixel.
    grid = maps[:, :, 0] * steps[None, None, None, :] + maps[:, :, 1] * steps[None, None, :, None] + maps[:, :, 2]
    return torch.nn.functional.grid_sample(
        images, grid.permute(0, 2, 3, 1), mode="bilinear", padding_mode="reflection", align_corners=False
    )


def _jitter(images: Tensor, factors: npt.NDArray[np.float64]) -> Tensor:
    brightness, contrast, saturation = (
        torch.from_numpy(factors).to(images.device, images.dtype).T[..., None, None, None]
    )
    images = (images * brightness).clamp(0, 1)
    mean = _grey(images).mean(dim=(2, 3), keepdim=True)
    images = (mean + (images - mean) * contrast).clamp(0, 1)
    grey = _grey(images)
    saturated: Tensor = (grey + (images - grey) * saturation).clamp(0, 1)
    return saturated


def _grey(images: Tensor) -> Tensor:
    red, green, blue = images.unbind(dim=1)
    return (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue)[:, None]
