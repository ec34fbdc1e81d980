import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trainables.data.augmentation.mixing import mix, pair_shares

SIZE = 24
KINDS = ["mixup", "cutmix"]


def pair(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((2, count, 3, SIZE, SIZE), dtype=np.float32))
    return noise[0], noise[1]


@settings(max_examples=60)
@given(
    st.sampled_from(["none", *KINDS]),
    st.floats(0.01, 10),
    st.integers(0, 2**31 - 1),
    st.integers(0, 1000),
    st.lists(st.integers(0, 11), min_size=1, max_size=20),
)
def test_a_pair_is_blended_the_same_way_in_any_batch(kind, alpha, seed, epoch, chosen):
    images, partners = pair(12)
    together, shares = mix(kind, images, partners, seed, epoch, np.arange(12), alpha)
    part, some = mix(kind, images[chosen], partners[chosen], seed, epoch, np.array(chosen), alpha)
    assert torch.equal(part, together[chosen])
    assert torch.equal(some, shares[chosen])
    assert shares.dtype == torch.float32
    assert ((shares >= 0) & (shares <= 1)).all()
    expected = pair_shares(kind, alpha, seed, epoch, np.arange(12), SIZE)
    assert expected.dtype == np.float32
    np.testing.assert_array_equal(shares.numpy(), expected)


@settings(max_examples=60)
@given(st.floats(0.01, 10), st.integers(0, 2**31 - 1), st.integers(0, 1000))
def test_cutmix_shares_are_the_pixels(alpha, seed, epoch):
    images, partners = torch.zeros(12, 3, SIZE, SIZE), torch.ones(12, 3, SIZE, SIZE)
    mixed, shares = mix("cutmix", images, partners, seed, epoch, np.arange(12), alpha)
    assert set(mixed.unique().tolist()) <= {0.0, 1.0}
    pasted = mixed[:, 0].flatten(1).sum(dim=1)
    torch.testing.assert_close(shares, 1 - pasted / SIZE**2, atol=1e-6, rtol=0)
    for picture, area in zip(mixed[:, 0], pasted, strict=True):
        rows, columns = picture.any(dim=1).sum(), picture.any(dim=0).sum()
        assert rows * columns == area  # one box
    assert torch.equal(mixed[:, 0], mixed[:, 2])


@settings(max_examples=30)
@given(st.floats(0.01, 10), st.integers(0, 2**31 - 1))
def test_mixup_is_the_weighted_sum(alpha, seed):
    images, partners = pair(6)
    mixed, shares = mix("mixup", images, partners, seed, 0, np.arange(6), alpha)
    weight = shares[:, None, None, None]
    torch.testing.assert_close(mixed, weight * images + (1 - weight) * partners, atol=1e-5, rtol=0)


@pytest.mark.parametrize("alpha", [0.4, 1.0, 5.0])  # below, float32 rounds many a share to 1
def test_shares_are_of_the_beta_distribution(alpha):
    shares = pair_shares("mixup", alpha, 3, 1, np.arange(5000), SIZE)
    assert stats.kstest(shares, stats.beta(alpha, alpha).cdf).pvalue > 0.01


@pytest.mark.parametrize("alpha", [1e-9, 1e-3])
def test_the_smallest_alphas_leave_one_image_or_the_other(alpha):
    shares = pair_shares("mixup", alpha, 0, 0, np.arange(1000), SIZE)
    assert ((shares < 1e-3) | (shares > 1 - 1e-3)).mean() > 0.95
    assert shares.mean() == pytest.approx(0.5, abs=0.05)
    assert np.isfinite(pair_shares("cutmix", alpha, 0, 0, np.arange(1000), SIZE)).all()


def test_boxes_lie_everywhere():
    images, partners = torch.zeros(4000, 3, SIZE, SIZE), torch.ones(4000, 3, SIZE, SIZE)
    mixed, _ = mix("cutmix", images, partners, 0, 0, np.arange(4000), 1.0)
    covered = mixed[:, 0].mean(dim=0)
    torch.testing.assert_close(covered, covered.flip(-1), atol=0.06, rtol=0)
    torch.testing.assert_close(covered, covered.T, atol=0.06, rtol=0)
    assert covered.min() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_it_depends_on_seed_and_epoch(kind):
    results = {tuple(pair_shares(kind, 1.0, seed, epoch, np.arange(9), SIZE)) for seed in (0, 1) for epoch in (0, 1)}
    assert len(results) == 4


def test_none_leaves_the_images():
    images, partners = pair(3)
    mixed, shares = mix("none", images, partners, 0, 0, np.arange(3), 0.4)
    assert mixed is images
    assert shares.tolist() == [1, 1, 1]
