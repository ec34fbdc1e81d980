"""Loss of classification: weighted cross-entropy, focal or smoothed, as a sum and a weight."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax


@dataclass(frozen=True)
class Targets:
    """Targets of a batch: labels, or pairs of labels where images are mixed."""

    labels: Tensor
    """(n,) int64."""

    partners: Tensor | None = None
    """(n,) labels of the images mixed in; None where nothing is mixed."""

    shares: Tensor | None = None
    """(n,) share of the first image, in [0, 1]."""

    def weights(self, class_weights: Tensor) -> Tensor:
        """(n,) weight of each sample: that of its class, or of its two classes by their shares."""
        own = class_weights[self.labels]
        if self.partners is None or self.shares is None:
            return own
        return self.shares * own + (1 - self.shares) * class_weights[self.partners]


def loss_sum(
    logits: Tensor, targets: Targets, class_weights: Tensor, *, focal_gamma: float = 0.0, label_smoothing: float = 0.0
) -> Tensor:
    """Return the sum over the samples of class weight x loss; (n, classes) and (n,) to a scalar.

    The caller divides by the sum of the weights of the *global* batch. Mean reduction would divide each shard by its
    own weights, and then neither two workers nor a halved micro-batch would equal one process. Focal loss: Lin et al.,
    arXiv 1708.02002. Label smoothing: Szegedy et al., arXiv 1512.00567.
    """
    logits = logits.float()
    own = _losses(logits, targets.labels, focal_gamma, label_smoothing) * class_weights[targets.labels]
    if targets.partners is None or targets.shares is None:
        return own.sum()
    other = _losses(logits, targets.partners, focal_gamma, label_smoothing) * class_weights[targets.partners]
    return (targets.shares * own + (1 - targets.shares) * other).sum()


def _losses(logits: Tensor, labels: Tensor, focal_gamma: float, label_smoothing: float) -> Tensor:
    losses = cross_entropy(logits, labels, reduction="none", label_smoothing=label_smoothing)
    if focal_gamma == 0:
        return losses
    # log(1 - p) by expm1: 1 - p loses every digit where the model is sure.
    surely = log_softmax(logits, dim=1).gather(1, labels[:, None])[:, 0]
    return losses * (-torch.expm1(surely)).clamp(min=1e-12) ** focal_gamma
