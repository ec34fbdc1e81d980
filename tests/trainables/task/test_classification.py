import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn import metrics as sk

from trainables.data.balance import class_weights
from trainables.task import classification
from trainables.task.classification import Targets

CLASSES = 4


@st.composite
def outputs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    count = draw(st.integers(1, 30))
    logits = draw(arrays.arrays(np.float32, (count, CLASSES), elements=st.floats(-50, 50, width=32)))
    labels = draw(arrays.arrays(np.int64, count, elements=st.integers(0, CLASSES - 1)))
    return logits, labels


@settings(deadline=None, max_examples=50)
@given(outputs())
def test_metrics_are_those_of_scikit_learn(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = drawn
    predicted = logits.argmax(axis=1)
    wide = logits.astype(np.float64)
    chances = np.exp(wide - np.logaddexp.reduce(wide, axis=1)[:, None])
    measured = classification.metrics(logits, labels)
    # By hand: with a single class present, scikit-learn's balanced accuracy warns and its log loss needs all classes.
    recalls = [(predicted[labels == label] == label).mean() for label in np.unique(labels)]
    assert measured == pytest.approx(
        {
            "loss": -np.log(chances[np.arange(len(labels)), labels]).mean(),
            "accuracy": sk.accuracy_score(labels, predicted),
            "balanced_accuracy": np.mean(recalls),
            "macro_f1": sk.f1_score(labels, predicted, average="macro", zero_division=0),
        },
        rel=1e-9,
    )
    assert all(type(value) is float for value in measured.values())


@settings(deadline=None, max_examples=50)
@given(outputs())
def test_per_class_and_confusion_count_every_class_be_it_absent(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = drawn
    names = ["a", "b", "c", "d"]
    confusion = np.array(classification.confusion(logits, labels))
    table = classification.per_class(logits, labels, names)
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
    chances = classification.probabilities(np.array([[200.0, 0.0], [-200.0, -200.0]], dtype=np.float32))
    np.testing.assert_allclose(chances, [[1, 0], [0.5, 0.5]], atol=1e-80)


def test_the_weighted_loss_is_a_sum_that_any_shards_add_up_to() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(12, 3, generator=generator)
    targets = torch.tensor([0] * 8 + [1] * 3 + [2])
    weights = torch.tensor(class_weights(targets.numpy(), 3), dtype=torch.float32)
    whole = classification.loss_sum(logits, Targets(targets), weights)
    by_hand = -(weights[targets] * logits.log_softmax(dim=1)[torch.arange(12), targets]).sum()
    shards = [slice(0, 5), slice(5, 9), slice(9, 12)]
    parts = sum(classification.loss_sum(logits[part], Targets(targets[part]), weights) for part in shards)
    torch.testing.assert_close(whole, by_hand)
    torch.testing.assert_close(parts, whole)
    # The weights are 1 on average, so the mean stays on the scale of the unweighted loss.
    torch.testing.assert_close(
        whole / weights[targets].sum(), torch.nn.functional.cross_entropy(logits, targets, weight=weights)
    )
    assert weights[targets].sum() == pytest.approx(12)


def test_mixed_targets_weigh_both_classes_by_their_shares() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, weights = torch.randn(6, 3, generator=generator), torch.tensor([0.5, 1.0, 4.0])
    labels, partners = torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([2, 1, 0, 1, 0, 2])
    shares = torch.rand(6, generator=generator)
    mixed = Targets(labels, partners, shares)
    losses = -logits.log_softmax(dim=1)
    rows = torch.arange(6)
    by_hand = (
        shares * weights[labels] * losses[rows, labels] + (1 - shares) * weights[partners] * losses[rows, partners]
    )
    torch.testing.assert_close(classification.loss_sum(logits, mixed, weights), by_hand.sum())
    torch.testing.assert_close(mixed.weights(weights), shares * weights[labels] + (1 - shares) * weights[partners])


def test_the_focal_loss_and_smoothing_are_those_of_their_papers() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(9, 4, generator=generator) * 3, torch.randint(4, (9,), generator=generator)
    ones, rows = torch.ones(4), torch.arange(9)
    logs = logits.log_softmax(dim=1)
    own = logs[rows, labels]
    focal = classification.loss_sum(logits, Targets(labels), ones, focal_gamma=2.0)
    torch.testing.assert_close(focal, (-((1 - own.exp()) ** 2) * own).sum())
    smooth = classification.loss_sum(logits, Targets(labels), ones, label_smoothing=0.1)
    torch.testing.assert_close(smooth, (-0.9 * own - 0.1 * logs.mean(dim=1)).sum())


def test_the_focal_loss_of_a_sure_answer_has_a_finite_gradient() -> None:
    logits = torch.tensor([[60.0, -60.0]], requires_grad=True)
    classification.loss_sum(logits, Targets(torch.tensor([0])), torch.ones(2), focal_gamma=0.5).backward()
    assert torch.isfinite(logits.grad).all()


@settings(deadline=None, max_examples=50)
@given(outputs())
def test_top_k_counts_the_labels_among_the_k_first(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = drawn
    order = np.argsort(-logits, axis=1, kind="stable")
    expected = {k: np.mean([label in row[:k] for label, row in zip(labels, order, strict=True)]) for k in (1, 3)}
    found = classification.top_k_accuracy(logits, labels)
    assert found == pytest.approx(expected)
    assert found[1] == classification.metrics(logits, labels)["accuracy"]
    assert classification.top_k_accuracy(logits, labels, (2, 4, 9)).keys() == {2}


@settings(deadline=None, max_examples=50)
@given(outputs(), st.integers(1, 20))
def test_the_calibration_error_is_that_of_its_definition(drawn: tuple[np.ndarray, np.ndarray], bins: int) -> None:
    logits, labels = drawn
    chances = classification.probabilities(logits)
    confidence, right = chances.max(axis=1), chances.argmax(axis=1) == labels
    expected = 0.0
    for number in range(bins):
        inside = (confidence > number / bins) & (confidence <= (number + 1) / bins)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert classification.calibration_error(logits, labels, bins) == pytest.approx(expected, abs=1e-6)


def test_a_calibrated_model_has_no_calibration_error_and_a_sure_one_has_its_error() -> None:
    labels = np.array([0] * 3 + [1])
    honest = np.log(np.tile([0.75, 0.25], (4, 1)))
    assert classification.calibration_error(honest, labels) == pytest.approx(0, abs=1e-12)
    sure = np.tile([100.0, 0.0], (4, 1))
    assert classification.calibration_error(sure, labels) == pytest.approx(0.25)


@settings(deadline=None, max_examples=50)
@given(outputs(), st.integers(2, 4))
def test_a_vote_is_the_mean_of_the_probabilities(drawn: tuple[np.ndarray, np.ndarray], voters: int) -> None:
    logits, _ = drawn
    votes = [np.roll(logits, shift, axis=1) for shift in range(voters)]
    mean = np.mean([classification.probabilities(vote) for vote in votes], axis=0)
    voted = classification.soft_vote(votes)
    np.testing.assert_allclose(classification.probabilities(voted), mean, atol=1e-12)
    assert np.isfinite(voted).all()
    assert classification.soft_vote([logits]) is logits
