import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from trainables.task import logistic_probe as module
from trainables.task.logistic_probe import FOLDS, STRENGTHS, LogisticProbe

Labels = np.ndarray
DIMENSIONS = 6


def clusters(counts: list[int], seed: int = 0, apart: float = 1.0) -> tuple[np.ndarray, Labels]:
    """Points around one center per class."""
    chance = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    centers = chance.normal(size=(len(counts), DIMENSIONS)) * apart
    return (centers[labels] + chance.normal(size=(len(labels), DIMENSIONS))).astype(np.float32), labels


def logits(head: np.ndarray, features: np.ndarray) -> np.ndarray:
    return features.astype(float) @ head[:, :-1].T + head[:, -1]


@pytest.mark.parametrize("weights", [np.ones(3), np.array([0.5, 1.0, 4.0])])
def test_it_is_the_regression_of_its_strength(weights: np.ndarray) -> None:
    features, labels = clusters([40, 60, 20])
    probe = LogisticProbe(labels, 3, weights)
    scale = features.astype(float).std(axis=0).mean()
    rows = (features - features.astype(float).mean(axis=0)) / scale
    strength = probe._strength(rows)
    expected = LogisticRegression(C=strength, max_iter=1000).fit(rows, labels, sample_weight=weights[labels])
    found = logits(probe.fit(features), features)
    np.testing.assert_allclose(found, expected.decision_function(rows), atol=1e-3)


def test_the_strength_has_the_least_loss_on_what_is_held_out() -> None:
    """Against every strength, fitted from its own start."""
    features, labels = clusters([40, 60, 20])
    probe = LogisticProbe(labels, 3, np.ones(3))
    rows = (features - features.astype(float).mean(axis=0)) / features.astype(float).std(axis=0).mean()

    def loss(strength: float) -> float:
        total = 0.0
        for train, held in probe._folds():
            model = LogisticRegression(C=strength, max_iter=1000).fit(rows[train], labels[train])
            total -= model.predict_log_proba(rows[held])[np.arange(len(held)), labels[held]].mean()
        return total

    assert STRENGTHS[0] < probe._strength(rows) == min(STRENGTHS, key=loss) < STRENGTHS[-1]


def test_weak_signals_are_regularized_more() -> None:
    strong, weak = (
        LogisticProbe(labels, 2, np.ones(2))._strength(features.astype(float) - features.mean(axis=0))
        for features, labels in (clusters([60, 60], apart=2.0), clusters([60, 60], apart=0.02))
    )
    assert weak < strong


@pytest.mark.parametrize("counts", [[30, 30], [30, 1, 30], [30, 0, 30], [2, 3, 4], [1, 1], [30, 3]])
def test_classes_of_any_size(counts: list[int]) -> None:
    features, labels = clusters(counts, apart=3.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        head = LogisticProbe(labels, len(counts), np.ones(len(counts))).fit(features)
    assert head.shape == (len(counts), DIMENSIONS + 1)
    assert head.dtype == np.float32
    assert np.isfinite(head).all()
    found = logits(head, features).argmax(axis=1)
    assert (found == labels).mean() > 0.9
    assert set(found) <= set(labels), "a class without samples is never said"


def test_two_classes_are_symmetric() -> None:
    features, labels = clusters([30, 40])
    head = LogisticProbe(labels, 2, np.ones(2)).fit(features)
    np.testing.assert_allclose(head[0], -head[1], atol=1e-5)


def test_a_class_that_weighs_more_is_said_more_often() -> None:
    features, labels = clusters([60, 15], apart=0.5)
    said = [
        (logits(LogisticProbe(labels, 2, weights).fit(features), features).argmax(axis=1) == 1).sum()
        for weights in (np.ones(2), np.array([0.625, 2.5]))
    ]
    assert said[1] > said[0]


@settings(max_examples=20)
@given(st.floats(1e-3, 1e3), st.floats(-100, 100))
def test_the_scale_and_the_origin_of_features_do_not_matter(scale: float, shift: float) -> None:
    features, labels = clusters([20, 20, 20])
    probe = LogisticProbe(labels, 3, np.ones(3))
    moved = ((features.astype(float) + shift) * scale).astype(np.float32)
    np.testing.assert_allclose(logits(probe.fit(moved), moved), logits(probe.fit(features), features), atol=0.05)


def test_constant_features_say_the_shares_of_the_classes() -> None:
    labels = np.repeat([0, 1], [30, 10])
    features = np.full((40, 3), 7.0, dtype=np.float32)
    found = logits(LogisticProbe(labels, 2, np.ones(2)).fit(features), features)
    assert found[0, 0] - found[0, 1] == pytest.approx(np.log(3), abs=1e-2)


def test_it_is_deterministic() -> None:
    features, labels = clusters([40, 60, 20])
    one, other = (LogisticProbe(labels, 3, np.ones(3)).fit(features) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_of_many_rows_some_decide_the_strength_and_all_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STRENGTH_ROWS", 50)
    features, labels = clusters([200, 100, 3])
    probe = LogisticProbe(labels, 3, np.ones(3))
    folds = probe._folds()
    assert len(folds) == FOLDS
    assert all(len(train) + len(held) == 50 and not set(train) & set(held) for train, held in folds)
    assert (logits(probe.fit(features), features).argmax(axis=1) == labels).mean() > 0.8


def test_all_that_decides_the_head_is_in_its_identity() -> None:
    labels = np.repeat([0, 1], 10)
    probes = [
        LogisticProbe(labels, 2, np.ones(2)),
        LogisticProbe(labels[::-1].copy(), 2, np.ones(2)),
        LogisticProbe(labels, 3, np.ones(3)),
        LogisticProbe(labels, 2, np.array([0.5, 1.5])),
    ]
    assert len({str(probe.identity) for probe in probes}) == 4
    assert LogisticProbe(labels.copy(), 2, np.ones(2)).identity == probes[0].identity
