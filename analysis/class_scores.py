"""Scores of each class, from the predictions that a trial leaves: without the model and without the photos."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.predictions import output_classes, read_predictions
from analysis.run_folder import RunFolder
from analysis.run_store import RunStore
from trainables.storage.place import Place


@dataclass(frozen=True)
class ClassScores:
    """ClassScores: scores of each class of a split."""

    rows: tuple[tuple[str, float, float, float, int], ...]
    """Name, precision, recall, F1 and number of images of each class, in the order of the model's outputs."""

    confusions: tuple[tuple[str, str, int], ...]
    """True class, predicted class and number of images, of each pair that occurs."""


def class_scores(run: RunFolder, predictions: Place) -> ClassScores | None:
    """Return the scores by class of a file of predictions, which may lie in a bucket.

    Returns None where the file is missing or damaged, and for a task without classes.
    """
    table = read_predictions(RunStore(run), predictions, ("label", "predicted"))
    if table is None:
        return None
    labels, predicted = (table[name].to_pylist() for name in ("label", "predicted"))
    classes = output_classes(table) or sorted({*labels, *predicted})
    numbers = {name: number for number, name in enumerate(classes)}
    pairs = [numbers[label] * len(classes) + numbers[other] for label, other in zip(labels, predicted, strict=True)]
    counts = np.bincount(pairs, minlength=len(classes) ** 2).reshape(len(classes), len(classes))
    columns = (column.tolist() for column in _precision_recall_f1(counts))
    return ClassScores(
        rows=tuple(zip(classes, *columns, counts.sum(axis=1).tolist(), strict=True)),
        confusions=tuple((classes[i], classes[j], int(counts[i, j])) for i, j in np.argwhere(counts)),
    )


def _precision_recall_f1(counts: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float64], ...]:
    """Return the three of each class, 0 where they are not defined, from the counts of true by predicted classes.

    These are scikit-learn's, whose import takes longer than the end of a small trial.
    """
    hits, actual, found = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    return (
        hits / np.maximum(found, 1),
        hits / np.maximum(actual, 1),
        2 * hits / np.maximum(actual + found, 1),
    )
