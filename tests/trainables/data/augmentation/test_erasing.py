import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.data.augmentation.erasing import erase


@settings(max_examples=60)
@given(
    st.floats(0, 1),
    st.integers(0, 2**31 - 1),
    st.integers(0, 1000),
    st.lists(st.integers(0, 11), min_size=1, max_size=20),
)
def test_an_image_is_erased_the_same_way_in_any_batch(probability, seed, epoch, chosen):
    images = torch.ones(12, 3, 20, 20)
    together = erase(images, probability, seed, epoch, np.arange(12))
    assert torch.equal(erase(images[chosen], probability, seed, epoch, np.array(chosen)), together[chosen])
    assert (images == 1).all()


@pytest.mark.parametrize("size", [16, 96])
def test_one_rectangle_of_the_papers_sizes(size):
    erased = erase(torch.ones(2000, 3, size, size), 1.0, 4, 2, np.arange(2000)) == 0
    assert torch.equal(erased[:, 0], erased[:, 1])
    height, width = erased[:, 0].any(dim=2).sum(dim=1), erased[:, 0].any(dim=1).sum(dim=1)
    assert torch.equal(height * width, erased[:, 0].sum(dim=(1, 2)))
    area, ratio = (height * width / size**2).numpy(), (height / width).numpy()
    rounding = 1.5 / size
    assert 0.02 - rounding <= area.min() < 0.05
    assert 0.3 < area.max() <= 0.33 + rounding
    if size == 96:
        assert 0.27 <= ratio.min() < 0.32
        assert 3.1 < ratio.max() <= 3.7
        assert np.log(ratio).mean() == pytest.approx(0, abs=0.06)


def test_rectangles_lie_everywhere():
    covered = (erase(torch.ones(5000, 3, 24, 24), 1.0, 0, 0, np.arange(5000))[:, 0] == 0).float().mean(dim=0)
    torch.testing.assert_close(covered, covered.flip(-1), atol=0.04, rtol=0)
    torch.testing.assert_close(covered, covered.T, atol=0.04, rtol=0)
    assert covered.min() > 0


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_as_often_as_it_says(probability):
    images = torch.ones(4000, 1, 16, 16)
    erased = (erase(images, probability, 0, 0, np.arange(4000)) == 0).any(dim=(1, 2, 3)) if probability else None
    if erased is None:
        assert erase(images, 0, 0, 0, np.arange(4000)) is images
    else:
        assert erased.float().mean().item() == pytest.approx(probability, abs=0.03)


def test_it_depends_on_seed_and_epoch_and_on_no_global_stream():
    images = torch.ones(8, 3, 32, 32)
    state = torch.get_rng_state()
    results = [erase(images, 1.0, seed, epoch, np.arange(8)) for seed in (0, 1) for epoch in (0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(not torch.equal(results[0], other) for other in results[1:])
