"""DataSummary: what can be counted and measured of a data set without a model."""

from dataclasses import asdict, dataclass
from typing import Any

from trainables.data.arrays import Arrays
from trainables.data.stats import Channels, channel_stats
from trainables.data.summary.class_counts import ClassCounts, ClassWeights, count_classes, weigh_classes
from trainables.data.summary.image_sizes import ImageSizes
from trainables.data_config import DataConfig, ResizeMode


@dataclass(frozen=True)
class DataSummary:
    """Counts, weights, pixels and sizes of a data set."""

    counts: ClassCounts
    """Images of each class in each split."""

    weights: tuple[ClassWeights, ...]
    """Weights of each class, in the order of the classes."""

    image_size: int
    """Side of the square at which `mean` and `std` were measured, in pixels."""

    resize_mode: ResizeMode
    """Way in which the photos were brought to that square."""

    mean: Channels
    """Mean of each channel over every pixel of the training images, on the scale 0 to 1."""

    std: Channels
    """Standard deviation, likewise."""

    sizes: ImageSizes | None
    """Sizes of the files' photos; None where no header is known."""

    remarks: tuple[str, ...]
    """Sentences about the data set: files left out, equal images, classes without images."""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping, one entry per class."""
        counts = self.counts
        rows = zip(counts.classes, zip(*counts.splits.values(), strict=True), self.weights, strict=True)
        classes = [
            {"label": label, "images": dict(zip(counts.splits, own, strict=True)), "weights": asdict(weights)}
            for label, own, weights in rows
        ]
        sizes = self.sizes
        return {
            "images": {split: sum(own) for split, own in counts.splits.items()},
            "folds": counts.folds or None,
            "classes": classes,
            "imbalance_ratio": counts.ratio,
            "pixels": {
                "image_size": self.image_size,
                "resize_mode": self.resize_mode,
                "mean": list(self.mean),
                "std": list(self.std),
            },
            "sizes": None
            if sizes is None
            else {
                "images": sizes.images,
                **{name: getattr(sizes, name)._asdict() for name in ("width", "height", "shorter", "aspect")},
            },
            "remarks": list(self.remarks),
        }


def summarize(arrays: Arrays, data: DataConfig, sizes: ImageSizes | None) -> DataSummary:
    """Summarize a data set, opened as `data` says; `sizes` are those of its files."""
    counts = count_classes(arrays.dataset)
    mean, std = channel_stats(arrays.splits["train"].images)
    return DataSummary(
        counts=counts,
        weights=weigh_classes(counts),
        image_size=data.image_size,
        resize_mode=data.resize_mode,
        mean=mean,
        std=std,
        sizes=sizes,
        remarks=arrays.remarks,
    )
