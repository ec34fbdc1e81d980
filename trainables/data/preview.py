"""Preview of the training input as pictures: a batch under each policy, and the classes of the first batches."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from trainables.data.arrays import Arrays
from trainables.data.augmentation.erasing import erase
from trainables.data.augmentation.mixing import Mixing, mix
from trainables.data.augmentation.policies import POLICIES, Policy, augment
from trainables.data.balance import Weighting, batches, class_weights, epoch_order
from trainables.data.charts import Bars, Row, draw_bars, draw_rows, stack

# Pretrained weights of timm are normalized by about this; what is erased has this color.
_MEAN = (0.485, 0.456, 0.406)

# More classes than this are shown as the most frequent and the rarest.
_MOST_BARS = 30


@dataclass(frozen=True)
class ClassCount:
    """Counts of a class: in the training split, in the first batches with and without the sampler."""

    label: str
    images: int
    """Images of the training split."""

    none: int
    """Images in the first batches, every sample being seen once an epoch."""

    sampler: int
    """Images in the first batches of the weighted sampler."""

    weight: float
    """Weight of the class in the weighted loss."""


@dataclass(frozen=True)
class BatchCounts:
    """The classes of the first batches of an epoch."""

    batches: int
    """Number of batches counted: as many as were asked for, or all of a short epoch."""

    batch_size: int
    """Images of a batch, at most."""

    classes: tuple[ClassCount, ...]
    """One entry a class, in the order of the classes."""


def count_batches(
    labels: npt.NDArray[np.int64],
    classes: Sequence[str],
    *,
    weighting: Weighting,
    batch_size: int,
    seed: int,
    first: int = 10,
) -> BatchCounts:
    """Count the classes in the first batches of epoch 0 under each answer to imbalance."""
    weights = class_weights(labels, len(classes), weighting)
    seen, taken = [], 0
    for drawn in (None, weights[labels]):
        order = epoch_order(len(labels), seed, 0, drawn)
        cut = batches(order, batch_size)[:first]
        taken = len(cut)
        seen.append(np.bincount(labels[np.concatenate(cut)], minlength=len(classes)))
    images = np.bincount(labels, minlength=len(classes))
    rows = zip(classes, images, *seen, weights, strict=True)
    counts = (ClassCount(name, int(a), int(b), int(c), float(weight)) for name, a, b, c, weight in rows)
    return BatchCounts(taken, batch_size, tuple(counts))


def picture_data(arrays: Arrays, counts: BatchCounts, *, seed: int, alpha: float, columns: int = 8) -> Image.Image:
    """Draw the first training images of epoch 0 under each policy, and below them the counts of the classes."""
    split, labels = arrays.splits["train"], arrays.dataset.labels("train")
    indices = epoch_order(len(split), seed, 0)[:columns]
    names = [arrays.classes[label] for label in labels[indices]]
    policies = picture_policies(split.images[indices], names, seed=seed, indices=indices, alpha=alpha)
    return stack([policies, picture_balance(counts)])


def picture_policies(
    images: npt.NDArray[np.uint8], names: Sequence[str], *, seed: int, indices: npt.NDArray[np.int64], alpha: float
) -> Image.Image:
    """Draw one row per policy, one column per image: uint8 (n, s, s, 3) with the names of their classes.

    `indices` (n,) are their positions in the training split, so that each changes as it will in epoch 0 of a trial with
    this seed; partners for mixing are taken from among them, the first with the last.
    """
    batch = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 255
    rows = [Row("none", ["as it is stored"], _pictures(batch), [[name] for name in names])]
    for policy, limits in POLICIES.items():
        rows.append(Row(policy, _in_words(limits), _pictures(augment(batch, policy, seed, 0, indices))))
    trivial = augment(batch, "trivial", seed, 0, indices)
    rows.append(Row("trivial", ["one operation", "of random strength"], _pictures(trivial)))
    rows.append(_mixed("mixup", batch, names, seed, indices, alpha))
    rows.append(_mixed("cutmix", batch, names, seed, indices, alpha))
    mean = torch.tensor(_MEAN)[:, None, None]
    erased = erase(batch - mean, 1.0, seed, 0, indices) + mean
    rows.append(Row("erasing", ["random_erasing: 1"], _pictures(erased)))
    return draw_rows(rows)


def picture_balance(counts: BatchCounts) -> Image.Image:
    """Bars of the counts under each answer to imbalance, classes from the most frequent to the rarest."""
    by_size = sorted(counts.classes, key=lambda count: -count.images)
    left_out = len(by_size) - _MOST_BARS
    shown: list[ClassCount | None] = [*by_size]
    if left_out > 0:
        shown[_MOST_BARS // 2 : -_MOST_BARS // 2] = [None]
    labels = [f"... {left_out} more" if count is None else count.label for count in shown]

    def panel(balance: str, note: str, key: str, keys: Sequence[str]) -> Bars:
        values = [None if count is None else getattr(count, key) for count in shown]
        scale = max(getattr(count, other) for count in counts.classes for other in keys)
        return Bars(f"balance: {balance}", note, values, scale)

    seen = f"images in the first {counts.batches} batches of {counts.batch_size}"
    panels = [
        panel("none", seen, "none", ("none", "sampler")),
        panel("sampler", seen, "sampler", ("none", "sampler")),
        panel("loss", "weight of an image in the loss", "weight", ("weight",)),
    ]
    return draw_bars(labels, panels)


def _mixed(
    kind: Mixing, batch: Tensor, names: Sequence[str], seed: int, indices: npt.NDArray[np.int64], alpha: float
) -> Row:
    blends, shares = mix(kind, batch, batch.flip(0), seed, 0, indices, alpha)
    captions = [
        [f"{share:.0%} {name}", f"{1 - share:.0%} {partner}"]
        for share, name, partner in zip(shares.tolist(), names, reversed(names), strict=True)
    ]
    pairs = ", ".join(f"{place} + {len(names) + 1 - place}" for place in range(1, len(names) // 2 + 1))
    return Row(kind, [f"mixing_alpha: {alpha:g}", f"pairs {pairs}"], _pictures(blends), captions)


def _in_words(limits: Policy) -> Iterable[str]:
    yield f"crop {limits.min_area:g} to 1 of the area"
    yield f"rotation ±{limits.max_angle:g}°"
    yield f"colors ±{limits.jitter:.0%}"
    if limits.perspective:
        yield f"perspective {limits.perspective:g} (p {limits.perspective_probability:g})"


def _pictures(images: Tensor) -> list[Image.Image]:
    pixels = (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    return [Image.fromarray(picture) for picture in pixels]
