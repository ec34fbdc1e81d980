"""The task: what the targets are, what the loss is, what is measured. A second task is a second file like this one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support, recall_score
from torch import Tensor
from torch.nn.functional import cross_entropy


def weighted_loss_sum(logits: Tensor, targets: Tensor, class_weights: Tensor) -> Tensor:
    """Sum over the samples of class weight x cross-entropy; (n, classes) and (n,) to a scalar.

    The caller divides by the sum of the weights of the *global* batch. Mean reduction would divide each shard by its
    own weights, and then neither two workers nor a halved micro-batch would equal one process.
    """
    losses = cross_entropy(logits.float(), targets, reduction="none")
    return (losses * class_weights[targets]).sum()


def metrics(logits: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> dict[str, float]:
    """Loss, accuracy, balanced accuracy and macro-F1 of (n, classes) logits against (n,) labels.

    Balanced accuracy is the mean recall of the classes in `labels`; macro-F1 also counts classes predicted in error.
    """
    predicted = logits.argmax(axis=1)
    loss = cross_entropy(torch.from_numpy(logits).double(), torch.from_numpy(labels))
    present = np.union1d(labels, predicted)
    return {
        "loss": float(loss),
        "accuracy": float((predicted == labels).mean()),
        "balanced_accuracy": float(recall_score(labels, predicted, labels=np.unique(labels), average="macro")),
        "macro_f1": float(f1_score(labels, predicted, labels=present, average="macro", zero_division=0)),
    }


def per_class(
    logits: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], classes: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and support (number of images) of every class, by its name."""
    columns = precision_recall_fscore_support(
        labels, logits.argmax(axis=1), labels=np.arange(len(classes)), zero_division=0
    )
    names = ("precision", "recall", "f1", "support")
    return {
        name: {column: float(values[index]) for column, values in zip(names, columns, strict=True)}
        for index, name in enumerate(classes)
    }


def confusion(logits: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> list[list[int]]:
    """Counts by true class (rows) and predicted class (columns)."""
    matrix = confusion_matrix(labels, logits.argmax(axis=1), labels=np.arange(logits.shape[1]))
    counts: list[list[int]] = matrix.tolist()
    return counts


def probabilities(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Softmax of (n, classes) logits, rows summing to 1."""
    return torch.from_numpy(logits).double().softmax(dim=1).numpy()
