"""The data set of a trial as arrays: decoded once a node, memory-mapped, shared by every trial on it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from search_spaces.errors import BadImages, InvalidInput, one_of
from trainables.data.fingerprint import Fingerprints, examine_content
from trainables.data.image_cache import open_images
from trainables.data.lazy_images import Indices, LazyImages, Pixels
from trainables.data.node_cache import NodeCache
from trainables.data.node_cache import Progress as Progress  # named here for those who load
from trainables.data.readers import Dataset, open_configured
from trainables.data_config import DataConfig, TrainedOn

if TYPE_CHECKING:  # data are refused without waiting for torch
    import torch
    from torch import Tensor

# Of a device's free memory, what the images of one split may take; the rest is the model's.
_SHARE = 1 / 4
_CHUNK = 256


@dataclass(frozen=True)
class Split:
    """The images of one split."""

    images: Pixels | LazyImages
    """uint8 (n, size, size, 3), read-only; read it by lists of indices."""

    resident: "Tensor | None" = None
    """The same images in the memory of a device."""

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Indices, device: "torch.device") -> "Tensor":
        """Return the images of `indices` (k,) on `device`: uint8 (k, size, size, 3), of one gather."""
        import torch

        if self.resident is not None:
            return self.resident.index_select(0, torch.from_numpy(indices).to(self.resident.device))
        return torch.from_numpy(self.images[indices]).to(device)

    def announce(self, *batches: Indices) -> None:
        """Say which batches are asked for next: what has to be decoded for them begins now."""
        if isinstance(self.images, LazyImages) and self.resident is None:
            self.images.announce(*batches)

    def on(self, device: "torch.device", free: int | None = None) -> "Split":
        """Return the split with its images copied to `device`, where they fit into a quarter of its free memory.

        `free` is in bytes; None asks a GPU, and takes nothing of any other device, whose memory the node's cache is in.
        """
        import torch

        free = _free(device) if free is None else free
        shape = self.images.shape
        if int(np.prod(shape, dtype=np.int64)) > free * _SHARE:
            return self
        resident = torch.empty(shape, dtype=torch.uint8, device=device)
        for start in range(0, len(self), _CHUNK):
            rows = np.arange(start, min(start + _CHUNK, len(self)))
            resident[start : start + len(rows)] = self.batch(rows, device)
        return replace(self, resident=resident)

    def on_host(self) -> "Split":
        """Return the split without the copy on the device."""
        return replace(self, resident=None)


@dataclass(frozen=True)
class Arrays:
    """The splits that were asked for, with the data set they came from."""

    dataset: Dataset
    fingerprints: Fingerprints
    splits: dict[str, Split]

    remarks: tuple[str, ...] = ()
    """Sentences about what the user may not know of the data set: of its files, its classes and their content."""

    duplicates: str | None = None
    """Remark on equal bytes under two labels or in two splits; None without any."""

    near: str | None = None
    """Remark on near-duplicates in two splits; None without any."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; the label of a sample is an index into them."""
        return self.dataset.classes


def load_arrays(
    data: DataConfig,
    cache: Path,
    splits: Sequence[str] | None = ("train", "val"),
    on_progress: Progress | None = None,
    budget: int | None = None,
) -> Arrays:
    """Open the data set and its decoded images, decoding what this node has not decoded yet.

    `splits` None: all that the data set has. `budget` is that of the node's cache, in bytes; see NodeCache. Images
    beyond it are decoded when they are asked for.
    Raises InvalidInput for whatever is wrong with the folder, the manifest or an image, before anything is trained, and
    for a split that the data set does not have.
    """
    dataset = open_configured(data, cache, on_progress)
    splits = tuple(dataset.splits) if splits is None else splits
    for split in splits:
        if split not in dataset.splits:
            trained = "; val was trained on too" if data.train_on is TrainedOn.TRAIN_AND_VAL else ""
            raise InvalidInput(
                f"{data.root}: --split {one_of(split, dataset.splits)}, or add images of {split}{trained}"
            )
    content = examine_content(dataset, cache, data.on_bad_image, data.max_pixels, on_progress)
    dataset, node = content.dataset, NodeCache(cache, budget)
    stored = content.fingerprints.stored
    opened: dict[str, Split] = {}
    faults: dict[str, str] = {}
    for split in splits:
        if split == "val" and dataset.fold_of and "train" in opened:
            opened[split] = opened["train"]  # the same images
            continue
        try:
            opened[split] = Split(open_images(dataset, split, data, stored, node, on_progress))
        except BadImages as error:  # those of the other splits are named with them
            faults |= error.faults
    if faults:
        raise BadImages(faults)
    remarks = (*dataset.remarks, *content.remarks)
    return Arrays(dataset, content.fingerprints, opened, remarks, content.duplicates, content.near)


def open_used(data: DataConfig, cache: Path) -> Dataset:
    """List the images that are used, as they are divided: without those that cannot be decoded, where they are skipped.

    Files are read, once a node, where it depends on them. Raises InvalidInput as `load_arrays` does.
    """
    dataset = open_configured(data, cache)
    if data.on_bad_image == "fail" and dataset.undivided is None:
        return dataset
    return examine_content(dataset, cache, data.on_bad_image, data.max_pixels).dataset


def decode_rest(arrays: Arrays, on_progress: Progress | None = None) -> None:
    """Decode once what the cache has no room for, so that an image that cannot be read is found before the training.

    Raises BadImages naming all of them.
    """
    faults: dict[str, str] = {}
    for name, split in arrays.splits.items():
        if not isinstance(split.images, LazyImages):
            continue
        for start in range(0, len(split), _CHUNK):
            indices = np.arange(start, min(start + _CHUNK, len(split)))
            try:
                split.images[indices]
            except InvalidInput:
                faults |= _faults(arrays.dataset, name, split.images, indices)
            if on_progress is not None:
                on_progress(start + len(indices), len(split))
    if faults:
        raise BadImages(faults)


def _faults(dataset: Dataset, split: str, images: LazyImages, indices: Indices) -> dict[str, str]:
    """Return the error of each image that cannot be decoded, by its path."""
    faults = {}
    for index in indices:
        try:
            images[np.array([index])]
        except InvalidInput as error:
            faults[dataset.named(dataset.splits[split][index].path)] = str(error)
    return faults


def _free(device: "torch.device") -> int:
    if device.type != "cuda":
        return 0
    import torch

    # What earlier trials of this process have given back is kept for us by torch's allocator.
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept
