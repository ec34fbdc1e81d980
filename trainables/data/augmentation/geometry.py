"""Where each output pixel comes from: one homography an image, one resampling a batch; and boxes as masks.

Maps have shape (n, 3, 3) and lead from output to input coordinates, in which the image spans [-1, 1] both ways. They
are joined with `@`: `a @ b` shows b's change of what a's change made of the image.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Floats = npt.NDArray[np.float64]

_CORNERS = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=np.float64)

# At distortion 0.5 the horizon of one perspective in a thousand crosses a corner of the picture. Within what the image
# covers the denominator is above 0.42; outside, what is nearer to the horizon than this is drawn as if it were not.
_NEAREST = 0.25


def resample(images: Tensor, maps: Floats) -> Tensor:
    """Look up every pixel of (n, 3, s, s) where its map says; bilinear, edges reflected, in float32, type kept."""
    size = images.shape[-1]
    rows = torch.from_numpy(maps).to(images.device, torch.float32)[:, :, :, None, None]
    steps = (torch.arange(size, device=images.device, dtype=torch.float32) * 2 + 1) / size - 1
    # Not affine_grid: it is a matrix product, which TF32 or autocast would round to a tenth of a pixel.
    places = rows[:, :, 0] * steps[None, None, None, :] + rows[:, :, 1] * steps[None, None, :, None] + rows[:, :, 2]
    grid = places[:, :2] / places[:, 2:].clamp(min=_NEAREST)
    return torch.nn.functional.grid_sample(
        images.float(), grid.permute(0, 2, 3, 1), mode="bilinear", padding_mode="reflection", align_corners=False
    ).to(images.dtype)


def affine_maps(linear: Floats, shift: Floats) -> Floats:
    """Maps of the linear parts (n, 2, 2) and the shifts (n, 2)."""
    maps = np.tile(np.eye(3), (len(linear), 1, 1))
    maps[:, :2, :2] = linear
    maps[:, :2, 2] = shift
    return maps


def rotations(degrees: Floats) -> Floats:
    """Linear parts (n, 2, 2) that turn the image counter-clockwise, as in torchvision."""
    angle = np.deg2rad(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]]).transpose(2, 0, 1)


def perspectives(inwards: Floats) -> Floats:
    """Maps that move the corners of the image inwards, by shares (n, 4, 2) of half a side, below 1; the rest follows.

    The corners are top left, top right, bottom right, bottom left. With shares uniform in [0, d) this is torchvision's
    `RandomPerspective(distortion_scale=d)`.
    """
    x, y = (_CORNERS * (1 - inwards)).transpose(2, 0, 1)
    u, v = np.broadcast_to(_CORNERS, inwards.shape).transpose(2, 0, 1)
    one, zero = np.ones_like(x), np.zeros_like(x)
    # Each corner gives two of the eight equations for the eight unknowns of a map.
    equations = np.concatenate(
        [
            np.stack([x, y, one, zero, zero, zero, -u * x, -u * y], axis=-1),
            np.stack([zero, zero, zero, x, y, one, -v * x, -v * y], axis=-1),
        ],
        axis=1,
    )
    unknowns = np.linalg.solve(equations, np.concatenate([u, v], axis=1)[..., None])[..., 0]
    return np.concatenate([unknowns, np.ones((len(inwards), 1))], axis=1).reshape(-1, 3, 3)


def box_masks(low: npt.NDArray[np.int64], high: npt.NDArray[np.int64], size: int, device: torch.device) -> Tensor:
    """Mark the pixels in each image's box, bool (n, 1, s, s); `low` and `high` (n, 2) are (x, y), high excluded."""
    steps = torch.arange(size, device=device)
    bounds = torch.from_numpy(np.stack([low, high])).to(device)[..., None]
    inside = (steps >= bounds[0]) & (steps < bounds[1])
    return (inside[:, 0, None, :] & inside[:, 1, :, None])[:, None]
