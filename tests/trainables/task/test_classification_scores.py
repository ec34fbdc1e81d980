import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn import metrics as sk

from trainables.task import classification_scores

CLASSES = 4


@st.composite
def outputs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    count = draw(st.integers(1, 30))
    logits = draw(arrays.arrays(np.float32, (count, CLASSES), elements=st.floats(-50, 50, width=32)))
    labels = draw(arrays.arrays(np.int64, count, elements=st.integers(0, CLASSES - 1)))
    return logits, labels


@settings(max_examples=50)
@given(outputs(), st.sampled_from([1, 2]))
def test_metrics_are_those_of_scikit_learn(drawn: tuple[np.ndarray, np.ndarray], version: int) -> None:
    """The first version of macro-F1 leaves out classes that occur nowhere, as scikit-learn does unless told them."""
    logits, labels = drawn
    told = None if version == 1 else range(CLASSES)
    predicted = logits.argmax(axis=1)
    wide = logits.astype(np.float64)
    chances = np.exp(wide - np.logaddexp.reduce(wide, axis=1)[:, None])
    measured = classification_scores.metrics(logits, labels, version)
    # By hand: with a single class present, scikit-learn's balanced accuracy warns and its log loss needs all classes.
    recalls = [(predicted[labels == label] == label).mean() for label in np.unique(labels)]
    assert measured == pytest.approx(
        {
            "loss": -np.log(chances[np.arange(len(labels)), labels]).mean(),
            "accuracy": sk.accuracy_score(labels, predicted),
            "balanced_accuracy": np.mean(recalls),
            "macro_f1": sk.f1_score(labels, predicted, labels=told, average="macro", zero_division=0),
        },
        rel=1e-9,
    )
    assert all(type(value) is float for value in measured.values())


def test_a_class_without_images_counts_as_0_in_macro_f1_alone() -> None:
    """Three cats, one taken for a dog, and no dog and no bird: F1 is 0.8, 0 and 0."""
    logits, labels = np.eye(3, dtype=np.float32)[[0, 0, 1]], np.zeros(3, dtype=np.int64)
    old, new = (classification_scores.metrics(logits, labels, version) for version in (1, 2))
    assert (old.pop("macro_f1"), new.pop("macro_f1")) == pytest.approx((0.8 / 2, 0.8 / 3))
    assert old == new
    assert new["balanced_accuracy"] == pytest.approx(2 / 3)
    evaluation = classification_scores.evaluate_logits(logits, labels, ("cat", "dog", "bird"), "val")
    assert evaluation.metrics["macro_f1"] == pytest.approx(0.8 / 3)
    assert evaluation.intervals["macro_f1"].high == pytest.approx(1 / 3), "of a resample that is all right"


@settings(max_examples=50)
@given(outputs())
def test_per_class_and_confusion_count_every_class_be_it_absent(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = drawn
    names = ["a", "b", "c", "d"]
    confusion = np.array(classification_scores.confusion(logits, labels))
    table = classification_scores.per_class(logits, labels, names)
    assert confusion.shape == (CLASSES, CLASSES)
    assert confusion.sum() == len(labels)
    assert list(table) == names
    for index, row in enumerate(table.values()):
        hits, support, claimed = confusion[index, index], confusion[index].sum(), confusion[:, index].sum()
        assert row["support"] == support
        assert row["recall"] == pytest.approx(hits / support if support else 0)
        assert row["precision"] == pytest.approx(hits / claimed if claimed else 0)
        assert row["f1"] == pytest.approx(2 * hits / (support + claimed) if hits else 0)


def test_probabilities_sum_to_one_where_float32_would_overflow() -> None:
    chances = classification_scores.probabilities(np.array([[200.0, 0.0], [-200.0, -200.0]], dtype=np.float32))
    np.testing.assert_allclose(chances, [[1, 0], [0.5, 0.5]], atol=1e-80)


@settings(max_examples=50)
@given(outputs())
def test_top_k_counts_the_labels_among_the_k_first(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = drawn
    order = np.argsort(-logits, axis=1, kind="stable")
    expected = {k: np.mean([label in row[:k] for label, row in zip(labels, order, strict=True)]) for k in (1, 3)}
    found = classification_scores.top_k_accuracy(logits, labels)
    assert found == pytest.approx(expected)
    assert found[1] == classification_scores.metrics(logits, labels)["accuracy"]
    assert classification_scores.top_k_accuracy(logits, labels, (2, 4, 9)).keys() == {2}


@settings(max_examples=50)
@given(outputs(), st.integers(1, 20))
def test_the_calibration_error_is_that_of_its_definition(drawn: tuple[np.ndarray, np.ndarray], bins: int) -> None:
    logits, labels = drawn
    chances = classification_scores.probabilities(logits)
    confidence, right = chances.max(axis=1), chances.argmax(axis=1) == labels
    expected = 0.0
    for number in range(bins):
        inside = (confidence > number / bins) & (confidence <= (number + 1) / bins)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert classification_scores.calibration_error(logits, labels, bins) == pytest.approx(expected, abs=1e-6)


def test_a_calibrated_model_has_no_calibration_error_and_a_sure_one_has_its_error() -> None:
    labels = np.array([0] * 3 + [1])
    honest = np.log(np.tile([0.75, 0.25], (4, 1)))
    assert classification_scores.calibration_error(honest, labels) == pytest.approx(0, abs=1e-12)
    sure = np.tile([100.0, 0.0], (4, 1))
    assert classification_scores.calibration_error(sure, labels) == pytest.approx(0.25)


@settings(max_examples=50)
@given(outputs(), st.integers(2, 4))
def test_a_vote_is_the_mean_of_the_probabilities(drawn: tuple[np.ndarray, np.ndarray], voters: int) -> None:
    logits, _ = drawn
    votes = [np.roll(logits, shift, axis=1) for shift in range(voters)]
    mean = np.mean([classification_scores.probabilities(vote) for vote in votes], axis=0)
    voted = classification_scores.soft_vote(votes)
    np.testing.assert_allclose(classification_scores.probabilities(voted), mean, atol=1e-12)
    assert np.isfinite(voted).all()
    assert classification_scores.soft_vote([logits]) is logits
