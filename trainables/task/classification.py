"""The task: what the targets are, what the loss is, what is measured. A second task is a second file like this one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax


@dataclass(frozen=True)
class Targets:
    """What a batch should be: labels, or pairs of labels where images are mixed."""

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
    """Sum over the samples of class weight x loss; (n, classes) and (n,) to a scalar.

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


def metrics(logits: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> dict[str, float]:
    """Loss, accuracy, balanced accuracy and macro-F1 of (n, classes) logits against (n,) labels.

    Balanced accuracy is the mean recall of the classes in `labels`; macro-F1 also counts classes predicted in error.
    """
    loss = cross_entropy(torch.from_numpy(logits).double(), torch.from_numpy(labels))
    scores = _scores(logits, labels)
    return {
        "loss": float(loss),
        "accuracy": float((logits.argmax(axis=1) == labels).mean()),
        "balanced_accuracy": float(scores["recall"][scores["support"] > 0].mean()),
        "macro_f1": float(scores["f1"][scores["support"] + scores["claimed"] > 0].mean()),
    }


def per_class(
    logits: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], classes: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and support (number of images) of every class, by its name; 0 where one is undefined."""
    scores = _scores(logits, labels)
    columns = ("precision", "recall", "f1", "support")
    return {name: {column: float(scores[column][index]) for column in columns} for index, name in enumerate(classes)}


def confusion(logits: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> list[list[int]]:
    """Counts by true class (rows) and predicted class (columns)."""
    counts: list[list[int]] = _confusion(logits, labels).tolist()
    return counts


# scikit-learn's, by hand: to import it takes every worker a second, and to call it longer than a head's epoch.
def _confusion(logits: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    classes = logits.shape[1]
    return np.bincount(labels * classes + logits.argmax(axis=1), minlength=classes**2).reshape(classes, classes)


def _scores(logits: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays (classes,): support, claimed (images taken for the class), and precision, recall, F1, 0 if undefined."""
    counts = _confusion(logits, labels)
    hits, support, claimed = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    return {
        "support": support,
        "claimed": claimed,
        "precision": hits / np.maximum(claimed, 1),
        "recall": hits / np.maximum(support, 1),
        "f1": 2 * hits / np.maximum(support + claimed, 1),
    }


def probabilities(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Softmax of (n, classes) logits, rows summing to 1."""
    return torch.from_numpy(logits).double().softmax(dim=1).numpy()


def soft_vote(votes: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Logarithm of the mean of the probabilities of several (n, classes) logits, itself logits; one alone is itself."""
    if len(votes) == 1:
        return votes[0]
    mean = np.mean([probabilities(logits) for logits in votes], axis=0)
    logits: np.ndarray[Any, Any] = np.log(np.maximum(mean, np.finfo(np.float64).tiny))
    return logits


def top_k_accuracy(
    logits: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], ks: Sequence[int] = (1, 3, 5)
) -> dict[int, float]:
    """Share of the images whose class is among the k most probable, for each k below the number of classes.

    Of equal logits the first class counts as the more probable, as in `argmax`.
    """
    classes = np.arange(logits.shape[1])
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    before = (logits > own) | ((logits == own) & (classes < labels[:, None]))
    places = before.sum(axis=1)
    return {k: float((places < k).mean()) for k in ks if k < logits.shape[1]}


def calibration_error(logits: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], bins: int = 15) -> float:
    """Expected calibration error in [0, 1]: |accuracy - mean confidence| of each bin of confidence, by its images.

    Bins of equal width, closed on the right, as in Guo et al., arXiv 1706.04599, section 2.
    """
    chances = probabilities(logits)
    confidence = chances.max(axis=1)
    right = chances.argmax(axis=1) == labels
    index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(index, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))
