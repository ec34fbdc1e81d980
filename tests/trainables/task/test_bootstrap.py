import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from search_spaces.errors import InvalidInput
from trainables.interval import Interval, mean_share_interval, share_interval
from trainables.task import classification_scores
from trainables.task.bootstrap import STATISTICS, intervals, paired_bootstrap

CLASSES = 4


def one_hot(predicted: np.ndarray, classes: int = CLASSES) -> np.ndarray:
    return np.eye(classes)[predicted]


def noisy(labels: np.ndarray, right: float, seed: int, classes: int = CLASSES) -> np.ndarray:
    """Logits that are right in a share of the images."""
    draw = np.random.default_rng(seed)
    wrong = draw.integers(0, classes, len(labels))
    return one_hot(np.where(draw.random(len(labels)) < right, labels, wrong), classes)


@st.composite
def outputs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = draw(st.integers(1, 40))
    labels, a, b = (
        draw(arrays.arrays(np.int64, count, elements=st.integers(0, CLASSES - 1))) for _ in ("labels", "a", "b")
    )
    return labels, one_hot(a), one_hot(b)


@settings(max_examples=60)
@given(outputs(), st.sampled_from([1, 2]))
def test_the_point_is_what_the_metrics_say(
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray], metrics_version: int
) -> None:
    labels, a, b = drawn
    for name in STATISTICS:
        found = paired_bootstrap(a, b, labels, name, metrics_version, resamples=20)
        assert found.a == pytest.approx(classification_scores.metrics(a, labels, metrics_version)[name])
        assert found.b == pytest.approx(classification_scores.metrics(b, labels, metrics_version)[name])
        assert found.value == pytest.approx(found.a - found.b)
        assert found.interval.low <= found.interval.high
        swapped = paired_bootstrap(b, a, labels, name, metrics_version, resamples=20)
        assert swapped.value == -found.value
    assert paired_bootstrap(a, a, labels).interval == Interval(0, 0)


@settings(max_examples=60)
@given(outputs())
def test_intervals_lie_in_their_range_and_absent_classes_have_none(
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    labels, logits, _ = drawn
    found = intervals(logits, labels, resamples=50)
    assert list(found.metrics) == list(STATISTICS)
    for interval in (*found.metrics.values(), *filter(None, found.recall)):
        assert 0 <= interval.low <= interval.high <= 1 + 1e-12
    assert [interval is None for interval in found.recall] == [name not in labels for name in range(CLASSES)]


def test_the_resamples_are_those_of_drawing_images_within_their_classes() -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), [60, 30, 10, 5])
    logits = noisy(labels, 0.6, seed=1)
    found = intervals(logits, labels, resamples=4000)
    by_hand = []
    for _ in range(500):
        chosen = np.concatenate(
            [generator.choice(np.flatnonzero(labels == n), (labels == n).sum()) for n in range(CLASSES)]
        )
        measured = classification_scores.metrics(logits[chosen], labels[chosen])
        recall = (logits[chosen][labels[chosen] == 1].argmax(axis=1) == 1).mean()
        by_hand.append([*(measured[name] for name in STATISTICS), recall])
    low, high = np.quantile(by_hand, [0.025, 0.975], axis=0)
    ours = np.array([*found.metrics.values(), found.recall[1]])
    np.testing.assert_allclose(ours[:, 0], low, atol=0.03)
    np.testing.assert_allclose(ours[:, 1], high, atol=0.03)


def test_a_model_that_is_always_right_has_intervals_with_a_width() -> None:
    labels = np.repeat(np.arange(2), [20, 6])
    found = intervals(one_hot(labels, 2), labels)
    assert found.metrics["accuracy"] == share_interval(26, 26)
    assert found.metrics["balanced_accuracy"] == pytest.approx(mean_share_interval([20, 6], [20, 6]))
    assert found.metrics["macro_f1"] == pytest.approx(found.metrics["balanced_accuracy"])
    assert found.recall == (share_interval(20, 20), share_interval(6, 6))


def test_a_model_that_knows_one_class_has_intervals_with_a_width() -> None:
    labels = np.repeat(np.arange(2), [20, 6])
    found = intervals(one_hot(np.zeros(26, dtype=int)), labels)
    measured = classification_scores.metrics(one_hot(np.zeros(26, dtype=int)), labels)
    for name, (low, high) in found.metrics.items():
        assert 0 <= low < measured[name] < high <= 1


def test_intervals_cover_what_they_should() -> None:
    """Of many test splits of one model, about 95 % have an interval around its true accuracy."""
    labels = np.repeat(np.arange(CLASSES), 50)
    truth = 0.6 + 0.4 / CLASSES
    inside = 0
    for seed in range(200):
        low, high = intervals(noisy(labels, 0.6, seed), labels, resamples=300).metrics["accuracy"]
        inside += low <= truth <= high
    assert 0.88 <= inside / 200 <= 0.99


def test_the_same_seed_gives_the_same_interval_and_more_images_a_narrower_one() -> None:
    few, many = (np.arange(count) % CLASSES for count in (100, 10_000))
    one, same, other = (intervals(noisy(few, 0.7, 0), few, seed=seed) for seed in (1, 1, 2))
    assert one == same != other
    narrow = intervals(noisy(many, 0.7, 0), many).metrics["macro_f1"]
    wide = one.metrics["macro_f1"]
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(10, rel=0.25)
    sure = intervals(noisy(few, 0.7, 0), few, confidence=0.5).metrics["macro_f1"]
    assert wide.low < sure.low < sure.high < wide.high


def test_pairs_are_told_apart_where_single_intervals_overlap() -> None:
    labels = np.arange(2000) % CLASSES
    a = noisy(labels, 0.7, 0)
    b = a.copy()
    spoiled = np.flatnonzero(a.argmax(axis=1) == labels)[::60]
    b[spoiled] = one_hot((labels[spoiled] + 1) % CLASSES)
    single = [intervals(logits, labels).metrics["accuracy"] for logits in (a, b)]
    assert single[1].high > single[0].low
    found = paired_bootstrap(a, b, labels, "accuracy")
    assert found.value == pytest.approx(len(spoiled) / 2000)
    assert 0 < found.interval.low < found.value < found.interval.high
    same = paired_bootstrap(noisy(labels, 0.7, 1), noisy(labels, 0.7, 2), labels)
    assert same.interval.low < 0 < same.interval.high


def test_seeds_are_pooled() -> None:
    labels = np.arange(1000) % CLASSES
    a = [noisy(labels, 0.7, seed) for seed in range(3)]
    b = [noisy(labels, 0.6, seed) for seed in range(10, 15)]
    found = paired_bootstrap(a, np.stack(b), labels, "balanced_accuracy")
    for side, value in ((a, found.a), (b, found.b)):
        assert value == pytest.approx(
            np.mean([classification_scores.metrics(one, labels)["balanced_accuracy"] for one in side])
        )
    single = paired_bootstrap(a[0], b[0], labels, "balanced_accuracy").interval
    assert found.interval.high - found.interval.low < single.high - single.low
    assert paired_bootstrap([a[0]], b[0], labels) == paired_bootstrap(a[0], [b[0]], labels)


def test_what_cannot_be_compared_is_refused() -> None:
    labels = np.zeros(4, dtype=np.int64)
    logits = np.zeros((4, 2))
    with pytest.raises(InvalidInput, match=r"statistic must be one of accuracy, .*, got 'f1_macro'; "):
        paired_bootstrap(logits, logits, labels, "f1_macro")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"logits must be \(images, classes\) for 4 labels, got \(3, 2\); "):
        paired_bootstrap(logits, logits[:3], labels)
    with pytest.raises(InvalidInput, match=r"models must have the same classes, got \[2, 3\] of them"):
        paired_bootstrap(logits, np.zeros((4, 3)), labels)
    with pytest.raises(InvalidInput, match="got none; give at least one"):
        paired_bootstrap([], logits, labels)


@pytest.mark.parametrize("classes", [10, 1000])
def test_ten_thousand_images_take_under_two_seconds(classes: int) -> None:
    labels = np.arange(10_000) % classes
    logits = np.random.default_rng(0).normal(size=(10_000, classes))
    logits[np.arange(10_000), labels] += 2
    started = time.process_time()
    intervals(logits, labels)
    assert time.process_time() - started < 2
    other = [np.roll(logits, 7, axis=0), np.random.default_rng(1).normal(size=logits.shape)]
    started = time.process_time()
    paired_bootstrap([logits, logits], other, labels)
    assert time.process_time() - started < 4
