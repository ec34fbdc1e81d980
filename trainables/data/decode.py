"""From the bytes of an image file to upright RGB: the first half of preprocessing, and the guard against bad files."""

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import numpy as np
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from search_spaces.errors import InvalidInput, ThawError
from trainables.data_config import DEFAULT_MAX_PIXELS

# Nothing else is tried: Pillow's remaining plugins are of no use here, and some of them start other programs.
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM")

# Pixels of a JPEG that may be decoded at a reduced scale: its bytes are all decoded, whatever the scale.
LARGEST_JPEG = 500_000_000
# No complete file has more pixels per byte: JPEG spends a bit on 64 pixels, and arithmetic coding less; PNG's deflate
# reaches a ratio of 1032, on 8 pixels per byte; PPM has 8 pixels per byte where it has the fewest bits. Pillow reserves
# memory for all pixels before it sees the end. The other formats can say "all pixels are white" in a few bytes, so only
# `max_pixels` limits their memory. MPO is what Pillow calls a JPEG of several pictures, as phones write it.
_PIXELS_PER_BYTE = {"JPEG": 4096, "MPO": 4096, "PNG": 8 * 1032, "PPM": 8}
_SMALL = 16_000_000

_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageFacts(NamedTuple):
    """Facts of an image file, beside its pixels."""

    format: str
    """Name of the format as Pillow has it; a JPEG of several pictures is MPO."""

    mode: str
    """Mode of the pixels as stored, as Pillow has it: P for a palette."""

    width: int
    """Width of the picture as stored, in pixels."""

    height: int
    """Height of the picture as stored, in pixels."""

    has_alpha: bool
    """True where pixels are transparent."""

    is_animated: bool
    """True for several frames, of which the first is used."""

    is_turned: bool
    """True where EXIF asks for another orientation than the stored one."""

    largest: int | None
    """Largest value of a gray image of 16 bits; None for other images."""


# Filters of warnings and Pillow's limit are those of the whole process: one of our threads at a time.
_pillow_lock = threading.Lock()


def decode(data: bytes, name: str, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image.Image:
    """Decode the image in RGB, upright, its first frame if it has several; transparent parts become white.

    Color profiles are not applied. A JPEG of more than `max_pixels`, such as a phone's of 108 megapixels, is decoded
    at 1/2, 1/4 or 1/8 of its width and height, the first that has no more. Raises InvalidInput naming `name` for bytes
    that are no complete image of a known format, for more pixels in another format or a progressive JPEG, and for
    pixels without an agreed white (floats, 32-bit); ThawError where its pixels do not fit into memory.
    """
    return _decoded(data, name, max_pixels)[0]


def decode_small(data: bytes, name: str, side: int, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image.Image:
    """Decode as `decode` does, but a JPEG at the least of its scales that keeps `side` pixels per side.

    These are 1/2, 1/4 and 1/8 of its width and height: all of its bytes are read, in a fraction of the time.
    """
    return _decoded(data, name, max_pixels, side)[0]


def decode_gray(
    data: bytes, name: str, side: int, max_pixels: int = DEFAULT_MAX_PIXELS
) -> tuple[Image.Image, ImageFacts]:
    """Decode as `decode_small` does, but in gray (mode L), and return the facts of the file too.

    The colors of a JPEG are read, but not computed. Raises as `decode` does; the cause of InvalidInput is Pillow's
    error.
    """
    return _decoded(data, name, max_pixels, side, is_gray=True)


def _decoded(
    data: bytes, name: str, max_pixels: int, side: int | None = None, *, is_gray: bool = False
) -> tuple[Image.Image, ImageFacts]:
    cause: Exception
    try:
        image, mode, width, height = _open(data, max_pixels, side, is_gray=is_gray)
        turn = _orientation(image)
        upright = image if turn is None else image.transpose(turn)
        pixels = _to_gray(upright) if is_gray else _to_rgb(upright)
        facts = ImageFacts(
            image.format or "",
            mode,
            width,
            height,
            has_alpha=_is_transparent(upright),
            is_animated=_has_frames(image),
            is_turned=turn is not None,
            largest=_largest(image, data),
        )
        return pixels, facts
    except UnidentifiedImageError as error:
        got, cause = f"{len(data)} bytes that are none of {', '.join(_FORMATS)}", error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InvalidInput(
            f"{name}: image must not be so large that decoding it is a risk, got: {error} Scale it down, or raise "
            "data.max_pixels."
        ) from error
    except MemoryError as error:  # not a fault of the image, which another process may decode
        raise ThawError(
            f"{name}: image must fit into the memory that is free, but does not; scale it down, or free memory"
        ) from error
    except Exception as error:  # Pillow's decoders raise almost anything on damaged bytes
        got, cause = f"{type(error).__name__}: {error}", error
    raise InvalidInput(f"{name}: image must be complete and readable, got {got}; replace or remove the file") from cause


def decoding_fault(data: bytes, name: str, max_pixels: int) -> str | None:
    """Return the message with which `decode` refuses an image; None for one that it decodes."""
    try:
        decode(data, name, max_pixels)
    except InvalidInput as error:
        return str(error)
    return None


def largest_of_sixteen_bits(data: bytes) -> int | None:
    """Return the largest value of a gray image of 16 bits; None for every other image, be it damaged or not."""
    is_png = data[:8] == b"\x89PNG\r\n\x1a\n" and data[24:26] == b"\x10\x00"
    is_gray_map = data[:2] in (b"P2", b"P5")
    if not is_png and not is_gray_map and data[:4] not in (b"II*\0", b"MM\0*"):
        return None
    try:
        with _pillow_limits(DEFAULT_MAX_PIXELS):
            image: Image.Image = Image.open(io.BytesIO(data), formats=("PNG", "TIFF", "PPM"))
        _check_whole(image, data)
        return _largest(image, data)
    except MemoryError:
        raise
    except Exception:  # the decoding of all images names it
        return None


def upright_size(data: bytes) -> tuple[int, int] | None:
    """Read width and height of the upright picture from the header of a file; None where it has no known header."""
    try:
        with _pillow_limits(LARGEST_JPEG):
            image: Image.Image = Image.open(io.BytesIO(data), formats=_FORMATS)
            turned = image.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
    except Exception:  # the decoding of all images names it
        return None
    return (image.height, image.width) if turned else (image.width, image.height)


def _open(data: bytes, max_pixels: int, side: int | None, *, is_gray: bool) -> tuple[Image.Image, str, int, int]:
    """Return the decoded image, and the mode, width and height that its file has."""
    with _pillow_limits(max_pixels):
        try:
            image: Image.Image = Image.open(io.BytesIO(data), formats=_FORMATS)
            width, height = image.size
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            if not data.startswith(b"\xff\xd8"):
                raise
            image, width, height = _reduced(data, max_pixels)
    mode = image.mode
    _check_whole(image, data)
    if side is not None:
        image.draft("L" if is_gray else None, (side, side))  # only of a JPEG, and only the first time
    # Pillow compares a large image with its limit once more. One such image at a time also takes less memory.
    with _pillow_limits(max_pixels) if image.width * image.height > DEFAULT_MAX_PIXELS else nullcontext():
        image.load()
    return image, mode, width, height


def _check_whole(image: Image.Image, data: bytes) -> None:
    """Raise OSError for an opened image whose bytes cannot hold its pixels, before memory is reserved for them."""
    pixels, limit = image.width * image.height, _PIXELS_PER_BYTE.get(image.format or "")
    if limit is not None and pixels > _SMALL and pixels > limit * len(data):
        raise OSError(f"{image.width} x {image.height} pixels in {len(data):,} bytes: the file is cut off")


@contextmanager
def _pillow_limits(max_pixels: int) -> Iterator[None]:
    """Let Pillow raise for more than `max_pixels`, and be silent about metadata that nobody here reads."""
    with _pillow_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _reduced(data: bytes, max_pixels: int) -> tuple[Image.Image, int, int]:
    """Open a large JPEG so that it is decoded at the largest scale that has at most `max_pixels`.

    Returns it with the width and height that it has at full scale.
    """
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    width, height = image.size
    if width * height > LARGEST_JPEG or width * height > _PIXELS_PER_BYTE["JPEG"] * len(data):
        raise Image.DecompressionBombError(f"{width} x {height} pixels in {len(data):,} bytes.")
    if "progressive" in image.info:  # its coefficients are kept in memory at the full size
        raise Image.DecompressionBombError(f"{width} x {height} pixels in a progressive JPEG.")
    scale = next((scale for scale in (2, 4, 8) if (width // scale) * (height // scale) <= max_pixels), None)
    if scale is None:
        raise Image.DecompressionBombError(f"{width} x {height} pixels, of which 1/64 are more than {max_pixels}.")
    image.draft(None, (width // scale, height // scale))
    return image, width, height


def _largest(image: Image.Image, data: bytes) -> int | None:
    """Return the largest value of a gray image of 16 bits, None for another."""
    # Pillow opens a gray map of 16 bits in the mode I, which stands for 32 bits in a TIFF.
    is_wide = image.mode == "I" and data[:4] not in (b"II*\0", b"MM\0*")
    return int(np.asarray(image).max()) if image.mode.startswith("I;16") or is_wide else None


def _is_transparent(image: Image.Image) -> bool:
    if not image.has_transparency_data:
        return False
    return image.convert("RGBA").getchannel("A").histogram()[255] < image.width * image.height


def _has_frames(image: Image.Image) -> bool:
    """Return whether an image has frames after the first; Pillow looks for the second of a GIF."""
    try:
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    except Exception:  # damaged frames are not used
        return False


def _orientation(image: Image.Image) -> Image.Transpose | None:
    """Return the turn that makes an image upright."""
    # Not ImageOps.exif_transpose: it writes the EXIF block anew, and fails on blocks that are slightly off.
    try:
        with _pillow_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _UPRIGHT.get(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # an unreadable EXIF block says nothing about orientation
        return None


def _to_gray(image: Image.Image) -> Image.Image:
    is_gray = image.mode == "L" and not image.has_transparency_data
    return image if is_gray else _to_rgb(image).convert("L")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed white, convert the file to 8 bit")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("32-bit pixels have no agreed white, convert the file to 8 or 16 bit")
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # which copies
