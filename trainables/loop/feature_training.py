"""Training on features instead of images while something is frozen, wherever the result is the same."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from search_spaces.errors import StorageFailed, ThawError
from trainables.config import TrialConfig
from trainables.data.lazy_images import Indices
from trainables.data.node_cache import Array, NodeCache
from trainables.data.sample_random import Draw
from trainables.fixed_views import fixed_views
from trainables.loop.batches import TrialBatches
from trainables.model.device_memory import forward_batch
from trainables.model.feature_cache import (
    Context,
    ImageInputs,
    StoredRows,
    compute_rows,
    open_rows,
    stored_rows,
)
from trainables.model.freeze_plan import Stages
from trainables.model.split_model import CannotCut, Cut, find_cut

VIEW_SEED = 0
"""Draws the fixed views: no trial's seed, so that trials of several seeds share them."""

_TRIED_ON = 3
_CUTS_KEPT = 32
_cuts: dict[tuple[Any, ...], Cut] = {}


class CannotCache(Exception):
    """Why a phase trains on images, as a phrase."""


@dataclass(frozen=True)
class StoredFeatures:
    """Names of the features of a phase, and the cut of the model behind which they are."""

    cut: Cut
    views: int
    """Number of views that the epochs take in turn."""

    train: Mapping[int, StoredRows]
    """Of each view that the phase needs."""

    val: StoredRows

    device: torch.device
    """Device that they are computed on, and trained on."""

    def find(self, cache: NodeCache, epochs: Iterable[int]) -> "PhaseFeatures | None":
        """Open those of `epochs`; return None unless the node has all of them."""
        wanted = {epoch % self.views for epoch in epochs}
        val = self.val.find(cache)
        train = {view: self.train[view].find(cache) for view in wanted & self.train.keys()}
        found = {view: rows for view, rows in train.items() if rows is not None}
        return None if val is None or len(found) < len(wanted) else PhaseFeatures(self, found, val)


@dataclass(frozen=True)
class PhaseFeatures:
    """The features of a phase: of the training images under each of its views, and of the validation images."""

    stored: StoredFeatures
    """Their names in the node's cache."""

    train: Mapping[int, Array]
    """Of each view that the phase needs, rows (n, width), memory-mapped."""

    val: Array
    """Rows (n, width), memory-mapped."""

    train_rows: Indices | None = None
    """Positions of the images that are trained on; None: all."""

    val_rows: Indices | None = None
    """Positions of the images that are validated on; None: all."""

    @property
    def val_count(self) -> int:
        """Number of validation images."""
        return len(self.val) if self.val_rows is None else len(self.val_rows)

    @property
    def only_view(self) -> Array:
        """Rows (n, width) of the training images where they have one view alone."""
        (rows,) = self.train.values()
        return rows if self.train_rows is None else rows[self.train_rows]

    @property
    def cut(self) -> Cut:
        """The cut of the model behind which they are."""
        return self.stored.cut

    def batch(self, indices: Indices, epoch: int) -> Tensor:
        """Return rows (n, width) of these training images in this epoch, float32 on the device."""
        rows = indices if self.train_rows is None else self.train_rows[indices]
        return self._tensor(self.train[epoch % self.stored.views][rows])

    def validation(self, indices: Indices) -> Tensor:
        """Return rows (n, width) of these validation images, float32 on the device."""
        return self._tensor(self.val[indices if self.val_rows is None else self.val_rows[indices]])

    def _tensor(self, rows: Array) -> Tensor:
        return torch.from_numpy(rows).to(self.stored.device).float()


def epoch_draw(config: TrialConfig, epoch: int, stages: Stages) -> Draw:
    """Which draws the images of an epoch get, in which `stages` stages train.

    With K fixed views the epochs in which something is frozen take turns with them, be they cached or not.
    """
    views = fixed_views(config)
    return Draw(VIEW_SEED, epoch % views) if views > 1 and stages != "all" else Draw(config.seed, epoch)


def open_features(
    config: TrialConfig,
    model: nn.Module,
    stages: Stages,
    epochs: Iterable[int],
    images: TrialBatches,
    cache: NodeCache,
    context: Context,
) -> PhaseFeatures:
    """Open the features for `epochs`, in which `stages` stages of `model` train; computed where the node lacks them.

    `context` is the autocast of the trial. The model is left in eval mode. Raises CannotCache, with the reason, where
    the model cannot be cut and where there is no room.
    """
    cut = _cut(config, model, stages, images.device, context)
    views, batch = fixed_views(config), forward_batch(config.data.image_size, images.device)

    def rows(wanted: ImageInputs) -> tuple[StoredRows, Array]:
        stored = stored_rows(model, cut, wanted, dtype=config.feature_dtype, batch=batch)
        found = open_rows(cache, stored, model, cut, wanted, batch=batch, context=context)
        if found is None:
            size = wanted.count * cut.width * {"fp32": 4, "fp16": 2}[config.feature_dtype] / 2**20
            raise CannotCache(f"{size:.0f} MiB of them do not fit into the node's cache")
        return stored, found

    try:
        val = rows(_plain(config, images, "train" if images.val is images.train else "val"))
        needed = sorted({epoch % views for epoch in epochs})
        train = {
            view: rows(_plain(config, images, "train") if views == 1 else _view(config, images, view))
            for view in needed
        }
    except ThawError as error:
        raise CannotCache(str(error)) from error
    names = {view: stored for view, (stored, _) in train.items()}
    stored = StoredFeatures(cut, views, names, val[0], images.device)
    return PhaseFeatures(stored, {view: found for view, (_, found) in train.items()}, val[1])


def head_features(
    config: TrialConfig, model: nn.Module, images: TrialBatches, cache: NodeCache, context: Context
) -> tuple[Cut, Array]:
    """Return the cut before the classifier, and the rows (n, width) of the training images as evaluation has them.

    They are the node's, or, where it has no room, computed into memory. `model` has a classifier that alone needs
    gradients, and is left in eval mode. Raises CannotCache, with the reason, where it cannot be cut there.
    """
    cut, wanted = _cut(config, model, 0, images.device, context), _plain(config, images, "train")
    batch, dtype = forward_batch(config.data.image_size, images.device), config.feature_dtype
    with suppress(StorageFailed):  # a full disk costs time, not the trial
        stored = stored_rows(model, cut, wanted, dtype=dtype, batch=batch)
        found = open_rows(cache, stored, model, cut, wanted, batch=batch, context=context)
        if found is not None:
            return cut, found
    return cut, np.concatenate([*compute_rows(model, cut, wanted, dtype=dtype, batch=batch, context=context)])


def _plain(config: TrialConfig, images: TrialBatches, split: str) -> ImageInputs:
    """Return the images of a split as evaluation has them."""
    batches = images.train if split == "train" else images.val
    return ImageInputs(len(batches), batches.plain, {**_identity(config, images), "split": split})


def _view(config: TrialConfig, images: TrialBatches, view: int) -> ImageInputs:
    """Return the training images under one of several fixed views."""
    draw = Draw(VIEW_SEED, view)
    drawn = {"augmentation": config.augmentation, "erasing": config.random_erasing, "seed": VIEW_SEED}
    identity = {**_identity(config, images), "view": view, **drawn, "split": "train"}
    return ImageInputs(len(images.train), lambda own: images.train.images(own, own, draw), identity)


def _identity(config: TrialConfig, images: TrialBatches) -> dict[str, Any]:
    """Return all that decides features of any split, apart from the model."""
    return {
        "precision": config.precision,
        "channels_last": config.channels_last,
        "device": images.device.type,
        "fingerprint": images.fingerprint,
        "size": config.data.image_size,
        "mode": config.data.resize_mode,
        "max_pixels": config.data.max_pixels,
        "mean": images.train.mean,
        "std": images.train.std,
        "architecture": config.architecture,
    }


def _cut(
    config: TrialConfig,
    model: nn.Module,
    stages: Stages,
    device: torch.device,
    context: Context,
) -> Cut:
    """Find the cut of an architecture, tried once a process: it depends on none of the weights. Raises CannotCache."""
    key = (
        config.task,
        config.architecture,
        model.num_classes,
        stages,
        config.data.image_size,
        config.dropout,
        config.drop_path,
        config.precision,
        config.channels_last,
        config.sync_batchnorm,
        config.norm_stats,
        device,
    )
    if key not in _cuts:
        size, chance = config.data.image_size, torch.Generator().manual_seed(0)
        images = torch.randn(_TRIED_ON, 3, size, size, generator=chance).to(device)
        if config.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        try:
            found = find_cut(model, images, context, config.norm_stats)
        except CannotCut as error:
            raise CannotCache(f"{config.architecture} cannot be cut there: {error}") from error
        while len(_cuts) >= _CUTS_KEPT:
            del _cuts[next(iter(_cuts))]
        _cuts[key] = found
    return _cuts[key]
