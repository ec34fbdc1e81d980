"""Measure of a validation split: as a whole, or fold by fold, each by the head that has not seen it."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trainables.data.lazy_images import Indices
from trainables.data.readers import Dataset
from trainables.task.task import Task

Metrics = dict[str, float]


class JudgedPart(NamedTuple):
    """Images of val that are measured together."""

    rows: Indices | None
    """Their positions in val; None: all."""

    targets: Any
    """Their targets, as the task has them."""


def judged_parts(task: Task, dataset: Dataset) -> list[JudgedPart]:
    """Return the images of each fold in the order of the folds; without folds, those of val."""
    if not dataset.folds:
        return [JudgedPart(None, task.targets(dataset, "val"))]
    return [
        JudgedPart(dataset.fold_rows(fold)[1], task.targets(dataset.of_fold(fold), "val"))
        for fold in range(dataset.folds)
    ]


def measure_parts(
    task: Task, judged: Sequence[JudgedPart], outputs: npt.NDArray[np.float32], version: int
) -> tuple[Metrics, ...]:
    """Measure outputs (n, ...) of val: metrics of each part, without the prefix `val/`; see `Task.measure`."""
    parts = (outputs if rows is None else outputs[rows] for rows, _ in judged)
    return tuple(task.measure(part, targets, version) for part, (_, targets) in zip(parts, judged, strict=True))


def mean_metrics(parts: Sequence[Mapping[str, float]]) -> Metrics:
    """Return the mean of each metric over the folds; one part alone is itself."""
    return {name: fmean(part[name] for part in parts) for name in parts[0]}


def by_fold(parts: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, ...]] | None:
    """Return the values of each metric in the folds, under their names `val/...`; None for one part alone."""
    if len(parts) == 1:
        return None
    return {f"val/{name}": tuple(part[name] for part in parts) for name in parts[0]}
