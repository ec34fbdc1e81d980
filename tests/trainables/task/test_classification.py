from pathlib import Path

import numpy as np
import pytest
import torch

from trainables.config import TrialConfig
from trainables.data.balance import class_weights
from trainables.data.readers import Dataset, Sample
from trainables.data.sample_random import Draw
from trainables.task.classification import CLASSIFICATION

CPU = torch.device("cpu")
LABELS = np.array([0, 0, 0, 1])
DATASET = Dataset(
    Path("photos"),
    ("a", "path"),
    {
        "train": tuple(Sample(f"train/{number}.png", int(label)) for number, label in enumerate(LABELS)),
        "val": (Sample("val/a/1.png", 0), Sample("val/path/ü.png", 1)),
    },
)


def config(**settings: object) -> TrialConfig:
    base = {"data": {"root": "photos"}, "architecture": "test_efficientnet", "strategy": "head", "epochs": 1, "lr": 1}
    return TrialConfig.model_validate({**base, **settings})


def test_predictions_name_what_was_seen_and_said() -> None:
    logits = np.array([[0.0, 2.0], [1.0, 1.0]], dtype=np.float32)
    table = CLASSIFICATION.predictions(logits, DATASET, "val")
    assert list(table) == ["path", "label", "predicted", "p(a)", "p(path)"]
    assert table["path"] == ["val/a/1.png", "val/path/ü.png"]
    assert (table["label"], table["predicted"]) == (["a", "path"], ["path", "a"])
    assert table["p(path)"] == pytest.approx([1 / (1 + np.exp(-2)), 0.5])


@pytest.mark.parametrize("weighting", ["inverse", "effective"])
def test_imbalance_is_met_by_the_sampler_or_by_the_loss(weighting: str) -> None:
    weights = class_weights(LABELS, 2, weighting)  # type: ignore[arg-type]
    sampler, loss = (config(balance=balance, class_weighting=weighting) for balance in ("sampler", "loss"))
    np.testing.assert_array_equal(CLASSIFICATION.sample_weights(sampler, DATASET), weights[LABELS])
    assert CLASSIFICATION.sample_weights(loss, DATASET) is None
    for chosen, expected in ((sampler, np.ones(2)), (loss, weights)):
        criterion = CLASSIFICATION.criterion(chosen, DATASET, CPU, None)
        np.testing.assert_allclose(criterion.class_weights.numpy(), expected, rtol=1e-6)


def test_a_blend_has_the_labels_of_both_images() -> None:
    criterion = CLASSIFICATION.criterion(config(mixing="mixup"), DATASET, CPU, None)
    indices = np.arange(4)
    targets = criterion.targets(indices, indices[::-1], Draw(1, 2))
    assert targets.partners is not None
    assert (targets.own.labels.tolist(), targets.partners.labels.tolist()) == ([0, 0, 0, 1], [1, 0, 0, 0])
    assert criterion.targets(indices[1:3], indices[1:3], Draw(1, 2)).shares.tolist() == targets.shares[1:3].tolist()


def test_a_teacher_says_of_each_image_and_of_what_is_mixed_in_what_it_said() -> None:
    teacher = np.array([[0.0, 1.0], [2.0, 3.0], [1.0, -1.0], [0.0, 0.0]], dtype=np.float32)
    criterion = CLASSIFICATION.criterion(config(mixing="mixup", teacher_temperature=4), DATASET, CPU, teacher)
    indices = np.array([2, 0])
    targets = criterion.targets(indices, indices[::-1], Draw(1, 2))
    expected = torch.log_softmax(torch.from_numpy(teacher[indices]) / 4, dim=1)
    torch.testing.assert_close(targets.own.taught, expected)
    torch.testing.assert_close(targets.partners.taught, expected.flip(0))
