"""Mean and standard deviation of the pixels, for `normalization: dataset`."""

import math
from itertools import pairwise

import numpy as np

from trainables.data.lazy_images import LazyImages, Pixels

Channels = tuple[float, float, float]

# Memory of one step; sums of squares of so many bytes stay far below 2**64.
_CHUNK_BYTES = 2**24


def channel_stats(images: Pixels | LazyImages) -> tuple[Channels, Channels]:
    """Compute mean and standard deviation of each channel over every pixel of uint8 (n, s, s, 3), on the scale [0, 1].

    Sums are of whole numbers, so the result depends neither on chunks nor on the order of the images. A standard
    deviation below one gray level (1/255) is given as that level: a channel without contrast must not be divided by 0.
    """
    count = math.prod(images.shape[:3])
    step = max(1, _CHUNK_BYTES // math.prod(images.shape[1:]))
    sums, squares = [0, 0, 0], [0, 0, 0]
    for start, stop in pairwise([*range(0, len(images), step), len(images)]):
        chunk = images[np.arange(start, stop)]
        for channel in range(3):
            pixels = chunk[..., channel]
            sums[channel] += int(pixels.sum(dtype=np.uint64))
            squares[channel] += int(np.square(pixels, dtype=np.uint32).sum(dtype=np.uint64))
    means = [total / count / 255 for total in sums]
    stds = [
        max(1.0, ((count * square - total * total) / count**2) ** 0.5) / 255
        for total, square in zip(sums, squares, strict=True)
    ]
    return (means[0], means[1], means[2]), (stds[0], stds[1], stds[2])
