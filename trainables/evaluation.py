"""How good a finished model is, or several that vote: the metrics of a split, with intervals."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from search_spaces.errors import InvalidInput
from trainables import bootstrap, classification
from trainables.bootstrap import Interval
from trainables.checkpoint import CheckpointState, load_trained
from trainables.data.arrays import load_arrays
from trainables.evaluate import Tta, predict_logits


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


def evaluate_checkpoint(
    checkpoint: Path, split: str, cache: Path, tta: Tta = "none", budget: int | None = None
) -> Evaluation:
    """Measure a checkpoint on a split of the data set it was trained on; `cache` has `budget` bytes, see NodeCache.

    Raises InvalidInput when the data set lacks the split or is no longer the one that was trained on.
    """
    return evaluate_checkpoints([checkpoint], split, cache, tta, budget)


def evaluate_checkpoints(
    checkpoints: Sequence[Path], split: str, cache: Path, tta: Tta = "none", budget: int | None = None
) -> Evaluation:
    """Measure the soft vote of several checkpoints: the mean of their probabilities, each with its own preprocessing.

    Raises InvalidInput as `evaluate_checkpoint` does, and when they were trained on different classes or images.
    """
    states = [CheckpointState.read(checkpoint) for checkpoint in checkpoints]
    _check_members(checkpoints, states)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    votes = []
    for checkpoint, state in zip(checkpoints, states, strict=True):
        arrays = load_arrays(state.config.data, cache, [split], budget=budget)
        if arrays.fingerprint != state.fingerprint:
            raise InvalidInput(
                f"data set must be the one that was trained on, but {state.config.data.root} has changed since; "
                "restore its images, or train again"
            )
        model, _ = load_trained(checkpoint)
        labels = arrays.splits[split].labels
        votes.append(predict_logits(model.to(device), arrays.splits[split], state.mean, state.std, device, tta))
    return measure(classification.soft_vote(votes), labels, states[0].classes, split)


def measure(
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


def _check_members(checkpoints: Sequence[Path], states: Sequence[CheckpointState]) -> None:
    if not states:
        raise InvalidInput("checkpoints must be one or more, got none; name at least one")
    for checkpoint, state in zip(checkpoints, states, strict=True):
        if state.classes != states[0].classes:
            raise InvalidInput(
                f"models that vote must have the same classes, got {', '.join(states[0].classes)} in {checkpoints[0]} "
                f"and {', '.join(state.classes)} in {checkpoint}; choose trials of one data set"
            )
        if state.fingerprint != states[0].fingerprint:
            raise InvalidInput(
                f"models that vote must have been trained on the same images, got fingerprint "
                f"{states[0].fingerprint[:12]} in {checkpoints[0]} and {state.fingerprint[:12]} in {checkpoint}; "
                "choose trials of one data set"
            )
