import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.errors import InvalidInput
from trainables.data.augmentation.geometry import resample
from trainables.data.augmentation.policies import POLICIES, Policy, _crops, _perspectives, augment
from trainables.data.sample_random import Stream, draws

EVERY_POLICY = [*POLICIES, "trivial"]


def _images(count: int, size: int = 16) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((count, 3, size, size), dtype=np.float32))


def _uniform(count: int, columns: int = 18) -> np.ndarray:
    return draws(5, 0, np.arange(count), columns, Stream.AUGMENT)


@settings(max_examples=60)
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
    images = _images(200).to(dtype)
    before = images.clone()
    result = augment(images, policy, 0, 0, np.arange(200))
    assert result.shape == images.shape
    assert result.dtype == dtype
    assert result.min() >= 0
    assert result.max() <= 1
    assert torch.equal(images, before)


def test_none_changes_nothing_and_unknown_policies_are_refused():
    images = _images(2)
    assert augment(images, "none", 0, 0, np.arange(2)) is images
    with pytest.raises(
        InvalidInput, match="must be one of none, light, medium, strong, trivial, got 'lite'; did you mean light"
    ):
        augment(images, "lite", 0, 0, np.arange(2))


@pytest.mark.parametrize("policy", POLICIES)
def test_crops_and_rotations_stay_within_their_limits(policy):
    limits = POLICIES[policy]
    maps = _crops(_uniform(5000)[:, :6], limits)
    np.testing.assert_array_equal(maps[:, 2], np.tile([0, 0, 1], (5000, 1)))
    area = np.abs(np.linalg.det(maps[:, :2, :2]))
    assert area.min() == pytest.approx(limits.min_area, abs=0.001)
    assert area.max() == pytest.approx(1, abs=0.001)
    angles = np.rad2deg(np.arctan2(-maps[:, 0, 1], maps[:, 1, 1]))
    assert np.abs(angles).max() == pytest.approx(limits.max_angle, rel=0.01)
    assert (np.linalg.det(maps[:, :2, :2]) < 0).mean() == pytest.approx(0.5, abs=0.03)
    width, height = np.linalg.norm(maps[:, :2, :2], axis=1).T
    assert max(width.max(), height.max()) <= 1 + 1e-9
    assert (np.abs(maps[:, 0, 2]) <= 1 - width + 1e-9).all()
    assert (np.abs(maps[:, 1, 2]) <= 1 - height + 1e-9).all()


def test_a_mirrored_image_is_the_mirror_image():
    images, uniform = _images(8), _uniform(8)[:, :6]
    assert 0 < (uniform[:, 0] < 0.5).sum() < 8
    result = resample(images, _crops(uniform, Policy(min_area=1, max_angle=0, jitter=0)))
    for image, draw, got in zip(images, uniform, result, strict=True):
        torch.testing.assert_close(got, image.flip(-1) if draw[0] < 0.5 else image, atol=1e-5, rtol=0)


@pytest.mark.parametrize("policy", POLICIES)
def test_perspective_comes_as_often_and_as_far_as_it_says(policy):
    limits = POLICIES[policy]
    maps = _perspectives(_uniform(5000)[:, 9:], limits)
    seen = np.abs(maps - np.eye(3)).max(axis=(1, 2)) > 1e-9
    assert seen.mean() == pytest.approx(limits.perspective_probability, abs=0.03)
    corners = np.array([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]], dtype=float)
    places = corners @ np.linalg.inv(maps).transpose(0, 2, 1)
    inwards = 1 - places[..., :2] / places[..., 2:] * corners[:, :2]
    assert inwards.min() >= -1e-9
    assert inwards.max() == pytest.approx(limits.perspective, rel=0.01)


def test_policies_grow_within_the_guides_ranges():
    images = _images(200)
    means = [(augment(images, policy, 0, 0, np.arange(200)) - images).abs().mean() for policy in POLICIES]
    assert means == sorted(means)
    for limits in POLICIES.values():
        assert 0.7 <= limits.min_area <= 1
        assert 5 <= limits.max_angle <= 20
        assert 0.1 <= limits.jitter <= 0.4
        assert limits.perspective == 0 or 0.1 <= limits.perspective <= 0.5
