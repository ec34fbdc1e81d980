"""Scores of classification: metrics of logits against labels, by class, of several models that vote."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from trainables.task import bootstrap
from trainables.task.bootstrap import Labels, Logits
from trainables.task.evaluation import Evaluation
from trainables.task_catalog import METRICS_VERSION


def metrics(logits: Logits, labels: Labels, metrics_version: int = METRICS_VERSION) -> dict[str, float]:
    """Measure loss, accuracy, balanced accuracy and macro-F1 of (n, classes) logits against (n,) labels.

    Balanced accuracy is the mean recall of the classes in `labels`; for macro-F1 see `METRICS_VERSION`.
    """
    loss = cross_entropy(torch.from_numpy(logits).double(), torch.from_numpy(labels))
    scores = _scores(logits, labels)
    return {
        "loss": float(loss),
        "accuracy": float((logits.argmax(axis=1) == labels).mean()),
        "balanced_accuracy": float(scores["recall"][scores["support"] > 0].mean()),
        "macro_f1": float(bootstrap.macro_f1(scores["hits"], scores["support"], scores["claimed"], metrics_version)),
    }


def per_class(logits: Logits, labels: Labels, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Compute precision, recall, F1 and support (images) of every class, by its name; 0 where one is undefined."""
    scores = _scores(logits, labels)
    columns = ("precision", "recall", "f1", "support")
    return {name: {column: float(scores[column][index]) for column in columns} for index, name in enumerate(classes)}


def confusion(logits: Logits, labels: Labels) -> list[list[int]]:
    """Return counts by true class (rows) and predicted class (columns)."""
    counts: list[list[int]] = _confusion(logits, labels).tolist()
    return counts


# scikit-learn's, by hand: to import it takes every worker a second, and to call it longer than a head's epoch.
def _confusion(logits: Logits, labels: Labels) -> np.ndarray[Any, Any]:
    classes = logits.shape[1]
    return np.bincount(labels * classes + logits.argmax(axis=1), minlength=classes**2).reshape(classes, classes)


def _scores(logits: Logits, labels: Labels) -> dict[str, np.ndarray[Any, Any]]:
    """Compute hits, support, claimed (images taken for the class), precision, recall and F1 (classes,).

    A score that is undefined is 0.
    """
    counts = _confusion(logits, labels)
    hits, support, claimed = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    return {
        "hits": hits,
        "support": support,
        "claimed": claimed,
        "precision": hits / np.maximum(claimed, 1),
        "recall": hits / np.maximum(support, 1),
        "f1": bootstrap.f1(hits, support, claimed),
    }


def probabilities(logits: Logits) -> np.ndarray[Any, Any]:
    """Return the softmax of (n, classes) logits, rows summing to 1."""
    return torch.from_numpy(logits).double().softmax(dim=1).numpy()


def soft_vote(votes: Sequence[Logits]) -> Logits:
    """Average the probabilities of several logits (n, classes); their logarithm is logits again. One is itself."""
    if len(votes) == 1:
        return votes[0]
    mean = np.mean([probabilities(logits) for logits in votes], axis=0)
    logits: Logits = np.log(np.maximum(mean, np.finfo(np.float64).tiny))
    return logits


def top_k_accuracy(logits: Logits, labels: Labels, ks: Sequence[int] = (1, 3, 5)) -> dict[int, float]:
    """Return the share of the images whose class is among the k most probable, for each k below the number of classes.

    Of equal logits the first class counts as the more probable, as in `argmax`.
    """
    classes = np.arange(logits.shape[1])
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    before = (logits > own) | ((logits == own) & (classes < labels[:, None]))
    places = before.sum(axis=1)
    return {k: float((places < k).mean()) for k in ks if k < logits.shape[1]}


def calibration_error(logits: Logits, labels: Labels, bins: int = 15) -> float:
    """Compute the expected calibration error in [0, 1]: |accuracy - mean confidence| of each bin, by its images.

    Bins of equal width, closed on the right, as in Guo et al., arXiv 1706.04599, section 2.
    """
    chances = probabilities(logits)
    return calibration_gap(chances.max(axis=1), chances.argmax(axis=1) == labels, bins)


def calibration_gap(confidence: np.ndarray[Any, Any], right: np.ndarray[Any, Any], bins: int = 15) -> float:
    """Compute `calibration_error` of the probabilities (n,) of answers that are right or not (n,)."""
    index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(index, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(right))


def evaluate_logits(
    logits: Logits, labels: Labels, classes: Sequence[str], split: str, metrics_version: int = METRICS_VERSION
) -> Evaluation:
    """Measure every metric of (n, classes) logits against (n,) labels, n at least 1."""
    bounds = bootstrap.intervals(logits, labels, metrics_version)
    return Evaluation(
        split=split,
        classes=tuple(classes),
        metrics=metrics(logits, labels, metrics_version),
        top_k={str(k): value for k, value in top_k_accuracy(logits, labels).items()},
        calibration_error=calibration_error(logits, labels),
        per_class=per_class(logits, labels, classes),
        confusion=confusion(logits, labels),
        intervals={str(name): interval for name, interval in bounds.metrics.items()},
        recall_intervals=dict(zip(classes, bounds.recall, strict=True)),
    )
