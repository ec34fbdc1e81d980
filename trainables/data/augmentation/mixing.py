"""Blends of pairs of training images: MixUp (Zhang et al., arXiv 1710.09412), CutMix (Yun et al., arXiv 1905.04899).

Each image has its own share, a function of (seed, epoch, sample index): with partners taken from the global batch, the
blend is the same on any rank and in any micro-batch.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainables.data.augmentation.geometry import Floats, box_masks
from trainables.data.sample_random import Stream, draws

Mixing = Literal["none", "mixup", "cutmix"]
Edges = npt.NDArray[np.int64]


@torch.no_grad()
def mix(
    kind: Mixing,
    images: Tensor,
    partners: Tensor,
    seed: int,
    epoch: int,
    indices: npt.NDArray[np.int64],
    alpha: float,
) -> tuple[Tensor, Tensor]:
    """Blend each of `images` with its partner; both (n, 3, s, s), normalized or not.

    Returns the blends and the share (n,) in float32 that the first image has in each: this is the share of its label in
    the target, the partner's has the rest. `indices` (n,) are the positions of `images` in the training split.

    mixup: share x image + (1 - share) x partner. cutmix: a box of the partner, of area 1 - share, covers the image; its
    center is uniform, what lies outside is cut off, and the share is what is left, to the pixel. none: the images, with
    share 1.
    """
    shares, low, high = _blends(kind, alpha, seed, epoch, indices, images.shape[-1])
    first = torch.from_numpy(shares.astype(np.float32)).to(images.device)
    if kind == "mixup":
        weight = first[:, None, None, None].to(images.dtype)
        return partners + (images - partners) * weight, first
    if kind == "cutmix":
        return torch.where(box_masks(low, high, images.shape[-1], images.device), partners, images), first
    return images, first


def pair_shares(
    kind: Mixing, alpha: float, seed: int, epoch: int, indices: npt.NDArray[np.int64], size: int
) -> npt.NDArray[np.float32]:
    """Return the shares (n,) that `mix` gives the first images, of side `size`, without looking at them."""
    shares, _, _ = _blends(kind, alpha, seed, epoch, indices, size)
    return shares.astype(np.float32)


def _blends(
    kind: Mixing, alpha: float, seed: int, epoch: int, indices: npt.NDArray[np.int64], size: int
) -> tuple[Floats, Edges, Edges]:
    """Return shares of the first image (n,), and boxes of the second: the first pixel and the one after the last."""
    if kind == "none":
        nowhere = np.zeros((len(indices), 2), dtype=np.int64)
        return np.ones(len(indices)), nowhere, nowhere
    uniform = draws(seed, epoch, indices, 3, Stream.MIXING)
    # Only here, for most trials mix nothing, and every worker would wait for the import.
    from scipy.special import betaincinv

    # The inverse of the distribution function of Beta(alpha, alpha): one draw a share, where sampling takes any number.
    share = np.asarray(betaincinv(alpha, alpha, uniform[:, 0]), dtype=np.float64)
    half, center = np.sqrt(1 - share)[:, None] * size / 2, uniform[:, 1:] * size
    low, high = (np.clip(np.round(edge), 0, size).astype(np.int64) for edge in (center - half, center + half))
    return (1 - (high - low).prod(axis=1) / size**2 if kind == "cutmix" else share), low, high
