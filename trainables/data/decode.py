"""From the bytes of an image file to upright RGB: the first half of preprocessing, and the guard against bad files."""

import io
import threading
import warnings

import numpy as np
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from search_spaces.errors import InvalidInput

# Nothing else is tried: Pillow's remaining plugins are of no use here, and some of them start other programs.
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM")

# Above Pillow's limit for safe images a JPEG is decoded at a half, a quarter or an eighth of its size.
LARGEST_JPEG = 500_000_000
# No complete file has more pixels per byte: JPEG spends a bit on 64 pixels, and arithmetic coding less; PNG's deflate
# reaches a ratio of 1032, on 8 pixels per byte. Pillow reserves memory for all pixels before it sees the end.
_PIXELS_PER_BYTE = {"JPEG": 4096, "PNG": 8 * 1032}
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

# `warnings.catch_warnings` changes the state of the whole process: one of our threads at a time.
_warnings_lock = threading.Lock()


def decode(data: bytes, name: str) -> Image.Image:
    """Decode the image in RGB, upright, its first frame if it has several; transparent parts become white.

    Colour profiles are not applied. A JPEG of more pixels than Pillow takes for safe, such as a phone's of 108
    megapixels, is decoded at a reduced scale. Raises InvalidInput naming `name` for bytes that are no complete image of
    a known format, for more pixels in another format, and for pixels without an agreed white (floats, 32-bit).
    """
    try:
        return _to_rgb(_upright(_open(data)))
    except UnidentifiedImageError:
        got = f"{len(data)} bytes that are none of {', '.join(_FORMATS)}"
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InvalidInput(
            f"{name}: image must not be so large that decoding it is a risk, got: {error} Scale it down."
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise almost anything on damaged bytes
        got = f"{type(error).__name__}: {error}"
    raise InvalidInput(f"{name}: image must be complete and readable, got {got}; replace or remove the file")


def largest_of_sixteen_bits(data: bytes) -> int | None:
    """Return the largest value of a gray image of 16 bits; None for every other image, be it damaged or not."""
    is_png = data[:8] == b"\x89PNG\r\n\x1a\n" and data[24:26] == b"\x10\x00"
    is_gray_map = data[:2] in (b"P2", b"P5")
    if not is_png and not is_gray_map and data[:4] not in (b"II*\0", b"MM\0*"):
        return None
    try:
        with _warnings_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=("PNG", "TIFF", "PPM"))
        # Pillow opens a gray map of 16 bits in the mode I, which stands for 32 bits in a TIFF.
        has_sixteen_bits = image.mode.startswith("I;16") or (image.mode == "I" and (is_png or is_gray_map))
        return int(np.asarray(image).max()) if has_sixteen_bits else None
    except MemoryError:
        raise
    except Exception:  # the decoding of all images names it
        return None


def _open(data: bytes) -> Image.Image:
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of metadata that nobody here reads
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image: Image.Image = Image.open(io.BytesIO(data), formats=_FORMATS)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            if not data.startswith(b"\xff\xd8"):
                raise
            image = _reduced(data)
    pixels, limit = image.width * image.height, _PIXELS_PER_BYTE.get(image.format or "")
    if limit is not None and pixels > _SMALL and pixels > limit * len(data):
        raise OSError(f"{image.width} x {image.height} pixels in {len(data):,} bytes: the file is cut off")
    image.load()
    return image


def _reduced(data: bytes) -> Image.Image:
    """Open a large JPEG so that it is decoded at the largest scale that Pillow takes for safe."""
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    width, height = image.size
    limit = Image.MAX_IMAGE_PIXELS or LARGEST_JPEG
    if width * height > LARGEST_JPEG or width * height > _PIXELS_PER_BYTE["JPEG"] * len(data):
        raise Image.DecompressionBombError(f"{width} x {height} pixels in {len(data):,} bytes.")
    if "progressive" in image.info:  # its coefficients are kept in memory at the full size
        raise Image.DecompressionBombError(f"{width} x {height} pixels in a progressive JPEG.")
    scale = next(scale for scale in (2, 4, 8) if (width // scale) * (height // scale) <= limit)
    image.draft(None, (width // scale, height // scale))
    return image


def _upright(image: Image.Image) -> Image.Image:
    # Not ImageOps.exif_transpose: it writes the EXIF block anew, and fails on blocks that are slightly off.
    try:
        with _warnings_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            turn = _UPRIGHT.get(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # an unreadable EXIF block says nothing about orientation
        turn = None
    return image if turn is None else image.transpose(turn)


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
