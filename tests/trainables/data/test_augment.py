import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional

from search_spaces.errors import InvalidInput
from trainables.data.augment import POLICIES, Policy, _affine, _jitter, _resample, augment, draws

EVERY_POLICY = list(POLICIES)


def _images(count: int, size: int = 16) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((count, 3, size, size), dtype=np.float32))


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(EVERY_POLICY),
    st.integers(0, 2**31 - 1),
    st.integers(0, 1000),
    st.lists(st.integers(0, 11), min_size=1, max_size=20),
)
def test_an_image_changes_the_same_way_in_any_batch(policy, seed, epoch, chosen):
    images = _images(12)
    together = augment(images, policy, seed, epoch, np.arange(12))
    part = augment(images[chosen], policy, seed, epoch, np.array(chosen))
    torch.testing.assert_close(part, together[chosen], rtol=0, atol=1e-6)


@given(st.integers(0, 2**31 - 1), st.integers(0, 1000), st.lists(st.integers(0, 2**40), min_size=1, max_size=20))
def test_draws_belong_to_the_sample(seed, epoch, indices):
    together = draws(seed, epoch, np.array(indices), 9)
    assert together.shape == (len(indices), 9)
    assert ((together >= 0) & (together < 1)).all()
    for row, index in zip(together, indices, strict=True):
        np.testing.assert_array_equal(row, draws(seed, epoch, np.array([index]), 9)[0])


def test_draws_are_uniform_and_unrelated():
    table = np.stack([draws(42, epoch, np.arange(20_000), 9) for epoch in range(3)])
    np.testing.assert_allclose(table.mean(axis=1), 0.5, atol=0.01)
    np.testing.assert_allclose(table.var(axis=1), 1 / 12, atol=0.003)
    columns = np.concatenate([table.transpose(0, 2, 1).reshape(27, -1), draws(43, 0, np.arange(20_000), 9).T])
    related = np.abs(np.corrcoef(columns) - np.eye(36))
    assert related.max() < 0.035  # five standard deviations


@pytest.mark.parametrize("policy", EVERY_POLICY)
def test_it_depends_on_seed_and_epoch_and_on_no_global_stream(policy):
    images, indices = _images(4), np.arange(4)
    first = augment(images, policy, 1, 2, indices)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    assert torch.equal(augment(images, policy, 1, 2, indices), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.allclose(augment(images, policy, 1, 3, indices), first)
    assert not torch.allclose(augment(images, policy, 2, 2, indices), first)


@pytest.mark.parametrize("policy", EVERY_POLICY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shape_type_and_range_stay(policy, dtype):
    images = _images(32).to(dtype)
    before = images.clone()
    result = augment(images, policy, 0, 0, np.arange(32))
    assert result.shape == images.shape
    assert result.dtype == dtype
    assert result.min() >= 0
    assert result.max() <= 1
    assert torch.equal(images, before)


def test_none_changes_nothing_and_unknown_policies_are_refused():
    images = _images(2)
    assert augment(images, "none", 0, 0, np.arange(2)) is images
    with pytest.raises(
        InvalidInput, match="must be one of none, light, medium, strong, got 'lite'; did you mean light"
    ):
        augment(images, "lite", 0, 0, np.arange(2))


def _slopes(policy: str, count: int = 2000) -> np.ndarray:
    """The (n, 2, 2) linear part of each image's map, read off pictures of their own coordinates."""
    steps = torch.linspace(0, 1, 64)
    picture = torch.stack([steps.expand(64, 64), steps[:, None].expand(64, 64), torch.zeros(64, 64)])
    result = augment(picture.expand(count, 3, 64, 64), policy, 5, 0, np.arange(count))[:, :2].numpy()
    middle = result[:, :, 24:40, 24:40]
    across = (middle[..., :, -1] - middle[..., :, 0]).mean(axis=2)
    down = (middle[..., -1, :] - middle[..., 0, :]).mean(axis=2)
    return np.stack([across, down], axis=2) * 63 / 15


def test_light_mirrors_half_and_crops_within_its_range():
    slopes = _slopes("light")
    mirrored = slopes[:, 0, 0] < 0
    assert mirrored.mean() == pytest.approx(0.5, abs=0.05)
    width, height = np.abs(slopes[:, 0, 0]), slopes[:, 1, 1]
    area = width * height
    assert area.min() == pytest.approx(0.85, abs=0.01)
    assert area.max() == pytest.approx(1, abs=0.01)
    assert max(width.max(), height.max()) <= 1.001
    np.testing.assert_allclose(slopes[:, [0, 1], [1, 0]], 0, atol=1e-3)


def test_a_mirrored_image_is_the_mirror_image():
    images = _images(8)
    draw = draws(0, 0, np.arange(8), 9)
    assert (draw[:, 0] < 0.5).any()
    result = _resample(images, _affine(draw[:, :6], Policy(min_area=1, max_angle=0, jitter=0)))
    for index in range(8):
        expected = images[index].flip(-1) if draw[index, 0] < 0.5 else images[index]
        torch.testing.assert_close(result[index], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("policy", "limit"), [("medium", 10), ("strong", 20)])
def test_rotation_stays_within_its_limit(policy, limit):
    maps = _affine(draws(5, 0, np.arange(2000), 9)[:, :6], POLICIES[policy])
    angles = np.rad2deg(np.arctan2(-maps[:, 0, 1], maps[:, 1, 1]))
    assert np.abs(angles).max() == pytest.approx(limit, rel=0.02)
    area = np.abs(np.linalg.det(maps[:, :, :2]))
    assert area.min() == pytest.approx(POLICIES[policy].min_area, abs=0.01)
    assert area.max() <= 1


def test_jitter_agrees_with_torchvision():
    images = _images(5)
    factors = 0.6 + 0.8 * np.random.default_rng(1).random((5, 3))
    result = _jitter(images, factors)
    for image, (brightness, contrast, saturation), got in zip(images, factors, result, strict=True):
        image = functional.adjust_brightness(image, brightness)
        image = functional.adjust_contrast(image, contrast)
        image = functional.adjust_saturation(image, saturation)
        torch.testing.assert_close(got, image, atol=2e-3, rtol=0)  # torchvision's grey weighs 0.2989, not 0.299


def test_policies_grow():
    means = [(augment(_images(200), policy, 0, 0, np.arange(200)) - _images(200)).abs().mean() for policy in POLICIES]
    assert means == sorted(means)
