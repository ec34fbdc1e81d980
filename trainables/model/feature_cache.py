"""Features once: what the frozen part of a model says of every image, computed once a node and shared by its trials."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import timm
import torch
from torch import Tensor, nn

from search_spaces.errors import OutOfMemory
from trainables.data.node_cache import Array, NodeCache
from trainables.data.preprocess import PREPROCESSING_VERSION
from trainables.model.device_memory import is_out_of_memory, release
from trainables.model.split_model import Cut

Indices = npt.NDArray[np.int64]
Inputs = Callable[[Indices], Tensor]
Context = Callable[[], AbstractContextManager[Any]]


def open_rows(
    cache: NodeCache,
    model: nn.Module,
    cut: Cut,
    inputs: Inputs,
    count: int,
    *,
    dtype: str,
    batch: int,
    identity: Mapping[str, Any],
    context: Context,
) -> Array | None:
    """What `model` says before `cut` of `count` images: (count, width), memory-mapped; None: larger than the budget.

    `inputs` gives the model's input of some of the images, computed by the first process of the node that asks, within
    `context` (autocast), always `batch` at once: the last digits of a convolution may depend on it. `identity` is
    everything that decides what `inputs` gives and what arithmetic is done. The model is left in eval mode.
    Raises OutOfMemory when not even one image fits, ThawError where the disk is full.
    """
    key = _digest(model, cut, {**identity, "dtype": dtype, "batch": batch})
    kind = {"fp32": torch.float32, "fp16": torch.float16}[dtype]
    chunks = partial(_rows, model, cut, inputs, count, batch, kind, context)
    return cache.array("features", key, (count, cut.width), {"fp32": "<f4", "fp16": "<f2"}[dtype], chunks)


def _digest(model: nn.Module, cut: Cut, identity: Mapping[str, Any]) -> str:
    """A name for everything that decides the features, the frozen weights and statistics among it."""
    versions = {"torch": torch.__version__, "timm": timm.__version__, "preprocessing": PREPROCESSING_VERSION}
    known = json.dumps({**identity, "cut": cut.digest, "versions": versions}, sort_keys=True)
    found = sha256(known.encode())
    for name, tensor in sorted(cut.prefix(model).state_dict().items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _rows(
    model: nn.Module, cut: Cut, inputs: Inputs, count: int, batch: int, dtype: torch.dtype, context: Context
) -> Iterator[Array]:
    prefix, limits = cut.prefix(model.eval()), torch.finfo(dtype)
    done, size = 0, batch
    while done < count:
        indices = np.arange(done, min(done + size, count))
        try:
            with torch.inference_mode(), context():
                rows = prefix(inputs(indices)).clamp(limits.min, limits.max).to(dtype).cpu().numpy()
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
