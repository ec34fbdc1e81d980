"""Training batches: the images as a step sees them, and what they should be told to be."""

import numpy as np
import torch
from torch import Tensor

from trainables.config import TrialConfig
from trainables.data.arrays import Split
from trainables.data.augmentation.erasing import erase
from trainables.data.augmentation.mixing import mix, pair_shares
from trainables.data.augmentation.policies import augment
from trainables.data.lazy_images import Indices
from trainables.data.sample_random import Draw
from trainables.task import inference
from trainables.task.classification import Targets

Channels = tuple[float, float, float]


class Batches:
    """Batches of one split, on one device. `indices` (n,) are positions in the split, `partners` what is mixed in."""

    def __init__(self, config: TrialConfig, split: Split, mean: Channels, std: Channels, device: torch.device) -> None:
        self.config = config
        self.split = split
        self.mean, self.std = mean, std
        self.device = device
        self.labels = torch.from_numpy(split.labels).to(device)

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
        """The model's input (n, 3, s, s): augmented, mixed, normalised, erased, as `draw` has it."""
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
        """The model's input (n, 3, s, s) as evaluation has it: nothing is left to chance."""
        return self._laid_out(inference.to_input(self.split.batch(indices, self.device), self.mean, self.std))

    def targets(self, indices: Indices, partners: Indices, draw: Draw) -> Targets:
        """What the images of the same arguments should be."""
        labels = self._labels(indices)
        config = self.config
        if config.mixing == "none":
            return Targets(labels)
        shares = pair_shares(config.mixing, config.mixing_alpha, draw.seed, draw.epoch, indices, config.data.image_size)
        return Targets(labels, self._labels(partners), torch.from_numpy(shares).to(self.device))

    def _labels(self, indices: Indices) -> Tensor:
        return self.labels[torch.from_numpy(np.ascontiguousarray(indices)).to(self.device)]

    def _augmented(self, indices: Indices, draw: Draw) -> Tensor:
        images = inference.to_unit(self.split.batch(indices, self.device))
        return augment(images, self.config.augmentation, draw.seed, draw.epoch, indices)

    def _laid_out(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=torch.channels_last) if self.config.channels_last else images
