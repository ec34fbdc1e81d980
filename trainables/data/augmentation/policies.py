"""Random changes to training images, on whole batches, on the trial's device.

Each image's change is a function of (seed, epoch, sample index): the same in any batch, on any rank, after any restart.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from search_spaces.errors import InvalidInput, one_of
from trainables.data.augmentation.color import jitter
from trainables.data.augmentation.geometry import Floats, affine_maps, perspectives, resample, rotations
from trainables.data.augmentation.trivial import trivial_augment
from trainables.data.sample_random import Stream, draws

_MAX_RATIO = 4 / 3


@dataclass(frozen=True)
class Policy:
    """Limits of a policy. Every policy mirrors half of the images."""

    min_area: float
    """Smallest share of the image's area that a random resized crop keeps, in (0, 1]."""

    max_angle: float
    """Largest rotation to either side, in degrees."""

    jitter: float
    """Brightness, contrast and saturation are scaled by a factor within 1 +- this."""

    perspective: float = 0
    """Limit of a corner's inward shift, as a share of half a side: torchvision's `distortion_scale`, in [0, 0.5]."""

    perspective_probability: float = 0
    """The share of the images that are seen in perspective."""


POLICIES: Mapping[str, Policy] = {
    "light": Policy(min_area=0.9, max_angle=5, jitter=0.1),
    "medium": Policy(min_area=0.8, max_angle=10, jitter=0.2, perspective=0.2, perspective_probability=0.3),
    "strong": Policy(min_area=0.7, max_angle=20, jitter=0.4, perspective=0.5, perspective_probability=0.5),
}
"""The policies with a strength; `none` and `trivial` (TrivialAugment) are the others."""

_NAMES = ("none", *POLICIES, "trivial")


@torch.no_grad()
def augment(images: Tensor, policy: str, seed: int, epoch: int, indices: npt.NDArray[np.int64]) -> Tensor:
    """Change each image by its own draw; float (n, 3, s, s) in [0, 1], on any device.

    `indices` (n,) are the images' positions in the training split. Crop, rotation, mirroring and perspective are one
    bilinear resampling (edges reflected); brightness, contrast and saturation follow, in this order, as in torchvision.
    `none` returns the images as they are; `trivial` changes each by one operation. Raises InvalidInput for an unknown
    policy.
    """
    if policy not in _NAMES:
        raise InvalidInput(f"augmentation: {one_of(policy, _NAMES)}")
    if policy == "none":
        return images
    if policy == "trivial":
        return trivial_augment(images, draws(seed, epoch, indices, 4, Stream.AUGMENT))
    limits = POLICIES[policy]
    uniform = draws(seed, epoch, indices, 18, Stream.AUGMENT)
    images = resample(images, _crops(uniform[:, :6], limits) @ _perspectives(uniform[:, 9:], limits))
    return jitter(images, 1 + limits.jitter * (2 * uniform[:, 6:9] - 1))


def _crops(uniform: Floats, limits: Policy) -> Floats:
    """Maps (n, 3, 3) of crop, rotation and mirroring, of six draws an image."""
    mirror, area, ratio, x, y, angle = uniform.T
    area = limits.min_area + (1 - limits.min_area) * area
    # Width / height of the crop, uniform in the logarithm, within what fits into the image.
    bound = np.log(np.minimum(_MAX_RATIO, 1 / area))
    ratio = np.exp(bound * (2 * ratio - 1))
    width, height = np.sqrt(area * ratio), np.sqrt(area / ratio)
    sign = np.where(mirror < 0.5, -1.0, 1.0)
    scale = np.stack([sign * width, height], axis=1)
    shift = np.stack([(1 - width) * (2 * x - 1), (1 - height) * (2 * y - 1)], axis=1)
    return affine_maps(rotations(limits.max_angle * (2 * angle - 1)) * scale[:, None, :], shift)


def _perspectives(uniform: Floats, limits: Policy) -> Floats:
    """Maps (n, 3, 3) of the perspective, of nine draws an image; for those that are left as they are, the identity."""
    inwards = limits.perspective * uniform[:, 1:].reshape(-1, 4, 2)
    seen = uniform[:, 0] < limits.perspective_probability
    return perspectives(np.where(seen[:, None, None], inwards, 0.0))
