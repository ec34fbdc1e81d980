"""From the bytes of an image file to the array a model sees: the one owner for cache, evaluation, predict and serve.

Pillow and numpy only, so that a machine that predicts needs no torch.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from search_spaces.errors import InvalidInput, one_of
from trainables.data.decode import decode as decode  # named here for those who preprocess step by step
from trainables.data_config import DEFAULT_MAX_PIXELS, ResizeMode

# Raise it whenever the pixels that `load_image` gives for some file change: caches of the old pixels then go unused.
PREPROCESSING_VERSION = 2

PAD_COLOR = (124, 116, 104)
"""The mean color of ImageNet: close to zero after normalization."""


@dataclass(frozen=True)
class Preprocessing:
    """Everything between an image file and the model's input; travels with the exported model."""

    image_size: int
    """Side of the square, in pixels."""

    resize_mode: ResizeMode
    """crop, squash or pad; see `resize`."""

    mean: tuple[float, float, float]
    """Per channel, of pixels in [0, 1]."""

    std: tuple[float, float, float]
    """Per channel, above 0."""

    max_pixels: int = DEFAULT_MAX_PIXELS
    """Largest number of pixels to which an image is decoded; see `decode`."""

    def __post_init__(self) -> None:
        for name, number, usual in (
            ("image_size", self.image_size, 224),
            ("max_pixels", self.max_pixels, DEFAULT_MAX_PIXELS),
        ):
            if not isinstance(number, int) or number < 1:
                raise InvalidInput(
                    f"preprocessing: {name} must be a whole number from 1, got {number!r}; set it to e.g. {usual}"
                )
        _check_mode(self.resize_mode)
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != 3 or not all(math.isfinite(value) for value in values):
                raise InvalidInput(
                    f"preprocessing: {name} must be three finite numbers, got {values}; give one a channel"
                )
        if min(self.std) <= 0:
            raise InvalidInput(
                f"preprocessing: std must be above 0, got {self.std}; a channel without contrast has no std"
            )

    def __call__(self, data: bytes, name: str) -> npt.NDArray[np.float32]:
        """Compute the input (3, image_size, image_size) for one file; `name` is for the error message."""
        return self._normalized(load_image(data, name, self.image_size, self.resize_mode, self.max_pixels))

    def of_pixels(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Compute the input for an RGB image in memory, (height, width, 3). Raises InvalidInput for another array."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise InvalidInput(
                f"image must be an array of uint8 of shape (height, width, 3), red first, got {image.dtype} of shape "
                f"{image.shape}; convert it"
            )
        return self._normalized(resize(Image.fromarray(image), self.image_size, self.resize_mode))

    def _normalized(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        batch = normalize(pixels[None], self.mean, self.std)
        return batch.reshape(batch.shape[1:])

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping that `from_json` reads back."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote, ignoring fields of later versions; raises InvalidInput for anything else."""
        try:
            red, green, blue = map(float, values["mean"])
            std_red, std_green, std_blue = map(float, values["std"])
            size, mode = values["image_size"], values["resize_mode"]
            max_pixels = values.get("max_pixels", DEFAULT_MAX_PIXELS)  # older models lack it
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(
                "preprocessing: needs image_size, resize_mode, mean and std (three numbers each), "
                f"got {dict(values)}; export the model again"
            ) from error
        return cls(size, mode, (red, green, blue), (std_red, std_green, std_blue), max_pixels)


def load_image(
    data: bytes, name: str, size: int, mode: ResizeMode, max_pixels: int = DEFAULT_MAX_PIXELS
) -> npt.NDArray[np.uint8]:
    """Decode and resize one image file: uint8, shape (size, size, 3), RGB. Raises as `decode` does."""
    return resize(decode(data, name, max_pixels), size, mode)


def resize(image: Image.Image, size: int, mode: ResizeMode) -> npt.NDArray[np.uint8]:
    """Bring an RGB image to uint8 (size, size, 3), bicubic with antialiasing.

    crop: shorter side to `size`, center kept. squash: both sides to `size`. pad: longer side to `size`, the image
    centered, the rest filled with `PAD_COLOR`.
    """
    _check_mode(mode)
    width, height = image.size
    if mode == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        return _pixels(_resampled(image, (size, size), (left, top, left + side, top + side)))
    if mode == "squash":
        return _pixels(_resampled(image, (size, size), (0, 0, width, height)))
    scale = size / max(width, height)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = Image.new("RGB", (size, size), PAD_COLOR)
    resampled = _resampled(image, inner, (0, 0, width, height))
    canvas.paste(resampled, ((size - inner[0]) // 2, (size - inner[1]) // 2))
    return _pixels(canvas)


def _resampled(image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float]) -> Image.Image:
    """Resize the part of an image in `box` to `size`, first along the rows, then along the columns.

    Pillow rounds and clips after each of them, and from version 13 on takes the order that it expects to be faster: in
    one call, some pixels would differ by 5 and more between its versions, and from those of `model.pixels.onnx`.
    """
    left, top, right, bottom = box
    # Rows that no output pixel takes: those further outside than the support of the filter (Pillow, `Resample.c`).
    margin = 2 * max(1.0, (bottom - top) / size[1]) + 1
    first, last = max(0, math.floor(top - margin)), min(image.height, math.ceil(bottom + margin))
    rows = image if (first, last) == (0, image.height) else image.crop((0, first, image.width, last))
    rows = rows.resize((size[0], rows.height), Image.Resampling.BICUBIC, (left, 0, right, rows.height))
    return rows.resize(size, Image.Resampling.BICUBIC, (0, top - first, size[0], bottom - first))


def normalize(
    images: npt.NDArray[np.uint8], mean: tuple[float, float, float], std: tuple[float, float, float]
) -> npt.NDArray[np.float32]:
    """Turn uint8 (n, s, s, 3) into float32 (n, 3, s, s): pixels in [0, 1], less `mean`, over `std`, per channel."""
    pixels = images.transpose(0, 3, 1, 2).astype(np.float32, order="C")
    pixels /= np.float32(255)
    pixels -= np.array(mean, dtype=np.float32).reshape(1, 3, 1, 1)
    pixels /= np.array(std, dtype=np.float32).reshape(1, 3, 1, 1)
    return pixels


def _check_mode(mode: str) -> None:
    modes = get_args(ResizeMode)
    if mode not in modes:
        raise InvalidInput(f"preprocessing: resize_mode {one_of(mode, modes)}")


def _pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    return np.asarray(image, dtype=np.uint8)
