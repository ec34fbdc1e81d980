from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.data.balance import class_weights
from trainables.data.readers import open_dataset
from trainables.data.summary.class_counts import ClassCounts, count_classes, weigh_classes

counts = st.lists(st.integers(1, 2000), min_size=2, max_size=12).map(
    lambda train: ClassCounts(tuple(f"c{label}" for label in range(len(train))), {"train": tuple(train)})
)


def test_the_images_of_each_class_are_counted_in_each_split(few_digits: Path) -> None:
    found = count_classes(open_dataset(few_digits))
    assert (found.classes, [*found.splits]) == (("0", "1", "2"), ["train", "val", "test"])
    for split, own in found.splits.items():
        assert own == tuple(len([*(few_digits / split / name).iterdir()]) for name in found.classes)
    assert (found.smallest, found.ratio) == ("0", max(found.train) / found.train[0])


def test_images_of_folds_are_counted_once(few_digits: Path) -> None:
    dataset = open_dataset(few_digits, folds=2)
    found = count_classes(dataset)
    assert (found.folds, found.titles) == (2, ("in 2 folds", "test"))
    assert sum(found.train) == len(dataset.splits["train"]) == len(dataset.splits["val"])


@given(counts)
def test_weights_are_those_of_training(found: ClassCounts) -> None:
    weights, labels = weigh_classes(found), np.repeat(np.arange(len(found.train)), found.train)
    assert [each.inverse for each in weights] == class_weights(labels, len(found.train), "inverse").tolist()
    assert [each.effective for each in weights] == class_weights(labels, len(found.train), "effective").tolist()
    for name in ("share", "inverse_share", "effective_share"):
        assert sum(getattr(each, name) for each in weights) == pytest.approx(1)
    assert [each.inverse_share for each in weights] == pytest.approx([1 / len(weights)] * len(weights))


@given(counts, st.floats(1, 50))
def test_rare_classes_are_outnumbered_or_the_smallest(found: ClassCounts, ratio: float) -> None:
    rare = found.rare(ratio)
    assert min(found.train) in {found.train[label] for label in rare}
    assert len(rare) == 1 or all(max(found.train) > ratio * found.train[label] for label in rare)
    others = set(range(len(found.train))) - set(rare)
    assert all(max(found.train) <= ratio * found.train[label] for label in others) or len(rare) == 1
