"""Splits that differ from train, and that do not."""

import numpy as np
import pytest

from trainables.data.check.inspection import Inspected
from trainables.data.check.listing import ListedImage
from trainables.data.check.shift_findings import shift_findings
from trainables.data.decode import ImageFacts


def images(labels, splits, widths):
    return [
        Inspected(
            ListedImage(f"{n}.jpg", split, f"class {label}"),
            facts=ImageFacts("JPEG", "RGB", int(width), 100, False, False, False, None),
        )
        for n, (label, split, width) in enumerate(zip(labels, splits, widths, strict=True))
    ]


@pytest.mark.parametrize("seed", range(5))
def test_equal_splits_are_not_accused(seed):
    chance = np.random.default_rng(seed)
    labels, splits = chance.integers(0, 3, 400), chance.choice(["train", "val"], 400, p=[0.7, 0.3])
    own = images(labels, splits, chance.integers(90, 200, 400))
    features = (chance.normal(size=(400, 16)) + labels[:, None]).astype(np.float32)
    assert list(shift_findings(own, features)) == []


def test_every_shift_is_found():
    chance = np.random.default_rng(0)
    splits = np.repeat(["train", "test"], [300, 150])
    is_test = splits == "test"
    labels = np.where(is_test, chance.integers(0, 2, 450) * chance.integers(0, 2, 450), chance.integers(0, 2, 450))
    own = images(labels, splits, np.where(is_test, 400, 100) + chance.integers(0, 50, 450))
    features = (chance.normal(size=(450, 16)) + 0.8 * is_test[:, None]).astype(np.float32)
    found = {each.kind: each for each in shift_findings(own, features)}
    assert found.keys() == {"shift_classes", "shift_sizes", "shift_look"}
    assert {each.files for each in found.values()} == {("test",)}
    assert "class 1" in found["shift_classes"].detail or "class 0" in found["shift_classes"].detail
    assert "AUC" in found["shift_look"].detail
