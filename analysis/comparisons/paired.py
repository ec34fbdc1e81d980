"""Paired comparison: how much two trials of a run differ on the same validation images, from their predictions."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.predictions import output_classes, read_predictions
from analysis.run_folder import RunFolder
from analysis.run_store import RunStore
from trainables.interval import Difference
from trainables.task.bootstrap import bootstrap_of_names, statistic_of


@dataclass(frozen=True)
class PairedDifference:
    """PairedDifference: the objective of one trial minus that of another, on the same images."""

    difference: Difference
    """Difference with the interval of other validation images."""

    images: int
    """Images of the validation split."""


def paired_difference(
    run: RunFolder, first: str, second: str, metric: str, metrics_version: int
) -> PairedDifference | None:
    """Compare two trials, or probes, of a run by a metric `val/...`, of a version of its definition.

    The interval covers the choice of the validation images alone. Returns None for a metric without a bootstrap, and
    where predictions are missing, unreadable or of other images.
    """
    statistic = statistic_of(metric)
    if statistic is None:
        return None
    store = RunStore(run)
    columns = []
    for name in (first, second):
        found = _columns(store, name)
        if found is None:
            return None
        columns.append(found)
    (paths, labels, ours, outputs), (other_paths, other_labels, theirs, _) = columns
    if not np.array_equal(paths, other_paths) or not np.array_equal(labels, other_labels):
        return None
    difference = bootstrap_of_names(labels, ours, theirs, statistic, metrics_version, classes=outputs.tolist())
    return PairedDifference(difference, len(labels))


def _columns(store: RunStore, name: str) -> list[np.ndarray[Any, Any]] | None:
    """Return paths, labels and predicted classes of a trial's images, and all classes; None where they are missing."""
    names = ("path", "label", "predicted")
    table = read_predictions(store, store.newest(lambda layer: layer.predictions(name)), names)
    if table is None:
        return None
    values = [*(table[column].to_pylist() for column in names), output_classes(table)]
    return [np.array(column, dtype=str) for column in values]
