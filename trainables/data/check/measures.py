"""Measures of a photo's pixels: hash of its looks, brightness, contrast and blur."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from trainables.data.check.perceptual_hash import HASHED_SIDE, telling_hash

# Photos are compared at this shorter side, in pixels.
_SIDE = HASHED_SIDE
_FILTER, _MIDDLE = 9, 4
_FLAT = 2.0
_BRIGHTEST = 0.95
_LEVELS = np.arange(256.0)

Gray = npt.NDArray[np.int16]


class Measures(NamedTuple):
    """Measures of one photo."""

    hash: int | None
    """Perceptual hash; None where it says nothing, see `telling_hash`."""

    light: int
    """Brightness of which one pixel in twenty has more, 0 to 255."""

    contrast: float
    """Standard deviation of the brightness, 0 to 255."""

    blur: float
    """Share of the fine structure that a blur leaves unchanged, 0 (sharp) to 1."""

    @property
    def is_blank(self) -> bool:
        """True for an image of one color."""
        return self.contrast < _FLAT


def measure_photo(image: Image.Image) -> Measures:
    """Measure an upright gray image."""
    gray, scale = image, _SIDE / min(image.size)
    if scale < 1:
        size = max(1, round(gray.width * scale)), max(1, round(gray.height * scale))
        gray = gray.resize(size, Image.Resampling.BOX, reducing_gap=1.0)
    counts = np.array(gray.histogram(), dtype=np.float64) / (gray.width * gray.height)
    mean = float(counts @ _LEVELS)
    contrast = max(0.0, float(counts @ _LEVELS**2) - mean**2) ** 0.5
    is_blank = contrast < _FLAT
    return Measures(
        telling_hash(image),
        int(np.searchsorted(np.cumsum(counts), _BRIGHTEST)),
        contrast,
        0.0 if is_blank else blur_share(np.asarray(gray, dtype=np.int16)),
    )


def blur_share(pixels: Gray) -> float:
    """Return the larger of the shares, along rows and along columns, that survive a blur; 0 of a tiny image.

    Crété-Roffet et al. 2007, "The blur effect": the neighbors of a sharp image differ less after a blur, those of a
    blurred one do not. Two neighboring means of _FILTER pixels differ by what enters less what leaves.
    """
    shares = [0.0]
    for lines in (pixels[::4], pixels.T[::4]):  # every fourth line says as much
        if lines.shape[1] <= _FILTER:
            continue
        sharp = _FILTER * np.abs(np.diff(lines))[:, _MIDDLE:-_MIDDLE]
        soft = np.abs(lines[:, _FILTER:] - lines[:, :-_FILTER])
        total = int(sharp.sum(dtype=np.int64))
        shares.append(1.0 - int(np.maximum(0, sharp - soft).sum(dtype=np.int64)) / total if total else 1.0)
    return max(shares)
