import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.data.balance import batches, class_weights, epoch_order

labels_of_four = st.lists(st.integers(0, 3), min_size=1, max_size=200).map(lambda values: np.array(values, np.int64))


@given(labels_of_four, st.sampled_from(["inverse", "effective"]))
def test_weights_average_to_one_over_the_samples(labels, weighting):
    weights = class_weights(labels, 4, weighting)
    counts = np.bincount(labels, minlength=4)
    assert weights.shape == (4,)
    assert weights.dtype == np.float64
    assert weights[labels].mean() == pytest.approx(1)
    assert ((weights > 0) == (counts > 0)).all()
    from_rare_to_frequent = weights[counts > 0][np.argsort(counts[counts > 0])]
    assert (np.diff(from_rare_to_frequent) <= 1e-12).all()


@given(labels_of_four)
def test_effective_numbers_are_those_of_the_paper(labels):
    counts = np.bincount(labels, minlength=4)
    beta = (len(labels) - 1) / len(labels)
    expected = np.array([1 / sum(beta**power for power in range(n)) if n else 0 for n in counts])
    weights = class_weights(labels, 4, "effective")
    np.testing.assert_allclose(weights, expected * len(labels) / (expected * counts).sum(), rtol=1e-9)
    inverse = class_weights(labels, 4)
    for rare in np.flatnonzero(counts):
        for frequent in np.flatnonzero(counts >= counts[rare]):
            ratio = weights[rare] / weights[frequent] / (inverse[rare] / inverse[frequent])
            assert 0.632 <= ratio <= 1 + 1e-9


@given(labels_of_four)
def test_inverse_weights_give_every_class_the_same_say(labels):
    weights = class_weights(labels, 4)
    counts = np.bincount(labels, minlength=4)
    say = (weights * counts)[counts > 0]
    np.testing.assert_allclose(say, say[0])


def test_weights_are_inverse_to_frequency():
    np.testing.assert_allclose(class_weights(np.array([0, 0, 0, 1]), 2), [2 / 3, 2])


@given(st.integers(1, 200), st.integers(0, 2**31 - 1), st.integers(0, 100))
def test_without_weights_every_sample_is_seen_once(count, seed, epoch):
    order = epoch_order(count, seed, epoch)
    assert order.dtype == np.int64
    assert sorted(order) == list(range(count))
    np.testing.assert_array_equal(order, epoch_order(count, seed, epoch))


@pytest.mark.parametrize("weights", [None, np.arange(100.0)])
def test_order_changes_with_seed_and_epoch_and_ignores_the_global_stream(weights):
    orders = [epoch_order(100, seed, epoch, weights).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(map(tuple, orders))) == 4
    state = np.random.get_state()
    np.random.random(7)
    assert epoch_order(100, 0, 0, weights).tolist() == orders[0]
    np.random.set_state(state)


@pytest.mark.parametrize("weighting", ["inverse", "effective"])
def test_sampler_draws_each_class_as_often_as_it_has_weight(weighting):
    labels = np.array([0] * 9000 + [1] * 900 + [2] * 100)
    order = epoch_order(10_000, seed=3, epoch=1, weights=class_weights(labels, 3, weighting)[labels])
    assert len(order) == 10_000
    shares = np.bincount(labels[order]) / 10_000
    expected = class_weights(labels, 3, weighting) * np.bincount(labels) / 10_000
    np.testing.assert_allclose(shares, expected, atol=0.02)  # four standard deviations
    if weighting == "inverse":
        np.testing.assert_allclose(expected, 1 / 3)


@given(st.integers(0, 500), st.integers(1, 70))
def test_batches_partition_the_order(count, batch_size):
    order = np.random.default_rng(0).permutation(count)
    cut = batches(order, batch_size)
    np.testing.assert_array_equal(np.concatenate([order[:0], *cut]), order)
    sizes = [len(batch) for batch in cut]
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
    assert len(cut) <= -(-count // batch_size)
    assert max(sizes, default=0) <= max(batch_size, 3 if batch_size == 2 else 0)
    if batch_size > 1 and count > 1:
        assert min(sizes) >= 2
