"""Decode once a node: the resized images of a split in one array, shared by every trial on the node."""

import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from trainables.config import ResizeMode
from trainables.data.node_cache import NodeCache, Progress
from trainables.data.preprocess import PREPROCESSING_VERSION, load
from trainables.data.readers import Dataset, Sample

Images = npt.NDArray[np.uint8]


def open_images(
    dataset: Dataset,
    split: str,
    size: int,
    mode: ResizeMode,
    fingerprint: str,
    cache: NodeCache,
    on_progress: Progress | None = None,
) -> Images | None:
    """The split's images in its order: uint8 (n, size, size, 3), memory-mapped and read-only; None: over the budget.

    `on_progress(done, total)` is called for each image decoded, so never where all are there already. Raises
    InvalidInput naming an image that cannot be read, ThawError where the disk is full; neither leaves a file.
    """
    samples = dataset.splits[split]
    key = f"{fingerprint}-{split}-{size}-{mode}-v{PREPROCESSING_VERSION}"
    shape = (len(samples), size, size, 3)
    return cache.array("images", key, shape, np.uint8, lambda: _decoded(dataset, samples, size, mode), on_progress)


def _decoded(dataset: Dataset, samples: tuple[Sample, ...], size: int, mode: ResizeMode) -> Iterator[Images]:
    """The images in order, decoded by threads (Pillow releases the interpreter lock), a bounded number ahead."""

    def one(sample: Sample) -> Images:
        return load(dataset.read(sample), str(dataset.root / sample.path), size, mode)[None]

    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(samples), 16 * workers):
            yield from pool.map(one, itertools.islice(samples, start, start + 16 * workers))
