"""Labels that a model of the other images doubts."""

import numpy as np

from trainables.data.check.inspection import Inspected
from trainables.data.check.label_findings import MOST_LABELS, doubtful, label_findings
from trainables.data.check.listing import ListedImage


def blobs(count, chance):
    """Features of two classes that are far apart, and their labels."""
    labels = np.repeat([0, 1], count)
    return (chance.normal(size=(2 * count, 8)) + 6 * labels[:, None]).astype(np.float32), labels


def images(labels):
    names = ("cat", "dog")
    return [Inspected(ListedImage(f"{n:03}.jpg", "train", names[label]), b"%d" % n) for n, label in enumerate(labels)]


def test_labels_that_were_exchanged_come_first():
    features, labels = blobs(60, np.random.default_rng(0))
    wrong = [3, 17, 90]
    labels[wrong] = 1 - labels[wrong]
    found = list(label_findings(images(labels), features))
    assert 2 <= len(found) <= 3, "one may stay below the mean of its class"
    assert {each.files[0] for each in found} <= {f"{n:03}.jpg" for n in wrong}
    assert all("look more like" in each.detail for each in found)


def test_no_label_is_doubted_where_all_are_clear_and_a_tiny_class_is_left_out():
    features, labels = blobs(40, np.random.default_rng(1))
    assert list(label_findings(images(labels), features)) == []
    assert list(label_findings(images(labels)[:43], features[:43])) == []


def test_no_more_than_the_most_are_listed():
    features, _ = blobs(100, np.random.default_rng(2))
    labels = np.random.default_rng(3).integers(0, 2, 200)
    assert len(list(label_findings(images(labels), features))) <= MOST_LABELS


def test_the_confident_joint_is_that_of_the_paper():
    chances = np.array([[0.9, 0.1], [0.8, 0.2], [0.15, 0.85], [0.3, 0.7], [0.1, 0.9], [0.6, 0.4]])
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert list(doubtful(chances, labels)) == [2], "0.85 reaches the mean of dog, 0.6 not that of cat"
