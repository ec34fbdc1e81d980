import json

import numpy as np
import pytest

from trainables.task.classification_scores import evaluate_logits
from trainables.task.evaluation import Evaluation


def test_a_task_without_classes_says_what_it_has() -> None:
    found = Evaluation(split="val", metrics={"mae": 3.0})
    assert found.to_json() == {"split": "val", "metrics": {"mae": 3.0}}
    assert found.scalars() == {"mae": 3.0}


def test_every_metric_of_known_logits() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    chances = np.array([[8, 1, 1], [8, 1, 1], [1, 8, 1], [8, 1, 1], [1, 1, 8], [1, 8, 1]]) / 10
    found = evaluate_logits(np.log(chances), labels, ("a", "b", "c", "absent")[:3], "val")
    assert found.metrics["accuracy"] == pytest.approx(4 / 6)
    assert found.top_k == {"1": pytest.approx(4 / 6)}
    assert found.calibration_error == pytest.approx(0.8 - 4 / 6)
    assert found.confusion == [[2, 0, 0], [1, 1, 0], [0, 1, 1]]
    low, high = found.intervals["accuracy"]
    assert 1 / 3 <= low < 4 / 6 < high <= 1
    assert found.recall_intervals["a"] == (pytest.approx(0.342, abs=1e-3), 1), "2 of 2 images are no proof"
    assert found.scalars() == {**found.metrics, "calibration_error": found.calibration_error}
    wide = evaluate_logits(
        np.log(np.tile([0.4, 0.2, 0.2, 0.1, 0.05, 0.05], (4, 1))), np.array([0, 1, 2, 3]), "abcdef", "val"
    )
    assert wide.top_k == {"1": 0.25, "3": 0.75, "5": 1.0}
    assert list(wide.scalars())[4:] == ["top_3_accuracy", "top_5_accuracy", "calibration_error"]
    assert wide.recall_intervals["f"] is None
    assert json.loads(json.dumps(wide.to_json(), allow_nan=False))["intervals"].keys() == found.intervals.keys()


def test_field_names_of_json_are_frozen() -> None:
    found = evaluate_logits(np.eye(2), np.array([0, 1]), ("a", "b"), "val").to_json()
    assert list(found) == [
        "split",
        "classes",
        "metrics",
        "top_k",
        "calibration_error",
        "per_class",
        "confusion",
        "intervals",
        "recall_intervals",
    ]
    assert list(found["intervals"]) == ["accuracy", "balanced_accuracy", "macro_f1"]
    assert json.loads(json.dumps(found))["recall_intervals"].keys() == {"a", "b"}
