"""The data set of a trial as arrays: decoded once a node, memory-mapped, shared by every trial on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces.errors import InvalidInput, ThawError
from trainables.config import DataConfig
from trainables.data.fingerprint import fingerprint
from trainables.data.image_cache import open_images
from trainables.data.node_cache import NodeCache
from trainables.data.node_cache import Progress as Progress  # named here for those who load
from trainables.data.readers import Dataset, open_dataset


@dataclass(frozen=True)
class Split:
    """One split: uint8 images (n, size, size, 3), read-only, and int64 labels (n,)."""

    images: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Arrays:
    """The splits that were asked for, with the data set they came from."""

    dataset: Dataset
    fingerprint: str
    splits: dict[str, Split]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; the label of a sample is an index into them."""
        return self.dataset.classes


def load_arrays(
    data: DataConfig, cache: Path, splits: Sequence[str] = ("train", "val"), on_progress: Progress | None = None
) -> Arrays:
    """Open the data set and its decoded images, decoding what this node has not decoded yet.

    Raises InvalidInput for whatever is wrong with the folder, the manifest or an image, before anything is trained, and
    for a split that the data set does not have.
    """
    dataset = open_dataset(data.root, data.manifest)
    for split in splits:
        if split not in dataset.splits:
            raise InvalidInput(
                f"{data.root}: split must be one of {', '.join(dataset.splits)}, got {split!r}; "
                "choose one of them, or add the images"
            )
    digest = fingerprint(dataset, cache)
    node, opened = NodeCache(cache), {}
    for split in splits:
        images = open_images(dataset, split, data.image_size, data.resize_mode, digest, node, on_progress)
        if images is None:
            raise ThawError(
                f"{cache}: the images of {split} must fit into half of the disk; set storage.cache_dir to another disk"
            )
        opened[split] = Split(images, dataset.labels(split))
    return Arrays(dataset, digest, opened)
