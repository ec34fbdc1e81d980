"""Feature cache: output of the frozen layers for every image, computed once per node and shared by its trials."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any

import numpy as np
import timm
import torch
from torch import Tensor, nn

from search_spaces.errors import OutOfMemory
from trainables.data.lazy_images import Indices
from trainables.data.node_cache import Array, NodeCache
from trainables.data.preprocess import PREPROCESSING_VERSION
from trainables.model.device_memory import is_out_of_memory, release
from trainables.model.split_model import Cut

_KIND = "features"
_FORMATS = {"fp32": "<f4", "fp16": "<f2"}

Inputs = Callable[[Indices], Tensor]
Context = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class ImageInputs:
    """The images whose features are wanted."""

    count: int
    """Number of images."""

    inputs: Inputs
    """The model's input (k, 3, s, s) of those with these indices (k,)."""

    identity: Mapping[str, Any]
    """Everything that decides what `inputs` gives and what arithmetic is done; JSON-ready."""


@dataclass(frozen=True)
class StoredRows:
    """Name of rows (count, width) in the node's cache, which may be absent."""

    key: str
    """Digest of everything that decides them."""

    shape: tuple[int, int]
    """Number of images, and of numbers per image."""

    dtype: str
    """Number format: fp32 or fp16."""

    def find(self, cache: NodeCache) -> Array | None:
        """Open them, memory-mapped; return None if they are absent."""
        return cache.find(_KIND, self.key, self.shape, _FORMATS[self.dtype])


def stored_rows(model: nn.Module, cut: Cut, images: ImageInputs, *, dtype: str, batch: int) -> StoredRows:
    """Name the output of `model` before `cut` for `images`, computed `batch` images at once."""
    key = _digest(model, cut, {**images.identity, "dtype": dtype, "batch": batch})
    return StoredRows(key, (images.count, cut.width), dtype)


def open_rows(
    cache: NodeCache,
    stored: StoredRows,
    model: nn.Module,
    cut: Cut,
    images: ImageInputs,
    *,
    batch: int,
    context: Context,
) -> Array | None:
    """Open the output of `model` before `cut` for `images`: (count, width), memory-mapped; None: beyond the budget.

    `stored` is its name. It is computed by the first process of the node that asks, within `context` (autocast), always
    `batch` images at once: the last digits of a convolution may depend on it. The model is left in eval mode.
    Raises OutOfMemory when not even one image fits, ThawError where the disk is full.
    """
    chunks = partial(compute_rows, model, cut, images, dtype=stored.dtype, batch=batch, context=context)
    return cache.array(_KIND, stored.key, stored.shape, _FORMATS[stored.dtype], chunks)


def _digest(model: nn.Module, cut: Cut, identity: Mapping[str, Any]) -> str:
    """Return a name for everything that decides the features, the frozen weights and statistics among it."""
    versions = {"torch": torch.__version__, "timm": timm.__version__, "preprocessing": PREPROCESSING_VERSION}
    known = json.dumps({**identity, "cut": cut.digest, "versions": versions}, sort_keys=True)
    found = sha256(known.encode())
    for name, tensor in sorted(cut.prefix(model).state_dict().items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def compute_rows(
    model: nn.Module, cut: Cut, images: ImageInputs, *, dtype: str, batch: int, context: Context
) -> Iterator[Array]:
    """Compute what `open_rows` opens, in chunks (k, width) of at most `batch` rows."""
    kind = {"fp32": torch.float32, "fp16": torch.float16}[dtype]
    prefix, limits = cut.prefix(model.eval()), torch.finfo(kind)
    done, size = 0, batch
    while done < images.count:
        indices = np.arange(done, min(done + size, images.count))
        try:
            with torch.inference_mode(), context():
                rows = prefix(images.inputs(indices)).clamp(limits.min, limits.max).to(kind).cpu().numpy()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if size == 1:
                raise OutOfMemory(
                    "an image must fit into memory, but none does; set a smaller architecture or image_size"
                ) from error
        else:
            yield rows
            done += len(indices)
            continue
        size //= 2
        release()
