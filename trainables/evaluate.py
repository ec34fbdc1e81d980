"""Evaluation of a model on a split, and the predictions it leaves behind."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from search_spaces.errors import InvalidInput
from trainables import classification
from trainables.checkpoint import load_trained
from trainables.data.arrays import Split, load_arrays
from trainables.data.readers import Sample

EVALUATION_BATCH = 128


def to_input(images: np.ndarray[Any, Any], mean: Sequence[float], std: Sequence[float], device: torch.device) -> Tensor:
    """Decoded uint8 images (n, s, s, 3) as the model's normalised float32 input (n, 3, s, s) on `device`."""
    return normalize(to_unit(images, device), mean, std)


def to_unit(images: np.ndarray[Any, Any], device: torch.device) -> Tensor:
    """Decoded uint8 images (n, s, s, 3) as float32 in [0, 1], (n, 3, s, s) on `device`."""
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 255


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Subtract the mean and divide by the standard deviation, a channel at a time."""
    shape = (1, 3, 1, 1)
    centre = torch.tensor(mean, dtype=images.dtype, device=images.device).view(shape)
    scale = torch.tensor(std, dtype=images.dtype, device=images.device).view(shape)
    return (images - centre) / scale


@torch.inference_mode()
def predict_logits(
    model: nn.Module, split: Split, mean: Sequence[float], std: Sequence[float], device: torch.device
) -> np.ndarray[Any, Any]:
    """Logits (n, classes) in float32 of every image of a split, in its order. Puts the model into eval mode."""
    model.eval()
    parts = [
        model(to_input(np.array(split.images[start : start + EVALUATION_BATCH]), mean, std, device)).float().cpu()
        for start in range(0, len(split), EVALUATION_BATCH)
    ]
    return torch.cat(parts).numpy()


def write_predictions(
    path: Path, samples: Sequence[Sample], classes: Sequence[str], logits: np.ndarray[Any, Any]
) -> None:
    """Write path, label, predicted and one probability a class for every sample, as one Parquet file."""
    table = pa.table(
        {
            "path": [sample.path for sample in samples],
            "label": [classes[sample.label] for sample in samples],
            "predicted": [classes[index] for index in logits.argmax(axis=1)],
            **{
                f"p({name})": column
                for name, column in zip(classes, classification.probabilities(logits).T, strict=True)
            },
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    pq.write_table(table, fresh)
    fresh.replace(path)


@dataclass(frozen=True)
class Evaluation:
    """A trained model measured on one split."""

    split: str
    classes: tuple[str, ...]
    metrics: dict[str, float]
    per_class: dict[str, dict[str, float]]
    """Precision, recall, F1 and number of images (support) of every class."""
    confusion: list[list[int]]
    """Rows are true classes, columns predicted ones."""

    def to_json(self) -> dict[str, Any]:
        """As a JSON-ready mapping."""
        return asdict(self)


def evaluate_checkpoint(checkpoint: Path, split: str, cache: Path) -> Evaluation:
    """Measure a checkpoint on a split of the data set it was trained on.

    Raises InvalidInput when the data set lacks the split or is no longer the one that was trained on.
    """
    model, state = load_trained(checkpoint)
    arrays = load_arrays(state.config.data, cache, [split])
    if arrays.fingerprint != state.fingerprint:
        raise InvalidInput(
            f"data set must be the one that was trained on, but {state.config.data.root} has changed since; "
            "restore its images, or train again"
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    logits = predict_logits(model.to(device), arrays.splits[split], state.mean, state.std, device)
    labels = arrays.splits[split].labels
    return Evaluation(
        split=split,
        classes=state.classes,
        metrics=classification.metrics(logits, labels),
        per_class=classification.per_class(logits, labels, state.classes),
        confusion=classification.confusion(logits, labels),
    )
