"""In which order and with what weight the training images are seen. Every draw is a function of (seed, epoch)."""

from typing import Literal

import numpy as np
import numpy.typing as npt

Balance = Literal["none", "sampler", "loss"]

# Separates this stream from the others that are keyed by (seed, epoch).
_ORDER_STREAM = 1


def class_weights(labels: npt.NDArray[np.int64], num_classes: int) -> npt.NDArray[np.float64]:
    """Weight of each class, shape (num_classes,): inverse to its frequency, and 1 on average over the samples.

    A class without samples has weight 0. The mean of 1 keeps the loss, and with it the learning rate, on the scale of
    the unweighted loss.
    """
    counts = np.bincount(labels, minlength=num_classes)
    present = np.count_nonzero(counts)
    weights = np.zeros(num_classes, dtype=np.float64)
    np.divide(len(labels), present * counts, out=weights, where=counts > 0)
    return weights


def epoch_order(
    labels: npt.NDArray[np.int64], num_classes: int, balance: Balance, seed: int, epoch: int
) -> npt.NDArray[np.int64]:
    """Indices of the samples of one epoch, shape (n,), in the order in which they are seen.

    none and loss: every sample once. sampler: n draws with replacement, every class equally likely.
    """
    chance = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch, _ORDER_STREAM])))
    if balance != "sampler":
        return chance.permutation(len(labels)).astype(np.int64)
    weights = class_weights(labels, num_classes)[labels]
    return chance.choice(len(labels), size=len(labels), replace=True, p=weights / weights.sum()).astype(np.int64)


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
