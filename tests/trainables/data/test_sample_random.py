import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainables.data.sample_random import Stream, draws


@given(
    st.integers(0, 2**31 - 1),
    st.integers(0, 1000),
    st.lists(st.integers(0, 2**40), min_size=1, max_size=20),
    st.sampled_from(Stream),
)
def test_draws_belong_to_the_sample(seed, epoch, indices, stream):
    together = draws(seed, epoch, np.array(indices), 9, stream)
    assert together.shape == (len(indices), 9)
    assert ((together >= 0) & (together < 1)).all()
    for row, index in zip(together, indices, strict=True):
        np.testing.assert_array_equal(row, draws(seed, epoch, np.array([index]), 9, stream)[0])


def test_draws_are_uniform_and_unrelated():
    indices = np.arange(20_000)
    keys = [(42, 0, Stream.AUGMENT), (42, 1, Stream.AUGMENT), (43, 0, Stream.AUGMENT)]
    keys += [(42, 0, Stream.MIXING), (42, 0, Stream.ERASING)]
    columns = np.concatenate([draws(seed, epoch, indices, 9, stream).T for seed, epoch, stream in keys])
    np.testing.assert_allclose(columns.mean(axis=1), 0.5, atol=0.01)
    np.testing.assert_allclose(columns.var(axis=1), 1 / 12, atol=0.003)
    related = np.abs(np.corrcoef(columns) - np.eye(len(columns)))
    assert related.max() < 0.035  # five standard deviations


def test_the_numbers_stay_what_they_are():
    """Trials are repeatable over versions of Thaw."""
    assert draws(1, 2, np.array([3]), 2, Stream.AUGMENT).tolist() == [[0.8821031052905479, 0.0736442613541134]]
