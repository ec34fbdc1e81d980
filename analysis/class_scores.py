"""Scores of each class, from the predictions that a trial leaves: without the model and without the photos."""

from dataclasses import dataclass

import numpy as np

from analysis.predictions import read_predictions
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
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support  # the driver does without until then

    table = read_predictions(RunStore(run), predictions, ("label", "predicted"))
    if table is None:
        return None
    labels, predicted = (table[name].to_pylist() for name in ("label", "predicted"))
    outputs = [name[2:-1] for name in table.column_names if name.startswith("p(") and name.endswith(")")]
    classes = outputs or sorted({*labels, *predicted})
    scores = precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=0.0)
    counts = confusion_matrix(labels, predicted, labels=classes)
    return ClassScores(
        rows=tuple(
            (name, float(precision), float(recall), float(f1), int(images))
            for name, precision, recall, f1, images in zip(classes, *scores, strict=True)
        ),
        confusions=tuple((classes[i], classes[j], int(counts[i, j])) for i, j in np.argwhere(counts)),
    )
