"""In which order and with what weight the training images are seen. Every draw is a function of (seed, epoch)."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from trainables.data.sample_random import Stream

Weighting = Literal["inverse", "effective"]


def class_weights(
    labels: npt.NDArray[np.int64], num_classes: int, weighting: Weighting = "inverse"
) -> npt.NDArray[np.float64]:
    """Compute the weight (num_classes,) of each class, 1 on average over the samples; a class without samples has 0.

    inverse: to the number of its samples. effective: inverse to their effective number (1 - beta^count) / (1 - beta)
    (Cui et al., arXiv 1901.05555), with beta = (n - 1) / n and n the number of training samples. That is 0.63 to 1
    times the count, so a rare class outweighs a frequent one by at least 0.63 of what it does with `inverse`. The mean
    of 1 keeps the loss, and with it the learning rate, on the scale of the unweighted loss.
    """
    counts = np.bincount(labels, minlength=num_classes)
    present = counts > 0
    weights = np.zeros(num_classes, dtype=np.float64)
    weights[present] = 1 / (counts[present] if weighting == "inverse" else _effective(counts[present]))
    scaled: npt.NDArray[np.float64] = weights * len(labels) / np.sum(weights * counts) if len(labels) else weights
    return scaled


def epoch_order(
    count: int, seed: int, epoch: int, weights: npt.NDArray[np.float64] | None = None
) -> npt.NDArray[np.int64]:
    """Draw the indices of the samples of one epoch, shape (count,), in the order in which they are seen.

    Without `weights` every sample once. With them, (count,), as many draws with replacement, each sample as likely as
    it has weight; with that of its class by `inverse`, every class is equally likely.
    """
    chance = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch, Stream.ORDER])))
    if weights is None:
        return chance.permutation(count).astype(np.int64)
    return chance.choice(count, size=count, replace=True, p=weights / weights.sum()).astype(np.int64)


def batches(order: npt.NDArray[np.int64], batch_size: int) -> list[npt.NDArray[np.int64]]:
    """Cut the order into the fewest batches of at most `batch_size`, as equal as can be.

    Equal, because the usual remainder can be a single image: BatchNorm in train mode has no variance to divide by there
    (torch refuses 1x1 feature maps), and one image would weigh as much as a whole batch. For the same reason an odd
    number of images in batches of 2 ends in one batch of 3. Batches of one come only from batch_size 1 or one image.
    """
    if len(order) == 0:
        return []
    count = -(-len(order) // batch_size)
    if batch_size > 1:
        count = max(1, min(count, len(order) // 2))
    return np.array_split(order, count)


def _effective(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    total = int(counts.sum())
    if total == 1:
        return np.ones(1)
    # 1 - beta^count, without the cancellation of numbers next to 1.
    return np.asarray(-np.expm1(counts * np.log1p(-1 / total)) * total)
