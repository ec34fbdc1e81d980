"""Decode once a node: the resized images of a split in one array, shared by every trial on the node.

Stored at the training size, without a margin. Measured on 294 photos of trashnet6 at 96 pixels, crops of `medium` from
images stored 20 % larger are closer to those of the photo itself (41.2 dB, from 37.4) for 44 % more disk and memory.
But what blurs is the bilinear lookup and not the size: a bicubic one from the training size gives as much (40.8 dB).
Nor would a margin save `squash` and `pad` their reflected borders: there is nothing of the photo beyond them. And the
unchanged image must be the one that evaluation sees, which larger ones could give only by resizing a second time.
"""

import logging
import os
from collections.abc import Iterator

import numpy as np
import torch

from search_spaces.errors import BadImages, InvalidInput
from trainables.config import ResizeMode
from trainables.data.lazy_images import LazyImages, Pixels
from trainables.data.node_cache import NodeCache, Progress
from trainables.data.preprocess import PREPROCESSING_VERSION, load_image
from trainables.data.readers import Dataset

log = logging.getLogger(__name__)


def open_images(
    dataset: Dataset,
    split: str,
    size: int,
    mode: ResizeMode,
    fingerprint: str,
    cache: NodeCache,
    on_progress: Progress | None = None,
) -> Pixels | LazyImages:
    """Open the split's images in its order: uint8 (n, size, size, 3), memory-mapped and read-only.

    Where they do not fit into the cache's budget, the same images, decoded whenever they are asked for. Otherwise
    `on_progress(done, total)` is called for each image decoded, so never where all are there already. Raises
    BadImages naming all images that cannot be read, ThawError where the disk is full; neither leaves a file.
    """
    samples = dataset.splits[split]
    shape = (len(samples), size, size, 3)

    def decode(index: int) -> Pixels:
        sample = samples[index]
        return load_image(dataset.read(sample), str(dataset.root / sample.path), size, mode)

    faults: dict[str, str] = {}

    def decode_or_note(index: int) -> Pixels:
        try:
            return decode(index)
        except InvalidInput as error:
            faults[str(dataset.root / samples[index].path)] = str(error)
            return np.zeros(shape[1:], np.uint8)

    def rows() -> Iterator[Pixels]:
        # All cores of the node, since every trial on it waits; handed on one by one, for the progress.
        threads = os.cpu_count() or 1
        for chunk in LazyImages(decode_or_note, shape, threads).chunks(16 * threads):
            yield from (image[None] for image in chunk)
        if faults:
            raise BadImages(faults)

    key = f"{fingerprint}-{split}-{size}-{mode}-v{PREPROCESSING_VERSION}"
    images = cache.array("images", key, shape, np.uint8, rows, on_progress)
    if images is not None:
        return images
    log.warning(
        "the images of %s (%d MiB) do not fit into the budget of %s, and are decoded anew in every epoch; "
        "raise storage.cache_budget, or set storage.cache_dir to a larger disk",
        *(split, np.prod(shape) // 2**20, cache.folder),
    )
    return LazyImages(decode, shape, torch.get_num_threads())
