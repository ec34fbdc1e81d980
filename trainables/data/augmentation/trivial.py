"""TrivialAugment: one operation an image, of random strength (Müller and Hutter, arXiv 2103.10158, the wide space).

As in the paper's experiments, half of the images are mirrored first. Other than in torchvision's `TrivialAugmentWide`,
magnitudes are continuous and not of 31 steps, shears are about the center, shifts are a share of the image's side (32
of 224 pixels), and what comes in from outside is the image's reflection, not black.
"""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainables.data.augmentation import color
from trainables.data.augmentation.geometry import Floats, affine_maps, resample, rotations

_MAX_SHEAR = 0.99
_MAX_SHIFT = 32 / 224
_MAX_ANGLE = 135.0
_MAX_FACTOR = 0.99
_MOST_BITS, _BITS = 8, 6

_GEOMETRIC = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")

# Of images, magnitudes in [0, 1), and the same with a random sign.
_PHOTOMETRIC: Mapping[str, Callable[[Tensor, Floats, Floats], Tensor]] = {
    "brightness": lambda images, _, signed: color.adjust_brightness(images, 1 + _MAX_FACTOR * signed),
    "color": lambda images, _, signed: color.adjust_saturation(images, 1 + _MAX_FACTOR * signed),
    "contrast": lambda images, _, signed: color.adjust_contrast(images, 1 + _MAX_FACTOR * signed),
    "sharpness": lambda images, _, signed: color.adjust_sharpness(images, 1 + _MAX_FACTOR * signed),
    "posterize": lambda images, magnitude, _: color.posterize(images, _MOST_BITS - np.round(_BITS * magnitude)),
    "solarize": lambda images, magnitude, _: color.solarize(images, 1 - magnitude),
    "autocontrast": lambda images, *_: color.autocontrast(images),
    "equalize": lambda images, *_: color.equalize(images),
}

OPERATIONS = ("identity", *_GEOMETRIC, *_PHOTOMETRIC)
"""Each is as likely as any other."""


def trivial_augment(images: Tensor, uniform: Floats) -> Tensor:
    """Change images (n, 3, s, s) in [0, 1] by draws (n, 4): of mirror, operation, magnitude and sign."""
    mirror, chosen, magnitude, sign = uniform.T
    flipped = torch.from_numpy(mirror < 0.5).to(images.device)[:, None, None, None]
    images = torch.where(flipped, images.flip(-1), images)
    operation = (chosen * len(OPERATIONS)).astype(np.int64)
    signed = np.where(sign < 0.5, -magnitude, magnitude)
    moved = np.flatnonzero((operation >= 1) & (operation <= len(_GEOMETRIC)))
    _replace(images, moved, resample, _maps(operation[moved], signed[moved]))
    for number, change in enumerate(_PHOTOMETRIC.values(), start=1 + len(_GEOMETRIC)):
        rows = np.flatnonzero(operation == number)
        _replace(images, rows, change, magnitude[rows], signed[rows])
    return images


def _replace(images: Tensor, rows: npt.NDArray[np.int64], change: Callable[..., Tensor], *strengths: Floats) -> None:
    if len(rows):
        place = torch.from_numpy(rows).to(images.device)
        images[place] = change(images[place], *strengths)


def _maps(operation: npt.NDArray[np.int64], signed: Floats) -> Floats:
    maps = affine_maps(np.tile(np.eye(2), (len(signed), 1, 1)), np.zeros((len(signed), 2)))
    which = {name: operation == OPERATIONS.index(name) for name in _GEOMETRIC}
    maps[which["shear_x"], 0, 1] = _MAX_SHEAR * signed[which["shear_x"]]
    maps[which["shear_y"], 1, 0] = _MAX_SHEAR * signed[which["shear_y"]]
    maps[which["translate_x"], 0, 2] = 2 * _MAX_SHIFT * signed[which["translate_x"]]
    maps[which["translate_y"], 1, 2] = 2 * _MAX_SHIFT * signed[which["translate_y"]]
    maps[which["rotate"], :2, :2] = rotations(_MAX_ANGLE * signed[which["rotate"]])
    return maps
