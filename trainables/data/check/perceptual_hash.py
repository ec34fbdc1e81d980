"""Perceptual hash of an image: 64 bits that stay nearly the same when it is resized, recompressed or lit otherwise."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from search_spaces.errors import InvalidInput
from trainables.data.decode import decode_gray

_SIDE, _LOW = 32, 8
_FLAT = 2  # standard deviation of the brightness, of 255, below which an image is of one color

HASHED_SIDE = 3 * _SIDE
"""Shorter side down to which a JPEG may be decoded at a reduced scale before it is hashed, in pixels."""

# Cosines of the DCT of type II, rounded to whole numbers: with them the sums are exact on every machine, and there is
# no rounding near the median. A coefficient is below 32 * 32 * 255 * 2**40, which int64 holds.
_COSINES = np.rint(
    2**20 * np.cos(np.pi * np.outer(np.arange(_LOW), 2 * np.arange(_SIDE) + 1) / (2 * _SIDE)),
).astype(np.int64)


def perceptual_hash(image: Image.Image) -> int:
    """Compute the 64-bit pHash: signs of the 8 x 8 low frequencies of 32 x 32 gray pixels against their median.

    Frequencies equal to the median, as all of a blank image but the first are, give 0. As in the library ImageHash
    apart from the filter that resizes: of whole numbers alone, so that the hash is the same on every machine.
    """
    return _hash(_reduced(image))


def telling_hash(image: Image.Image) -> int | None:
    """Compute the perceptual hash; None where it says nothing: of an image of one color, or below 32 pixels a side."""
    if min(image.size) < _SIDE:
        return None
    pixels = _reduced(image)
    variance = pixels.size * int(np.square(pixels).sum()) - int(pixels.sum()) ** 2  # times the square of the size
    return None if variance < (_FLAT * pixels.size) ** 2 else _hash(pixels)


def hash_of_file(data: bytes) -> int | None:
    """Compute `telling_hash` from the bytes of an image file; None also where it cannot be decoded."""
    try:
        return telling_hash(decode_gray(data, "", HASHED_SIDE)[0])
    except InvalidInput:  # the decoding of all images names it
        return None


def _reduced(image: Image.Image) -> npt.NDArray[np.int64]:
    gray = image if image.mode == "L" else image.convert("L")
    # First by a whole factor, to no less than HASHED_SIDE: the slow filter then has few pixels to read.
    gray = gray.reduce(max(1, min(gray.size) // HASHED_SIDE))
    # First along the rows, then along the columns: in one call the order depends on the version of Pillow.
    rows = gray.resize((_SIDE, gray.height), Image.Resampling.BICUBIC)
    return np.asarray(rows.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC), dtype=np.int64)


def _hash(pixels: npt.NDArray[np.int64]) -> int:
    frequencies = (_COSINES @ pixels @ _COSINES.T).ravel()
    bits = frequencies > np.sort(frequencies)[len(frequencies) // 2 - 1]
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
