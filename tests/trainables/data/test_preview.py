from pathlib import Path

import numpy as np
import pytest

from trainables.data.arrays import Arrays, Split
from trainables.data.balance import batches, class_weights, epoch_order
from trainables.data.preview import BatchCounts, ClassCount, count_batches, picture_balance, picture_data
from trainables.data.readers import Dataset, Sample

CLASSES = ("cat", "dög", "玻璃")
LABELS = np.array([0] * 60 + [1] * 30 + [2] * 10)


def arrays(labels=LABELS, size=20) -> Arrays:
    noise = np.random.default_rng(0).integers(0, 256, (len(labels), size, size, 3), dtype=np.uint8)
    samples = tuple(Sample(f"{number}.png", int(label)) for number, label in enumerate(labels))
    return Arrays(Dataset(Path(), CLASSES, {"train": samples}), "", {"train": Split(noise)})


def count(labels=LABELS, **settings) -> BatchCounts:
    return count_batches(labels, CLASSES, **{"weighting": "inverse", "batch_size": 8, "seed": 3, **settings})


@pytest.mark.parametrize("weighting", ["inverse", "effective"])
def test_counts_are_those_of_the_batches_that_are_trained_on(weighting):
    counts = count(weighting=weighting, first=4)
    assert (counts.batches, counts.batch_size) == (4, 8)
    assert [entry.label for entry in counts.classes] == list(CLASSES)
    assert [entry.images for entry in counts.classes] == [60, 30, 10]
    for balance, weights in (("none", None), ("sampler", class_weights(LABELS, 3, weighting)[LABELS])):
        first = np.concatenate(batches(epoch_order(100, 3, 0, weights), 8)[:4])
        assert [getattr(entry, balance) for entry in counts.classes] == np.bincount(LABELS[first]).tolist()
    assert [entry.weight for entry in counts.classes] == class_weights(LABELS, 3, weighting).tolist()


def test_a_short_epoch_is_counted_whole():
    counts = count(batch_size=40)
    assert counts.batches == 3
    assert [entry.none for entry in counts.classes] == [60, 30, 10]


def test_the_picture_has_a_column_an_image_and_is_the_same_again():
    picture = picture_data(arrays(), count(), seed=3, alpha=0.4)
    assert picture.mode == "RGB"
    again = picture_data(arrays(), count(), seed=3, alpha=0.4)
    assert picture.tobytes() == again.tobytes()
    assert picture.tobytes() != picture_data(arrays(), count(), seed=4, alpha=0.4).tobytes()


@pytest.mark.parametrize("images", [1, 2, 3])
def test_fewer_images_than_columns(images):
    labels = LABELS[:images]
    picture_data(arrays(labels), count(labels), seed=0, alpha=0.4)


def test_a_class_without_images_is_drawn():
    counts = BatchCounts(1, 8, (ClassCount("full", 8, 8, 8, 1.0), ClassCount("empty", 0, 0, 0, 0.0)))
    assert picture_balance(counts).width == picture_balance(count()).width


def test_many_classes_do_not_make_it_endless():
    def height(classes: int) -> int:
        entries = tuple(ClassCount(f"a rather long name of class {n}", n, n, n, 1.0) for n in range(classes))
        return picture_balance(BatchCounts(10, 32, entries)).height

    assert height(5) < height(30) < height(31)
    assert height(31) == height(1000) < 1000
