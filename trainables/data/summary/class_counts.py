"""Counts of the classes of a data set, and the weights that each answer to imbalance gives them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trainables.data.balance import class_weights
from trainables.data.readers import Dataset


@dataclass(frozen=True)
class ClassCounts:
    """Images of each class in each split."""

    classes: tuple[str, ...]
    """Class names; a number of a split belongs to the class in the same place."""

    splits: Mapping[str, tuple[int, ...]]
    """Images of each class, by split; with folds without val, whose images are those of train."""

    folds: int = 0
    """Folds of train that are held out in turn; 0 without folds."""

    @property
    def titles(self) -> tuple[str, ...]:
        """Words for the splits, in their order: with folds `in 5 folds` for train."""
        return tuple(f"in {self.folds} folds" if self.folds and split == "train" else split for split in self.splits)

    @property
    def train(self) -> tuple[int, ...]:
        """Training images of each class."""
        return self.splits["train"]

    @property
    def ratio(self) -> float:
        """Imbalance ratio: training images of the largest class over those of the smallest."""
        return imbalance_ratio(self.train)

    @property
    def largest(self) -> str:
        """Class with the most training images; of equals the first."""
        return self.classes[self.train.index(max(self.train))]

    @property
    def smallest(self) -> str:
        """Class with the fewest training images; of equals the first."""
        return self.classes[self.train.index(min(self.train))]

    def rare(self, ratio: float) -> tuple[int, ...]:
        """Return the classes that the largest one outnumbers by more than `ratio`; without any, the smallest one."""
        most = max(self.train)
        found = tuple(label for label, count in enumerate(self.train) if most > ratio * count)
        return found or (self.train.index(min(self.train)),)


@dataclass(frozen=True)
class ClassWeights:
    """Weights of a class under each class weighting."""

    inverse: float
    """Weight of one of its images in the loss with `class_weighting: inverse`; 1 on average over the images."""

    effective: float
    """Same with `class_weighting: effective`."""

    share: float
    """Share of the training images, which is that of the batches with `balance: none` and `loss`."""

    inverse_share: float
    """Share of the batches with `balance: sampler` and `class_weighting: inverse`."""

    effective_share: float
    """Share of the batches with `balance: sampler` and `class_weighting: effective`."""


def count_classes(dataset: Dataset) -> ClassCounts:
    """Count the images of each class in each split of a data set."""
    size = len(dataset.classes)
    counts = {split: np.bincount(dataset.labels(split), minlength=size) for split in dataset.distinct_splits}
    splits = {split: tuple(map(int, found)) for split, found in counts.items()}
    return ClassCounts(dataset.classes, splits, dataset.folds)


def imbalance_ratio(counts: Sequence[int]) -> float:
    """Return the number of images of the largest class over that of the smallest, each one image or more."""
    return max(counts) / min(counts)


def weigh_classes(counts: ClassCounts) -> tuple[ClassWeights, ...]:
    """Return the weights of each class in the training split, in the order of the classes."""
    train = np.array(counts.train)
    labels = np.repeat(np.arange(len(train)), train)
    inverse = class_weights(labels, len(train), "inverse")
    effective = class_weights(labels, len(train), "effective")
    shares = [weights * train / np.sum(weights * train) for weights in (np.ones(len(train)), inverse, effective)]
    columns = (inverse, effective, *shares)
    return tuple(ClassWeights(*map(float, row)) for row in zip(*columns, strict=True))
