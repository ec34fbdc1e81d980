import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import trainables.data.stats as stats
from trainables.data.stats import channel_stats


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 5), st.just(6), st.just(6), st.just(3))))
def test_it_agrees_with_numpy(images):
    mean, std = channel_stats(images)
    pixels = images.reshape(-1, 3).astype(np.float64) / 255
    np.testing.assert_allclose(mean, pixels.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(std, np.maximum(pixels.std(axis=0), 1 / 255), atol=1e-9)


def test_chunks_and_order_change_nothing(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (37, 8, 8, 3), dtype=np.uint8)
    whole = channel_stats(images)
    monkeypatch.setattr(stats, "_CHUNK_BYTES", 5 * 8 * 8 * 3)
    assert channel_stats(images[::-1]) == whole


def test_known_values_and_a_channel_without_contrast():
    images = np.zeros((2, 4, 4, 3), dtype=np.uint8)
    images[0, :, :, 0] = 255
    images[:, :, :, 1] = 51
    mean, std = channel_stats(images)
    assert mean == pytest.approx((0.5, 0.2, 0))
    assert std == pytest.approx((0.5, 1 / 255, 1 / 255))
    assert all(type(value) is float for value in (*mean, *std))
