"""Soft vote of several classifiers as one module, so that it can be exported as one file."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainables.data.stats import Channels


class SoftVote(nn.Module):
    """Images (n, 3, s, s) -> logarithms of the mean probabilities (n, classes), themselves logits."""

    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, images: Tensor) -> Tensor:
        """Return the vote on images (n, 3, s, s)."""
        votes = torch.stack([torch.log_softmax(model(images), dim=1) for model in self.models])
        return torch.logsumexp(votes, dim=0) - math.log(len(self.models))


class Renormalized(nn.Module):
    """A model that is given images normalized by other values than its own."""

    scale: Tensor
    shift: Tensor

    def __init__(self, model: nn.Module, own: tuple[Channels, Channels], given: tuple[Channels, Channels]) -> None:
        """`own` and `given` are the mean and the standard deviation of each channel, of pixels in [0, 1]."""
        super().__init__()
        self.model = model
        mean, std, given_mean, given_std = (torch.tensor(values).reshape(3, 1, 1) for values in (*own, *given))
        self.register_buffer("scale", given_std / std)
        self.register_buffer("shift", (given_mean - mean) / std)

    def forward(self, images: Tensor) -> Tensor:
        """Return what the model gives for the images as it knows them."""
        outputs: Tensor = self.model(images * self.scale + self.shift)
        return outputs
