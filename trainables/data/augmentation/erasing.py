"""Random erasing (Zhong et al., arXiv 1708.04896): a rectangle of the image is replaced by the mean color."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainables.data.augmentation.geometry import box_masks
from trainables.data.sample_random import Stream, draws

_AREA = (0.02, 0.33)
_RATIO = (0.3, 3.3)


@torch.no_grad()
def erase(images: Tensor, probability: float, seed: int, epoch: int, indices: npt.NDArray[np.int64]) -> Tensor:
    """Set a rectangle of each image to 0 with `probability`; normalized images (n, 3, s, s), where 0 is the mean.

    The rectangle has 0.02 to 0.33 of the image's area, is 0.3 to 3.3 times as high as wide, as far as that fits, and
    lies wholly within. Each image's is a function of (seed, epoch, index); `indices` (n,) are the positions in the
    training split.
    """
    if probability == 0:
        return images
    size = images.shape[-1]
    uniform = draws(seed, epoch, indices, 5, Stream.ERASING)
    area = _AREA[0] + (_AREA[1] - _AREA[0]) * uniform[:, 1]
    # Uniform in the logarithm: as likely twice as wide as high as twice as high as wide.
    lowest, highest = np.log(np.maximum(_RATIO[0], area)), np.log(np.minimum(_RATIO[1], 1 / area))
    ratio = np.exp(lowest + (highest - lowest) * uniform[:, 2])
    sides = np.sqrt(np.stack([area / ratio, area * ratio], axis=1))
    pixels = np.clip(np.round(sides * size), 1, size).astype(np.int64)
    low = (uniform[:, 3:] * (size - pixels + 1)).astype(np.int64)
    chosen = torch.from_numpy(uniform[:, 0] < probability).to(images.device)[:, None, None, None]
    return images.masked_fill(chosen & box_masks(low, low + pixels, size, images.device), 0)
