from pathlib import Path

import numpy as np

from trainables.data.readers import open_configured
from trainables.data_config import DataConfig
from trainables.loop.folds.fold_measure import by_fold, judged_parts, mean_metrics, measure_parts
from trainables.task.task import load_task

TASK = load_task("classification")


def test_without_folds_val_is_measured_as_it_is(few_digits: Path) -> None:
    dataset = open_configured(DataConfig(root=few_digits), Path("cache"))
    outputs = np.eye(3, dtype=np.float32)[dataset.labels("val")]
    found = measure_parts(TASK, judged_parts(TASK, dataset), outputs, 1)
    assert found == (TASK.measure(outputs, dataset.labels("val"), 1),)
    assert mean_metrics(found) == found[0]
    assert by_fold(found) is None


def test_each_fold_is_measured_by_itself(few_digits: Path) -> None:
    dataset = open_configured(DataConfig(root=few_digits, folds=3), Path("cache"))
    labels = dataset.labels("val")
    fold_of = np.array(dataset.fold_of)
    outputs = np.eye(3, dtype=np.float32)[np.where(fold_of == 1, (labels + 1) % 3, labels)]
    found = measure_parts(TASK, judged_parts(TASK, dataset), outputs, 1)
    assert [part["accuracy"] for part in found] == [1, 0, 1]
    assert mean_metrics(found)["accuracy"] == 2 / 3
    folds = by_fold(found)
    assert folds is not None
    assert folds["val/accuracy"] == (1, 0, 1)
