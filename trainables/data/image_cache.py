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

from search_spaces.errors import BadImages, InvalidInput
from trainables.data.lazy_images import LazyImages, Pixels
from trainables.data.node_cache import NodeCache, Progress
from trainables.data.preprocess import PREPROCESSING_VERSION, load_image
from trainables.data.readers import Dataset
from trainables.data_config import DEFAULT_MAX_PIXELS, DataConfig

log = logging.getLogger(__name__)


def open_images(
    dataset: Dataset,
    split: str,
    data: DataConfig,
    fingerprint: str,
    cache: NodeCache,
    on_progress: Progress | None = None,
) -> Pixels | LazyImages:
    """Open the split's images in its order: uint8 (n, size, size, 3), memory-mapped and read-only.

    Where they do not fit into the cache's budget, the same images, decoded whenever they are asked for. Otherwise
    `on_progress(done, total)` is called for each image decoded, so never where all are there already. Raises BadImages
    naming all that cannot be decoded, InvalidInput for a file that has changed, ThawError for a full disk; no file
    is left.
    """
    samples, shape = dataset.splits[split], (len(dataset.splits[split]), data.image_size, data.image_size, 3)

    def read(index: int) -> tuple[bytes, str]:
        return dataset.read(samples[index]), dataset.named(samples[index].path)

    def decode(index: int) -> Pixels:
        return load_image(*read(index), data.image_size, data.resize_mode, data.max_pixels)

    faults: dict[str, str] = {}

    def decode_or_note(index: int) -> Pixels:
        content, name = read(index)
        try:
            return load_image(content, name, data.image_size, data.resize_mode, data.max_pixels)
        except InvalidInput as error:
            faults[name] = str(error)
            return np.zeros(shape[1:], np.uint8)

    def rows() -> Iterator[Pixels]:
        # All cores of the node, since every trial on it waits; handed on one by one, for the progress.
        threads = os.cpu_count() or 1
        for chunk in LazyImages(decode_or_note, shape, threads).chunks(16 * threads):
            yield from (image[None] for image in chunk)
        if faults:
            raise BadImages(faults)

    images = cache.array("images", _key(split, data, fingerprint), shape, np.uint8, rows, on_progress)
    if images is not None:
        return images
    log.warning(
        "the images of %s (%d MiB) do not fit into the budget of %s, and are decoded anew in every epoch; "
        "raise storage.cache_budget, or set storage.cache_dir to a larger disk",
        *(split, np.prod(shape) // 2**20, cache.folder),
    )
    return LazyImages(decode, shape, _threads())


def _threads() -> int:
    import torch  # a data set that is refused, or that fits, does not wait for it

    return torch.get_num_threads()


def _key(split: str, data: DataConfig, fingerprint: str) -> str:
    """Return a name for the pixels of a split; with the usual limit it is that of older versions."""
    limit = "" if data.max_pixels == DEFAULT_MAX_PIXELS else f"-{data.max_pixels}"
    return f"{fingerprint}-{split}-{data.image_size}-{data.resize_mode}{limit}-v{PREPROCESSING_VERSION}"
