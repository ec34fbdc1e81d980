"""How good a finished model is, or several that vote: the metrics of a split, with intervals."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trainables.task import bootstrap, classification
from trainables.task.bootstrap import Interval


@dataclass(frozen=True)
class Evaluation:
    """A trained model measured on one split."""

    split: str
    """Name of the split."""

    classes: tuple[str, ...]
    """Class names in the order of the model's outputs."""

    metrics: dict[str, float]
    """What a trial reports of its validation split: loss, accuracy, balanced accuracy, macro-F1."""

    top_k: dict[str, float]
    """Accuracy among the k most probable classes, by k: "1", "3", "5", as far as they are below the classes."""

    calibration_error: float
    """Expected calibration error, 15 bins."""

    per_class: dict[str, dict[str, float]]
    """Precision, recall, F1 and number of images (support) of every class."""

    confusion: list[list[int]]
    """Rows are true classes, columns predicted ones."""

    intervals: dict[str, Interval]
    """95 % bootstrap intervals of accuracy, balanced accuracy and macro-F1."""

    recall_intervals: dict[str, Interval | None]
    """The same of every class's recall; None for a class without images."""

    def to_json(self) -> dict[str, Any]:
        """As a JSON-ready mapping."""
        return asdict(self)

    def scalars(self) -> dict[str, float]:
        """Every metric that is one number, by name."""
        top = {f"top_{k}_accuracy": value for k, value in self.top_k.items() if k != "1"}
        return {**self.metrics, **top, "calibration_error": self.calibration_error}


def evaluate_logits(
    logits: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], classes: Sequence[str], split: str
) -> Evaluation:
    """Every metric of (n, classes) logits against (n,) labels, n at least 1."""
    bounds = bootstrap.intervals(logits, labels)
    return Evaluation(
        split=split,
        classes=tuple(classes),
        metrics=classification.metrics(logits, labels),
        top_k={str(k): value for k, value in classification.top_k_accuracy(logits, labels).items()},
        calibration_error=classification.calibration_error(logits, labels),
        per_class=classification.per_class(logits, labels, classes),
        confusion=classification.confusion(logits, labels),
        intervals={str(name): interval for name, interval in bounds.metrics.items()},
        recall_intervals=dict(zip(classes, bounds.recall, strict=True)),
    )
