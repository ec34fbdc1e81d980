"""Batches of images as a step sees them, of one split or of both."""

import torch
from torch import Tensor

from trainables.config import TrialConfig
from trainables.data.arrays import Split
from trainables.data.augmentation.erasing import erase
from trainables.data.augmentation.mixing import mix
from trainables.data.augmentation.policies import augment
from trainables.data.lazy_images import Indices
from trainables.data.sample_random import Draw
from trainables.data.stats import Channels
from trainables.task import inference


class Batches:
    """Batches of one split, on one device. `indices` (n,) are positions in the split, `partners` what is mixed in."""

    def __init__(self, config: TrialConfig, split: Split, mean: Channels, std: Channels, device: torch.device) -> None:
        self.config = config
        self.split = split
        self.mean, self.std = mean, std
        self.device = device

    def __len__(self) -> int:
        return len(self.split)

    def keep(self) -> None:
        """Keep the images on the device, where there is room."""
        self.split = self.split.on(self.device)

    def take_back(self) -> bool:
        """Give up the images on the device; returns whether there were any."""
        there = self.split.resident is not None
        self.split = self.split.on_host()
        return there

    def images(self, indices: Indices, partners: Indices, draw: Draw) -> Tensor:
        """Compute the model's input (n, 3, s, s): augmented, mixed, normalized, erased, as `draw` has it."""
        config = self.config
        images = self._augmented(indices, draw)
        if config.mixing != "none":
            others = self._augmented(partners, draw)
            images, _ = mix(config.mixing, images, others, draw.seed, draw.epoch, indices, config.mixing_alpha)
        images = inference.normalize_(images, self.mean, self.std)
        if config.random_erasing:
            images = erase(images, config.random_erasing, draw.seed, draw.epoch, indices)
        return self._laid_out(images)

    def plain(self, indices: Indices) -> Tensor:
        """Compute the model's input (n, 3, s, s) as evaluation has it: nothing is left to chance."""
        return self._laid_out(inference.to_input(self.split.batch(indices, self.device), self.mean, self.std))

    def _augmented(self, indices: Indices, draw: Draw) -> Tensor:
        images = inference.to_unit(self.split.batch(indices, self.device))
        return augment(images, self.config.augmentation, draw.seed, draw.epoch, indices)

    def _laid_out(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=torch.channels_last) if self.config.channels_last else images


class TrialBatches:
    """Batches of both splits of a trial: images stay on the device from the first phase that reads them on."""

    def __init__(self, train: Batches, val: Batches, fingerprint: str) -> None:
        """`fingerprint` is that of the images as the caches hold them."""
        self.train, self.val = train, val
        self.fingerprint = fingerprint
        self.device = train.device
        self._may_stay = True

    def keep(self) -> None:
        """Keep the images on the device, where there is room, unless they were in the way before."""
        if self._may_stay:
            self.train.keep()
            self.val.keep()

    def take_back(self) -> bool:
        """Give up the images on the device for good; returns whether there were any."""
        self._may_stay = False
        there = [batches.take_back() for batches in (self.train, self.val)]
        return any(there)
