"""Loss of classification, as a sum and a weight: cross-entropy, focal or smoothed, and the distance to a teacher."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax


@dataclass(frozen=True)
class Answers:
    """Answers that a model should give for a batch of images."""

    labels: Tensor
    """(n,) int64."""

    taught: Tensor | None = None
    """(n, classes) logarithms of a teacher's probabilities, at the temperature; None without a teacher."""


@dataclass(frozen=True)
class Targets:
    """Targets of a batch: the answers of its images, or of pairs of images where they are mixed."""

    own: Answers
    """Those of the images."""

    partners: Answers | None = None
    """Those of the images mixed in; None where nothing is mixed."""

    shares: Tensor | None = None
    """(n,) share of the first image, in [0, 1]."""

    def weights(self, class_weights: Tensor) -> Tensor:
        """(n,) weight of each sample: that of its class, or of its two classes by their shares."""
        own = class_weights[self.own.labels]
        if self.partners is None or self.shares is None:
            return own
        return self.shares * own + (1 - self.shares) * class_weights[self.partners.labels]


def loss_sum(
    logits: Tensor,
    targets: Targets,
    class_weights: Tensor,
    *,
    focal_gamma: float = 0.0,
    label_smoothing: float = 0.0,
    teacher_weight: float = 0.0,
    teacher_temperature: float = 1.0,
) -> Tensor:
    """Return the sum over the samples of class weight x loss; (n, classes) and (n,) to a scalar.

    The caller divides by the sum of the weights of the *global* batch. Mean reduction would divide each shard by its
    own weights, and then neither two workers nor a halved micro-batch would equal one process. Focal loss: Lin et al.,
    arXiv 1708.02002. Label smoothing: Szegedy et al., arXiv 1512.00567. A teacher has `teacher_weight` of the loss, the
    labels have the rest: Hinton et al., arXiv 1503.02531.
    """
    logits = logits.float()

    def losses(answers: Answers) -> Tensor:
        found = _losses(logits, answers.labels, focal_gamma, label_smoothing)
        if answers.taught is not None:
            distances = _distances(logits, answers.taught, teacher_temperature)
            found = (1 - teacher_weight) * found + teacher_weight * distances
        return found * class_weights[answers.labels]

    if targets.partners is None or targets.shares is None:
        return losses(targets.own).sum()
    return (targets.shares * losses(targets.own) + (1 - targets.shares) * losses(targets.partners)).sum()


def _losses(logits: Tensor, labels: Tensor, focal_gamma: float, label_smoothing: float) -> Tensor:
    losses = cross_entropy(logits, labels, reduction="none", label_smoothing=label_smoothing)
    if focal_gamma == 0:
        return losses
    # log(1 - p) by expm1: 1 - p loses every digit where the model is sure.
    surely = log_softmax(logits, dim=1).gather(1, labels[:, None])[:, 0]
    return losses * (-torch.expm1(surely)).clamp(min=1e-12) ** focal_gamma


def _distances(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Return the divergence from the teacher (n,), times the square of the temperature by which it shrinks."""
    own = log_softmax(logits / temperature, dim=1)
    return temperature**2 * kl_div(own, taught, reduction="none", log_target=True).sum(dim=1)
