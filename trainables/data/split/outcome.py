"""Outcome of a division: images per class and split, what the shares miss, and the groups that stay together."""

from dataclasses import dataclass

from trainables.data.readers import Dataset
from trainables.data.sources.division import grouped, wanted_images


@dataclass(frozen=True)
class ClassImages:
    """Images of one class, by split."""

    label: str
    images: dict[str, int]


@dataclass(frozen=True)
class SplitImages:
    """Images of one split."""

    images: int

    missed: int
    """Images above the number that its share asks for; below it where negative."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of a division."""

    images: int
    splits: dict[str, SplitImages]
    classes: list[ClassImages]

    groups: int
    """Groups of several images."""

    grouped: int
    """Images in these groups."""

    largest: list[str]
    """Paths of the largest group; empty where no group holds several."""

    by_bytes_alone: list[str]
    """Paths of images that are compared by their bytes alone: damaged, of one color, or below 32 pixels a side."""


def outcome(dataset: Dataset) -> Outcome:
    """Count what became of a data set that Thaw has divided, once its files have been examined."""
    undivided = dataset.undivided
    assert undivided is not None and undivided.shares is not None
    counts = {split: [0] * len(dataset.classes) for split in dataset.splits}
    for split, samples in dataset.splits.items():
        for sample in samples:
            counts[split][sample.label] += 1
    images = undivided.entries["train"]
    wanted = wanted_images(images, undivided.shares)
    groups = grouped(images, undivided.shares, dataset.digests, dataset.hashes, undivided.marks)
    several = [group for group in groups if len(group) > 1]
    return Outcome(
        images=len(images),
        splits={split: SplitImages(sum(own), sum(own) - sum(wanted[split].values())) for split, own in counts.items()},
        classes=[
            ClassImages(name, {split: own[label] for split, own in counts.items()})
            for label, name in enumerate(dataset.classes)
        ],
        groups=len(several),
        grouped=sum(map(len, several)),
        largest=sorted(path for path, _ in max(several, key=len, default=[])),
        by_bytes_alone=sorted(path for path, _ in images if path not in dataset.hashes),
    )
