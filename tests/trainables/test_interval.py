import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from trainables.interval import Interval, mean_share_interval, share_interval


@given(st.integers(0, 60), st.integers(1, 60), st.sampled_from([0.5, 0.9, 0.95]))
def test_the_interval_of_a_share_is_that_of_scipy(hits: int, more: int, confidence: float) -> None:
    found = share_interval(hits, hits + more, confidence)
    expected = binomtest(hits, hits + more).proportion_ci(confidence, "wilson")
    assert found == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_share_at_an_end_has_a_width_all_the_same() -> None:
    assert share_interval(6, 6) == (pytest.approx(0.6097, abs=1e-4), 1)
    assert share_interval(0, 6) == (0, pytest.approx(0.3903, abs=1e-4))
    assert share_interval(0, 0) == (0, 1)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=5))
def test_the_mean_of_shares_lies_within_its_interval(drawn: list[tuple[int, int]]) -> None:
    hits, counts = [min(hit, count) for hit, count in drawn], [count for _, count in drawn]
    low, high = mean_share_interval(hits, counts)
    assert -1e-12 <= low <= np.mean(np.divide(hits, counts)) <= high <= 1 + 1e-12
    assert mean_share_interval(hits[:1], counts[:1]) == pytest.approx(share_interval(hits[0], counts[0]))


@pytest.mark.parametrize(("chances", "images"), [((0.97, 0.9, 0.99), 12), ((0.6, 0.7, 0.8, 0.9), 30)])
def test_intervals_cover_the_truth_in_93_to_98_of_100(chances: tuple[float, ...], images: int) -> None:
    generator = np.random.default_rng(0)
    counts = [images] * len(chances)
    inside = {"share": 0, "mean": 0}
    for _ in range(2000):
        hits = generator.binomial(images, chances).tolist()
        inside["share"] += _holds(share_interval(hits[0], images), chances[0])
        inside["mean"] += _holds(mean_share_interval(hits, counts), float(np.mean(chances)))
    assert all(0.93 <= count / 2000 <= 0.98 for count in inside.values()), inside


def _holds(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high
